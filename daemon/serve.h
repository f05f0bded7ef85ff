// `layerd serve`: from the configuration to a running loop and to its clean end.
#pragma once

#include <string>

namespace layerd::daemon {

// Blocks until SIGTERM or SIGINT. path_given: the user named the file, so it must be there.
// Exit status: 0 after a clean end; 1 when it could not be started (the reason on stderr); 2 when the
// configuration is wrong and there is no last good one.
int serve_command(const std::string& config_path, bool path_given);

}  // namespace layerd::daemon
