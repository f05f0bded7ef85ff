// `layerd peers` and `layerd peers invite`. Block; for the command line.
#pragma once

#include <string>

#include "daemon/settings.h"

namespace layerd::daemon {

// Asks the running daemon. Exit status: 0; 1 when nobody answers.
int peers_command(const std::string& socket_path, bool json);

struct InviteOptions {
  std::string output;           // empty: standard output, unless that is a terminal
  std::string expires = "24h";  // a duration
};
// What an invitation of this node does not carry, and what to do about it; empty: it carries all.
std::string left_out_of_invitation(const PeersSettings& peers);

// The members are those the running daemon knows; without one those that the configuration lists by address.
// The file is made with 0600. Exit status: 0; 1 when something cannot be read or written; 2 wrong usage or
// configuration.
int invite_command(const Settings& settings, const InviteOptions& options);

}  // namespace layerd::daemon
