// What setup writes for layerd itself: a file with everything it copied from runtimes, and the line
// of the configuration that names it. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/setup/copied.h"
#include "daemon/setup/plan.h"

namespace layerd::daemon::setup {

struct OwnFiles {
  std::string config;      // real path of config.yaml
  std::string registries;  // real path of the file with what was copied, beside it
  std::optional<std::string> config_text, registries_text;
  std::string runtimes_own = {};  // the runtime's own registries.yaml, which layerd may be reading itself
  std::string url;                // layerd's own; never an endpoint of its own
  std::optional<std::pair<uid_t, gid_t>> daemon_owner;  // who must be able to read it
};

// all: the runtimes' copies by name, in the order in which they count.
// Errors: config: the configuration names another registries_file, or is written so that it cannot be edited,
// or would not be valid afterwards (file, line, reason).
Result<std::vector<FileChange>> plan_own_files(const OwnFiles& files,
                                               const std::vector<std::pair<std::string, Copied>>& all,
                                               std::vector<std::string>& notes);

// The text of that file. Nothing copied: a text that says nothing and is valid.
std::string registries_text_of(const Copied& copied);

// Certificates and keys that layerd's user cannot read are copied for it. `readable` tells; `read` gives
// the text. `folder` (real) is where the copies go.
void adopt_files(Copied& copied, const std::string& folder,
                 const std::function<bool(const std::string&)>& readable,
                 const std::function<std::optional<std::string>(const std::string&)>& read,
                 const std::optional<std::pair<uid_t, gid_t>>& owner, std::vector<FileChange>& changes,
                 std::vector<std::string>& notes);

}  // namespace layerd::daemon::setup
