// What `layerd join` changes on a node, as values: the invitation and the files as they are go in, the files
// as they shall be come out. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "daemon/invitation.h"
#include "proxy/net/stream.h"

namespace layerd::daemon {

struct JoinInput {
  std::string config_path;                 // real path
  std::optional<std::string> config_text;  // nothing: there is no such file
  Invitation invitation;
  // The text of the file that would hold the secret or the CA; nothing: there is none.
  std::function<Result<std::optional<std::string>>(const std::string& path)> read;
  bool replace = false;             // a `peers` that says something else is written anew
  std::string listen, zone;         // --listen, --zone; empty: as in the invitation, none
  std::string cert_file, key_file;  // of this node, where the members know each other by certificates
  std::vector<net::Address> own;    // the addresses of this machine
};

struct JoinFile {
  std::string path;
  std::string text;
  bool is_secret = false;  // 0600, and of the daemon's user
  std::string what;        // one line for people
};

struct JoinPlan {
  std::vector<JoinFile> files;     // in the order to be written; empty: nothing to do
  std::vector<std::string> notes;  // what people should know
  bool needs_restart = false;      // the peer listener is another one than before
};
// Errors: config: another site is configured and `replace` is not set, a certificate of ours is missing, the
// file cannot be edited, or would not be valid afterwards. No sentence holds a secret.
Result<JoinPlan> plan_join(const JoinInput& input);

}  // namespace layerd::daemon
