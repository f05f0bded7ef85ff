// How members that are listed by name are looked up. Loop thread.
#pragma once

#include <string>

#include "proxy/net/resolver_answer.h"
#include "runtime/ticket.h"

namespace layerd::net {
class Resolver;
}

namespace layerd::peers {

class MemberNames {
 public:
  virtual ~MemberNames() = default;
  // As Resolver::records().
  virtual Ticket records(const std::string& name, net::DnsType type, Done<net::DnsAnswer> done) = 0;
};

// By the daemon's own resolver, which outlives it and its Tickets.
class ResolverNames final : public MemberNames {
 public:
  explicit ResolverNames(net::Resolver& resolver) : resolver_(resolver) {}
  Ticket records(const std::string& name, net::DnsType type, Done<net::DnsAnswer> done) override;

 private:
  net::Resolver& resolver_;
};

// The addresses of one family: of IPv4, and of IPv6 where there are none (the other way round if
// ipv6_first), so that a host that has both is one member under one name everywhere. Sorted.
// Errors: as records().
Ticket addresses_of(MemberNames& names, const std::string& host, bool ipv6_first, Done<net::DnsAnswer> done);

}  // namespace layerd::peers
