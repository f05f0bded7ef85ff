// Where credentials come from besides `configs`: the part `credentials` of the configuration. Plain
// values; the order is the order in which they are asked (docs/credentials.md).
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/registry/pattern.h"

namespace layerd::registry {

enum class HelperKind {
  docker,   // docker-credential-NAME get
  kubelet,  // a kubelet credential provider plugin
};

struct HelperRule {
  Pattern match;       // of host[:port] or host[:port]/repository
  std::string helper;  // a name, or an absolute path
  HelperKind kind = HelperKind::docker;
  std::vector<std::string> arguments;                            // further ones
  std::vector<std::pair<std::string, std::string>> environment;  // besides the little it gets anyway
};

struct CredentialRules {
  std::vector<std::string> docker_configs;  // absolute paths
  std::vector<HelperRule> helpers;
  std::vector<std::string> config_hosts;  // keys of `configs` with auth: to tell what came near
  bool empty() const { return docker_configs.empty() && helpers.empty(); }
};
using CredentialRulesPtr = std::shared_ptr<const CredentialRules>;

}  // namespace layerd::registry
