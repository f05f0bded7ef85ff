// `layerd setup k3s|rke2`: registries.yaml, and the hosts.toml files k3s makes of it, so that nothing
// has to restart (protocol.md §2). Pure.
#pragma once

#include <string>

#include "daemon/setup/plan.h"

namespace layerd::daemon::setup {

struct K3sKind {
  std::string name;  // "k3s"
  std::string registries = "/etc/rancher/" + name + "/registries.yaml";
  std::string config = "/etc/rancher/" + name + "/config.yaml";
  std::string agent = "/var/lib/rancher/" + name + "/agent";
};

// Its flags, from config.yaml, config.yaml.d and the units.
struct K3sFlags {
  std::string registries, hosts_folder;  // usual paths
  bool embedded = false;                 // Spegel inside
  bool closes_default = false;           // --disable-default-registry-endpoint
  std::vector<std::string> problems;     // files that are no YAML
};
K3sFlags read_k3s_flags(FileSource& files, const K3sKind& kind);

// Errors: config, with file and line.
Result<Plan> plan_k3s(FileSource& files, const Input& input, const K3sKind& kind);

}  // namespace layerd::daemon::setup
