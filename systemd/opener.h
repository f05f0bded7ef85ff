// The root helper: opens for the daemon, which has no rights of its own, the files that root's configuration
// names and passes the descriptors (SCM_RIGHTS). One question and one answer per connection on a
// SOCK_SEQPACKET socket of systemd's: the path; then "ok" with the descriptor, or a sentence. Blocking, one
// connection at a time, one thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "runtime/result.h"

namespace layerd::systemd {

struct OpenerSettings {
  uid_t trusted = 0;  // besides root: whose folders and files may decide what a path names
  Duration idle = std::chrono::seconds(30);
};

// The files that may be asked for, as they are named now; or why there are none.
using OpenerList = std::function<Result<std::vector<std::string>>()>;

// Serves until nobody has asked for `idle`. Errors: local_io, of the listening socket.
Result<Ok> serve_opener(int listener, const OpenerList& list, const OpenerSettings& settings = {});

// Nobody but root and `trusted` can change what `path` names: every folder on the way to it, also through
// links, belongs to them and is not open to others for writing (or is sticky, as /tmp is).
// Errors: config, naming the folder.
Result<Ok> check_way(const std::string& path, uid_t trusted);

}  // namespace layerd::systemd
