// One request to the admin socket of a running daemon, for commands. Blocks; not for the loop.
#pragma once

#include <string>

#include "runtime/json.h"
#include "runtime/result.h"

namespace layerd::daemon {

struct AdminAnswer {
  int status = 0;
  Json body;
};

// method: GET or POST; target: "/v1/status". Waits at most `seconds` for each part of the answer.
// Errors: not_found when nobody listens at `socket_path` (no daemon runs there); denied when we may
// not connect; local_io and upstream_protocol otherwise. A status >= 400 is an answer, not an error.
Result<AdminAnswer> ask_admin(const std::string& socket_path, const std::string& method,
                              const std::string& target, int seconds = 60);

}  // namespace layerd::daemon
