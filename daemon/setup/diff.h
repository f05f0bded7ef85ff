// Changes as people read them: a unified diff, secrets masked. Pure.
#pragma once

#include <string>
#include <vector>

#include "daemon/setup/plan.h"

namespace layerd::daemon::setup {

// "--- path\n+++ path\n@@ … @@\n…", three lines around each change. A new file stands against /dev/null.
// Empty if nothing differs.
std::string unified_diff(const FileChange& change, const std::vector<std::string>& secrets);

// `text` with the secrets in it replaced: each of `secrets`, and what stands behind a key that is
// called password, auth, token and the like, in YAML, TOML and JSON.
std::string masked(std::string text, const std::vector<std::string>& secrets);

}  // namespace layerd::daemon::setup
