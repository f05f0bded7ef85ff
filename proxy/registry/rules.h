// Rules: ns and repository -> Target. Made from the configuration, immutable, swapped whole on reload.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/registry/endpoint.h"

namespace layerd::registry {

// One entry of `mirrors` (k3s's schema; protocol.md §2.1 to §2.4).
struct MirrorEntry {
  std::vector<Url> endpoints;                                // normalised as k3s does (protocol.md §2.2)
  std::vector<std::pair<std::string, std::string>> rewrite;  // in the order written; first that changes wins
  bool default_endpoint = true;
};

struct RulesInput {
  std::map<std::string, MirrorEntry> mirrors;      // by registry name, or "*"
  std::map<std::string, HostSettingsPtr> configs;  // by endpoint host[:port], registry name, or "*"
  std::vector<std::string> allow{"*"};             // registry patterns
};

class Rules {
 public:
  // Compiles the rewrites. Errors: config, naming the mirror and the expression.
  static Result<std::shared_ptr<const Rules>> make(RulesInput input);
  virtual ~Rules() = default;

  // Errors: refused_by_policy (not in `allow`); invalid_request (ns is not a host[:port]).
  virtual Result<TargetPtr> resolve(std::string_view ns, std::string_view repository) const = 0;
  // Settings of a host[:port] that is dialled because of a redirect or a token realm; never null.
  virtual HostSettingsPtr settings_for(std::string_view host, std::uint16_t port) const = 0;
  // Is host[:port] named in the configuration (design.md §3.6)?
  virtual bool is_configured(std::string_view host, std::uint16_t port) const = 0;
};
using RulesPtr = std::shared_ptr<const Rules>;

}  // namespace layerd::registry
