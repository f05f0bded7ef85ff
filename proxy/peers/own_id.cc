#include "proxy/peers/own_id.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/net/address.h"
#include "proxy/net/own_addresses.h"

namespace layerd::peers {
namespace {

bool is_loopback(const net::Address& address) { return net::kind_of(address) == net::AddressKind::loopback; }

class Finder {
 public:
  Finder(const MembersSettings& settings, const Machine& machine, std::vector<Member>& members)
      : settings_(settings), listen_(*settings.listen), members_(members) {
    is_anywhere_ = net::kind_of(listen_) == net::AddressKind::unspecified;
    if (is_anywhere_) own_ = machine.addresses();
    find(machine);
  }

  OwnId take() {
    drop_others();
    return std::move(found_);
  }

 private:
  bool is_ours(const Member& member) const {
    const net::Address& address = member.address;
    if (address.port != listen_.port) return false;
    if (!settings_.address.empty() && address.host == settings_.address) return true;
    if (!is_anywhere_) return net::same_host(address, listen_);
    return is_loopback(address) || std::any_of(own_.begin(), own_.end(), [&](const net::Address& own) {
             return net::same_host(own, address);
           });
  }

  void take_id(const net::Address& host) {
    address_ = {host.host, listen_.port, host.is_ipv6};
    found_.id = address_.str();
  }

  // Said by the configuration, listed, or the address by which we would speak to another one.
  void find(const Machine& machine) {
    if (!settings_.address.empty())
      if (const auto said = net::parse_address(settings_.address, 0)) return take_id(*said);
    if (!is_anywhere_) return take_id(listen_);
    for (const Member& member : members_)
      if (is_ours(member) && !is_loopback(member.address)) return take_id(member.address);
    for (const Member& member : members_) {
      if (is_ours(member)) continue;
      const auto source = machine.source_towards(member.address);
      if (source && (!is_loopback(*source) || is_loopback(member.address))) return take_id(*source);
    }
    for (const net::Address& own : own_)
      if (!is_loopback(own) && !own.is_ipv6) return take_id(own);
    for (const net::Address& own : own_)
      if (!is_loopback(own)) return take_id(own);
  }

  void drop_others() {
    if (found_.id.empty()) return;
    for (Member& member : members_) {
      if (member.id == found_.id || !is_ours(member)) continue;
      const std::string called = member.name.empty() ? "" : " (" + member.name + ")";
      found_.complaints.push_back(
          is_loopback(member.address)
              ? fmt::format(
                    "{}{} is a loopback address, which is this node for everybody; {} counts, list that",
                    member.id, called, found_.id)
              : fmt::format("{}{} and {} are both this node; {} counts (peers.address names another one)",
                            member.id, called, found_.id, found_.id));
      member.id = found_.id;
      member.address = address_;
    }
  }

  const MembersSettings& settings_;
  const net::Address& listen_;
  std::vector<Member>& members_;
  bool is_anywhere_ = false;
  std::vector<net::Address> own_;
  net::Address address_;
  OwnId found_;
};

}  // namespace

Machine Machine::real() { return {&net::own_addresses, &net::source_towards}; }

OwnId find_own_id(const MembersSettings& settings, const Machine& machine, std::vector<Member>& members) {
  if (!settings.listen) return {};
  return Finder(settings, machine, members).take();
}

}  // namespace layerd::peers
