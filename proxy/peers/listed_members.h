// ListedMembers: entries that people wrote, and the addresses of those that are names. A name is asked for
// again when its TTL has run out; while nobody answers, its last address counts. Loop thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "proxy/peers/member.h"
#include "proxy/peers/member_names.h"
#include "proxy/peers/member_source.h"
#include "proxy/peers/members_settings.h"
#include "runtime/backoff.h"
#include "runtime/loop.h"

namespace layerd::peers {

class ListedMembers {
 public:
  // changed: members() or complaints() may be others than before; never from within set().
  ListedMembers(Loop& loop, MemberNames& names, bool ipv6_first, Callback<void()> changed);

  // From now on these. kept: members of another day, found by `name` while DNS does not answer.
  void set(std::vector<ListedMember> listed, const std::vector<Member>& kept);
  std::vector<Member> members() const;
  std::vector<std::string> complaints() const;
  // Every name has been answered, with yes or no.
  bool has_answered() const;

 private:
  struct Entry {
    ListedMember listed;
    std::optional<net::Address> address;
    bool is_name = false, has_answer = false;
    std::string failure;  // of the last look-up
    TimePoint due{};      // when it is asked for
    Backoff backoff{std::chrono::seconds(5), std::chrono::seconds(60)};
    Ticket question;
  };
  void ask_due();
  void found(std::size_t at, Result<net::DnsAnswer> answer);

  Loop& loop_;
  MemberNames& names_;
  const bool ipv6_first_;
  Callback<void()> changed_;
  std::vector<Entry> entries_;
  std::size_t asking_ = 0;
  Ticket next_;
};

// The list of the configuration.
class ListedMemberSource final : public MemberSource {
 public:
  ListedMemberSource(Loop& loop, MemberNames& names, std::vector<ListedMember> listed, bool ipv6_first);
  void start(std::vector<Member> kept, Callback<void()> changed) override;
  std::vector<Member> members() const override { return members_.members(); }
  std::vector<std::string> complaints() const override { return members_.complaints(); }
  bool has_answered() const override { return members_.has_answered(); }

 private:
  Loop& loop_;
  std::vector<ListedMember> listed_;
  Callback<void()> changed_;
  ListedMembers members_;
  Ticket first_;
};

// How long to wait before a name is asked for again whose records live for `ttl`: 5 s to 1 h, spread.
Duration next_look_up(std::chrono::seconds ttl);

}  // namespace layerd::peers
