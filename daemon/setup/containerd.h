// `layerd setup containerd`: hosts.toml files under containerd's config_path (protocol.md §1.7). Pure.
#pragma once

#include <string>

#include "daemon/setup/hosts_toml.h"
#include "daemon/setup/plan.h"

namespace layerd::daemon::setup {

// Errors: config: a file that cannot be read as what it is, or settings that setup must not touch.
Result<Plan> plan_containerd(FileSource& files, const Input& input);

// The same for a folder of hosts.toml files wherever it is: docker's containerd image store and k3s
// have one of their own.
struct HostsFolder {
  std::string path;    // usual
  std::string tool;    // "layerd setup containerd"
  bool copies = true;  // what is configured there goes into layerd's configuration
};
Result<Ok> plan_hosts_folder(FileSource& files, const Input& input, const HostsFolder& folder, Plan& plan);

// Registries that have a folder there, "*" for _default.
std::vector<std::string> registries_in(FileSource& files, const std::string& folder);

// What Spegel beside layerd means, if its traces are in `folder`; else empty.
std::string spegel_note(FileSource& files, const std::string& folder);

}  // namespace layerd::daemon::setup
