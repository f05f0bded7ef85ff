// `layerd setup containerd`: hosts.toml files under containerd's config_path (protocol.md §1.7). Pure.
#pragma once

#include <string>
#include <vector>

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

// Where containerd looks for hosts.toml files, by config.toml and what it imports.
struct ContainerdWay {
  std::string config_path;  // as it is written; empty: it is set nowhere
  std::string old_file;     // the file with the old registry.mirrors, usual; empty: there are none
};
// Errors: config: a file that is no TOML, with its place.
Result<ContainerdWay> containerd_way(FileSource& files);

// Certificates and keys that a hosts.toml in `folder` names and that are not there: containerd fails every
// pull of the registry then and asks no host at all (protocol.md §1.7).
std::vector<std::string> missing_files(FileSource& files, const HostsFile& file, const std::string& folder);

// Registries that have a folder there, "*" for _default.
std::vector<std::string> registries_in(FileSource& files, const std::string& folder);

// What Spegel beside layerd means, if its traces are in `folder`; else empty.
std::string spegel_note(FileSource& files, const std::string& folder);

}  // namespace layerd::daemon::setup
