// DnsMemberSource: a name of DNS that stands for the members (members_settings.h says how). Asked again by
// TTL; while nobody answers, the list it had counts. Loop thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "proxy/peers/member_names.h"
#include "proxy/peers/member_source.h"
#include "proxy/peers/members_settings.h"
#include "runtime/backoff.h"
#include "runtime/loop.h"

namespace layerd::peers {

class DnsMemberSource final : public MemberSource {
 public:
  DnsMemberSource(Loop& loop, MemberNames& names, DnsMembers dns, bool ipv6_first);
  void start(std::vector<Member> kept, Callback<void()> changed) override;
  std::vector<Member> members() const override { return members_; }
  std::vector<std::string> complaints() const override;
  bool has_answered() const override { return has_answered_; }

 private:
  void ask();
  void ask_addresses();
  void on_services(net::DnsAnswer answer);
  void ask_targets();
  void on_target(const std::string& target, Result<net::DnsAnswer> answer);
  void take_services();
  void take(std::vector<Member> members, std::chrono::seconds ttl);
  void fail(const Error& error);

  Loop& loop_;
  MemberNames& names_;
  const DnsMembers dns_;
  const bool ipv6_first_;
  Callback<void()> changed_;
  std::vector<Member> members_;
  bool has_answered_ = false;
  bool has_services_ = false;  // SRV records were there once
  std::string failure_;
  std::vector<std::string> lost_targets_;

  // Of the round under way.
  net::DnsAnswer services_;
  std::map<std::string, std::vector<net::Address>> targets_;  // known
  std::vector<std::string> unknown_;                          // targets to be asked for
  std::map<std::string, Ticket> asking_;                      // by target
  std::vector<std::string> lost_;
  Ticket question_, next_;
  Backoff backoff_{std::chrono::seconds(5), std::chrono::seconds(60)};
};

}  // namespace layerd::peers
