// How a command reaches the store: through the admin socket of the daemon that runs, or, when none
// runs, on the store itself under its lock. Blocks; for commands.
#pragma once

#include <memory>
#include <string>

#include "daemon/admin_client.h"
#include "runtime/result.h"

namespace layerd::daemon {

struct Settings;

class AdminAccess {
 public:
  virtual ~AdminAccess() = default;
  virtual Result<AdminAnswer> ask(const std::string& method, const std::string& target) = 0;
};

// Errors: denied, config (the store's folder is somebody else's or locked), local_io.
Result<std::unique_ptr<AdminAccess>> open_admin_access(const Settings& settings);

}  // namespace layerd::daemon
