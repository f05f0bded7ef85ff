// `layerd setup`: points a runtime of this node at layerd (docs/setup.md).
#pragma once

#include <string>
#include <vector>

namespace layerd::daemon {

struct SetupOptions {
  std::string runtime;
  std::string root;
  std::vector<std::string> images;
  bool dry_run = false, undo = false, verify = false, no_fallback = false, keep = false;
};

// Answers the exit status.
int setup_command(std::string config_path, bool config_given, const SetupOptions& options);

}  // namespace layerd::daemon
