// `layerd peers secret`: a new secret for a site (docs/peers.md "Trust"). Blocks; not for the loop.
#pragma once

#include <string>

namespace layerd::daemon {

// One line: to stdout, or into `file`, made with mode 0600; a file that is there is not touched.
// Exit status: 0 done, 1 it failed (the reason on stderr).
int peers_secret_command(const std::string& file);

}  // namespace layerd::daemon
