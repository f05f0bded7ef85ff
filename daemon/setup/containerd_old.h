// containerd's old way, registry.mirrors in config.toml (protocol.md §1.7). Pure.
#pragma once

#include <string>

#include "daemon/setup/plan.h"
#include "daemon/setup/toml.h"

namespace layerd::daemon::setup {

// path: the file that has the table [plugins."PLUGIN".registry]. Errors: config, with file and line.
Result<Ok> plan_old_mirrors(FileSource& files, const Input& input, const std::string& path,
                            const std::string& plugin, Plan& plan);
// The text without layerd's endpoint. Errors: config.
Result<std::string> without_old_mirrors(const std::string& file, const std::string& text,
                                        const std::string& url);

}  // namespace layerd::daemon::setup
