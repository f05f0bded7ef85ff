// Rules: ns and repository -> Target. Made from the configuration, immutable, swapped whole on reload.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/registry/alias.h"
#include "proxy/registry/endpoint.h"

namespace layerd::registry {

// One entry of `mirrors` (k3s's schema; protocol.md §2.1 to §2.4).
struct MirrorEntry {
  std::vector<Url> endpoints;                                // normalised as k3s does (protocol.md §2.2)
  std::vector<std::pair<std::string, std::string>> rewrite;  // in the order written; first that changes wins
  bool default_endpoint = true;
};

struct RulesInput {
  std::map<std::string, MirrorEntry> mirrors;      // by registry name, a pattern of one, or "*"
  std::map<std::string, HostSettingsPtr> configs;  // by endpoint host[:port], registry name, pattern, or "*"
  std::vector<std::string> allow{"*"};             // registry patterns
  std::vector<AliasEntry> aliases = {};            // in the order written; the first that fits decides alone
  std::vector<std::string> dns_hosts = {};         // names in dns.hosts, lower case
  std::vector<std::string> dns_zones = {};         // suffixes in dns.zones, lower case; "" is every name
};

class Rules {
 public:
  // Compiles aliases and rewrites. Errors: config, naming the alias, or the mirror and the expression.
  static Result<std::shared_ptr<const Rules>> make(RulesInput input);
  virtual ~Rules() = default;

  // Alias (at most one, once), then mirror entry, rewrite and endpoints of the name it leads to. The
  // mirror entry is the one of that very name, else the longest pattern's, else that of "*"; the latter
  // not for a registry with an entry of its own in `configs`, as in k3s (protocol.md §2.2).
  // Errors: refused_by_policy (not in `allow`, no endpoint); invalid_request (ns is not a host[:port]);
  // config (an alias or a rewrite makes no legal name of this one).
  virtual Result<TargetPtr> resolve(std::string_view ns, std::string_view repository) const = 0;
  // Settings of a host[:port] that is dialled because of a redirect or a token realm; never null.
  virtual HostSettingsPtr settings_for(std::string_view host, std::uint16_t port) const = 0;
  // Is host[:port] named in the configuration (design.md §3.6): by mirrors or their endpoints, configs,
  // the target of an alias, dns.hosts, a zone of dns.zones other than ".", or allow other than "*"?
  virtual bool is_configured(std::string_view host, std::uint16_t port) const = 0;
};
using RulesPtr = std::shared_ptr<const Rules>;

}  // namespace layerd::registry
