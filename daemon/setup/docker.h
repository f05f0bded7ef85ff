// `layerd setup docker`: registry-mirrors of daemon.json, and hosts.toml files where docker has the
// containerd image store (protocol.md §1.9). Pure.
#pragma once

#include "daemon/setup/plan.h"

namespace layerd::daemon::setup {

// Errors: config, with file and line.
Result<Plan> plan_docker(FileSource& files, const Input& input);

// `text` with `url` first under "registry-mirrors"; everything else as it was. Nothing: a new file.
Result<std::string> with_docker_mirror(const std::string& file, const std::optional<std::string>& text,
                                       const std::string& url);
// Without it.
Result<std::string> without_docker_mirror(const std::string& file, const std::string& text,
                                          const std::string& url);

}  // namespace layerd::daemon::setup
