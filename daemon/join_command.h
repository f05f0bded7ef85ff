// `layerd join FILE`: makes this node a member by an invitation. Blocks; runs as root or as the daemon's
// user.
#pragma once

#include <string>

namespace layerd::daemon {

struct JoinOptions {
  std::string file;
  bool replace = false;
  std::string listen, zone, cert_file, key_file;
};

// Exit status: 0; 1 when a file cannot be read or written; 2 when the invitation or the configuration will
// not do.
int join_command(const std::string& config_path, const JoinOptions& options);

}  // namespace layerd::daemon
