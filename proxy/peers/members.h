// Members: who the nodes of the site are, from all sources that are configured, merged by numeric address and
// port. What is wrong with a source is told in the log once and by complaints() for as long as it is so; the
// rest works. Loop thread; destroying it ends everything it waits for.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/peers/file_members.h"
#include "proxy/peers/kept_members.h"
#include "proxy/peers/member.h"
#include "proxy/peers/member_source.h"
#include "proxy/peers/members_settings.h"
#include "proxy/peers/own_id.h"
#include "runtime/loop.h"
#include "runtime/workers.h"

namespace layerd::peers {

// What one source gives now, for people.
struct SourceReport {
  std::string name;  // "peers.members", "kubernetes"
  std::string of;    // "layerd.site.internal:5152"
  std::size_t members = 0;
  bool is_kept = false;  // nothing has come of it since the start: the list is that of another day
  std::vector<std::string> complaints;
};

class Members {
 public:
  struct Parts {
    Loop& loop;
    Workers& workers;
    MemberNames& names;
    http::Client& client;  // for the API server; asked without the proxies of registries
    WatchFile watch_file;  // may be empty: files are read once
    Machine machine = Machine::real();
  };

  // Reads settings.state_file (blocks). All of parts outlives it.
  Members(Parts parts, MembersSettings settings);
  ~Members();
  Members(const Members&) = delete;
  Members& operator=(const Members&) = delete;

  // From now on. Sources whose settings are as before go on with what they have. listen->port is the port
  // that is really listened on. Without `listen` nothing is asked and the list is empty.
  void set(MembersSettings settings);

  // Never null. Its zone of ourselves is settings.zone, where that is set.
  const MemberListPtr& list() const { return list_; }
  // All of them, each beginning with the source's name.
  std::vector<std::string> complaints() const;
  std::vector<SourceReport> sources() const;
  // Called after list() became another one, never from within a call of ours. One at a time.
  void set_listener(Callback<void()> changed) { listener_ = std::move(changed); }

 private:
  std::unique_ptr<MemberSource> make(std::string_view name) const;
  void rebuild(const MembersSettings& before);
  std::vector<KeptList>::iterator kept_row(std::string_view name, const std::string& of);
  void note();
  void update();
  void log_complaints();
  void save_soon();
  void save();
  void look_again();

  const Parts parts_;
  MembersSettings settings_;
  std::vector<KeptList> kept_;  // as on disk
  std::vector<std::unique_ptr<MemberSource>> sources_;
  MemberListPtr list_;
  std::vector<std::string> merge_complaints_;
  std::set<std::string> logged_;
  Callback<void()> listener_;
  Ticket update_, save_, saving_, look_again_;
};

}  // namespace layerd::peers
