// `credentials` of the configuration: docker config files and credential helpers (docs/credentials.md).
// Blocks where it checks files.
#pragma once

#include <string>
#include <vector>

#include "daemon/config_reader.h"
#include "proxy/registry/credential_rules.h"

namespace layerd::daemon {

// One entry of credentials.helpers before it is put together.
struct HelperDraft {
  std::string match;
  registry::HelperKind kind = registry::HelperKind::docker;
  std::string helper;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
};

const std::vector<Key<HelperDraft>>& helper_keys();

void read_docker_configs(const YamlNode& node, std::string_view key, registry::CredentialRules& out,
                         ConfigReader& reader);
void read_helpers(const YamlNode& node, std::string_view key, registry::CredentialRules& out,
                  ConfigReader& reader);

// As YAML, values of `env` masked; "[]" if there is none.
std::string show_docker_configs(const registry::CredentialRules& rules);
std::string show_helpers(const registry::CredentialRules& rules);

}  // namespace layerd::daemon
