// `layerd status`: what runs now, for people and for machines. Blocks; not for the loop.
#pragma once

#include "daemon/admin_access.h"

namespace layerd::daemon {

struct StatusOptions {
  bool json = false;
  bool watch = false;  // once a second until interrupted
  bool debug = false;  // with everything that waits
};

// Exit status: 0, or 1 with the reason on stderr (no daemon runs, it does not answer).
int status_command(const std::string& socket_path, StatusOptions options);

}  // namespace layerd::daemon
