// FileMembers: a file with one member a line (proxy/peers/member_lines.h), read on a worker whenever it
// changes, and every 10 s: of a folder that only root may enter no watch tells. While it cannot be read the
// list it had counts, and it is tried again every 2 s. Loop thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "proxy/peers/listed_members.h"
#include "proxy/peers/member_source.h"
#include "runtime/workers.h"

namespace layerd::peers {

// Calls `changed` whenever the file is another one than before, until the Ticket is dropped; never from
// within.
using WatchFile = std::function<Ticket(const std::string& path, Callback<void()> changed)>;

class FileMembers final : public MemberSource {
 public:
  struct Parts {
    Loop& loop;
    Workers& workers;
    MemberNames& names;
    WatchFile watch;
  };
  FileMembers(const Parts& parts, std::string path, std::uint16_t default_port, bool ipv6_first);
  void start(std::vector<Member> kept, Callback<void()> changed) override;
  std::vector<Member> members() const override;
  std::vector<std::string> complaints() const override;
  bool has_answered() const override { return has_read_ && listed_.has_answered(); }

 private:
  void read();
  void on_text(Result<std::string> text);

  const Parts parts_;
  const std::string path_;
  const std::uint16_t default_port_;
  Callback<void()> changed_;
  ListedMembers listed_;
  std::vector<Member> kept_;  // until it was read for the first time
  bool has_read_ = false;
  std::string text_;  // as it was read last
  std::string failure_;
  std::vector<std::string> wrong_lines_;
  Ticket watch_, reading_, again_;
};

}  // namespace layerd::peers
