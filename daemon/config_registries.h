// `mirrors`, `configs` and `auths`: the part of the configuration that k3s's registries.yaml shares
// (protocol.md §2.1, §2.2). Blocks where it reads password files.
#pragma once

#include <string>
#include <vector>

#include "daemon/config_reader.h"
#include "proxy/registry/rules.h"

namespace layerd::daemon {

// What `configs.<host>` holds before it is put together.
struct HostDraft {
  registry::HostSettings settings;
  std::string auth;  // base64 of user:password
};

const std::vector<Key<registry::MirrorEntry>>& mirror_keys();
const std::vector<Key<HostDraft>>& host_keys();

// Each adds to `out` what is not there yet: the first file that names a registry wins, and what a
// second one says of it is a warning.
void read_mirrors(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader);
void read_configs(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader);
void read_auths(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader);

// As YAML blocks, secrets masked; "{}" if there is none.
std::string show_mirrors(const registry::RulesInput& rules);
std::string show_configs(const registry::RulesInput& rules);

}  // namespace layerd::daemon
