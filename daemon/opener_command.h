// `layerd root-helper`: what layerd-opener.service runs as root (systemd/opener.h).
#pragma once

#include <string>

namespace layerd::daemon {

// Serves the socket systemd has opened. Exit status: 0 when nobody has asked for a while, 1 on errors.
int opener_command(const std::string& config_path, bool path_given);

}  // namespace layerd::daemon
