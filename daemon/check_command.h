// `layerd check NAME`: the walk of the running daemon, or one of our own when none runs, then what the
// runtime's own files say; printed for people or as JSON (docs/check.md). Blocks.
#pragma once

#include <string>

#include "daemon/settings.h"
#include "runtime/json.h"

namespace layerd::daemon {

struct CheckOptions {
  std::string name;
  std::string platform;            // empty: this machine's
  std::string runtime_root = "/";  // where the container runtime's configuration lies
  bool json = false;
};

// Exit status: 0 all is well, 1 it is not, or it could not be found out; 2 the name or the platform is none.
int check_command(const SettingsPtr& settings, const CheckOptions& options);

// Adds the step "runtime" to a report, and with it the diagnosis runtime_bypass when all else is well.
void judge_runtimes(Json& report, const Settings& settings, const std::string& runtime_root);

// The report for people. plain: letters instead of ✓ and ✗.
std::string check_text(const Json& report, bool plain);

}  // namespace layerd::daemon
