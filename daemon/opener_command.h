// `layerd root-helper`: what layerd-opener.service runs as root (systemd/opener.h).
#pragma once

#include <string>
#include <vector>

#include "runtime/result.h"

namespace layerd::daemon {

// What the root helper passes: the files that root's configuration names, that of k3s which it names, and the
// certificates and keys of the folders it names (ca_dir, certs_dirs) as they are now, with those that a
// hosts.toml of root's names elsewhere. Errors: config, when
// others than root can change the configuration. Blocks: it reads the configuration and lists the folders.
Result<std::vector<std::string>> files_for_opener(const std::string& config_path, bool path_given);

// Serves the socket systemd has opened. Exit status: 0 when nobody has asked for a while, 1 on errors.
int opener_command(const std::string& config_path, bool path_given);

}  // namespace layerd::daemon
