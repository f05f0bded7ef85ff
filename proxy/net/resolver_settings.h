// What the Resolver is told: where to ask for which names. Plain values, any thread.
#pragma once

#include <string>
#include <vector>

#include "proxy/net/resolver_files.h"
#include "runtime/clock.h"

namespace layerd::net {

struct DnsZone {
  std::string suffix;                // "cluster.local"; "" is every name
  std::vector<std::string> servers;  // "10.43.0.10" or with a port
};

struct ResolverSettings {
  std::string resolv_conf = "/etc/resolv.conf";
  std::string hosts_file = "/etc/hosts";
  HostsTable hosts = {};                 // fixed addresses, by canonical_name()
  std::vector<DnsZone> zones = {};       // the longest suffix counts; names under one are never searched for
  std::vector<std::string> search = {};  // instead of the search list of resolv.conf, unless it is empty
  Duration try_timeout =
      std::chrono::seconds(1);  // of the first try at a server; the second waits twice that
  Duration next_server = std::chrono::seconds(1);  // silence after which the next server is asked as well
  // When one family is there, for the other one. RFC 8305 §3 waits 50 ms for AAAA; answers through slow
  // middle boxes get twice that.
  Duration other_family = std::chrono::milliseconds(100);
  Duration look_up_timeout = std::chrono::seconds(8);  // of one look-up in all
  Duration look_again = std::chrono::seconds(1);       // how often the two files are looked at, at most
};

}  // namespace layerd::net
