// DnsReport: how a host name becomes addresses, server by server, for who explains it (`layerd check`). Plain
// values, made by Resolver::inquire.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/resolver_channel.h"
#include "proxy/net/stream.h"

namespace layerd::net {

struct DnsServerAnswer {
  std::string server;  // "10.43.0.10:53"
  std::string name;    // asked for: the host, or the host with a part of the search list
  DnsOutcome outcome = DnsOutcome::timed_out;
  std::vector<Address> addresses;  // of both families, port 0
  bool counts = false;             // the first of the order that said something definite
};

struct DnsReport {
  enum class Source {
    numeric,      // the host is an address
    fixed,        // dns.hosts of the configuration
    hosts_file,   // /etc/hosts
    localhost,    // a name of this machine by definition
    zone,         // the servers of a zone of dns.zones
    resolv_conf,  // the servers of /etc/resolv.conf
  };
  Source source = Source::resolv_conf;
  std::string zone;                      // of `zone`; "" is every name
  std::vector<DnsServerAnswer> answers;  // in the order asked; empty unless zone or resolv_conf
  std::vector<Address> addresses;        // what counts; empty: the name was not found
  bool is_by_dns() const { return source == Source::zone || source == Source::resolv_conf; }
};

// "NXDOMAIN (no such name)", "no answer", ...
std::string_view describe(DnsOutcome outcome);

}  // namespace layerd::net
