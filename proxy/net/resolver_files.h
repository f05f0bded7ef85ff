// What /etc/resolv.conf and /etc/hosts say. Pure; any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/stream.h"

namespace layerd::net {

struct ResolvConf {
  std::vector<std::string> servers;  // "10.0.0.10:53", "[::1]:53"; at most 8
  std::vector<std::string> search;   // without dots at their ends; at most 16
  int ndots = 1;                     // 0..15
  bool operator==(const ResolvConf&) const = default;
};
// Lines that make no sense are passed over, as by every resolver. Without a server: 127.0.0.1.
ResolvConf parse_resolv_conf(std::string_view text);

// Lower-case name -> addresses (port 0), in the order of the file; at most 64 for a name.
using HostsTable = std::map<std::string, std::vector<Address>, std::less<>>;
HostsTable parse_hosts(std::string_view text);

// Lower case, without the dot at its end.
std::string canonical_name(std::string_view name);

// Can DNS be asked for it? `name` is canonical.
bool is_host_name(std::string_view name);

// The names to ask for, in order: as libc does with search and ndots. A dot at the end means no search.
std::vector<std::string> candidate_names(std::string_view name, const ResolvConf& conf);

}  // namespace layerd::net
