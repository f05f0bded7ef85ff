// The last good configuration: the texts `serve` last started or reloaded from without an error,
// kept 0600 in the state folder. When the files are bad at boot the daemon starts from it, marked
// degraded (design.md §2.2). Blocks: call it before the loop runs, or from a worker.
#pragma once

#include <string>

#include "daemon/config.h"
#include "runtime/result.h"

namespace layerd::daemon {

// "<state folder>/last-good-config.json", replaced in one step. Errors: local_io, no_space.
Result<Ok> save_last_good(const std::string& state_folder, const ConfigSources& sources);

// What was saved, parsed again. Files it names that cannot be read now are warnings. Errors:
// not_found (there is none); config (it is damaged, or this version cannot read it).
Result<LoadedConfig> load_last_good(const std::string& state_folder);

// Where it lies when the configuration itself is refused: a bad file most often still names its
// cache.path; else systemd's state folder ($STATE_DIRECTORY), else the default.
std::string state_folder_for(const std::string& config_path);

}  // namespace layerd::daemon
