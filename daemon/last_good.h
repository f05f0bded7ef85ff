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
// In the folder of the store and in systemd's state folder ($STATE_DIRECTORY), if that is another one: a
// file that went bad may not name its store any more. Errors: as above, of the store's folder.
Result<Ok> save_last_good_everywhere(const std::string& cache_path, const ConfigSources& sources);

// What was saved, parsed again. Files it names that cannot be read now are warnings. Errors:
// not_found (there is none); config (it is damaged, or this version cannot read it).
Result<LoadedConfig> load_last_good(const std::string& state_folder);
// The first one that was made from the same file, or from none if `path_given` is false. Looked for where
// the refused file says its store is, in $STATE_DIRECTORY, in the default folder. Errors: not_found.
Result<LoadedConfig> find_last_good(const std::string& config_path, bool path_given);

}  // namespace layerd::daemon
