// What a hosts.toml of containerd says about TLS (protocol.md §1.7): the part of TOML that such files are
// written in. Pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/result.h"

namespace layerd::net {

struct HostsTomlTls {
  std::vector<std::string> ca;                              // files
  std::vector<std::pair<std::string, std::string>> client;  // certificate and key; no key: in the same file
  bool skip_verify = false;
};

struct HostsToml {
  std::string server;                                       // URL; empty: the registry's own
  HostsTomlTls top;                                         // of `server`
  std::vector<std::pair<std::string, HostsTomlTls>> hosts;  // [host."URL"], in the order written
};

// At most kMostHostsToml bytes. Errors: config, with the line.
inline constexpr std::size_t kMostHostsToml = 1u << 20;
Result<HostsToml> parse_hosts_toml(std::string_view text);

}  // namespace layerd::net
