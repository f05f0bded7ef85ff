// The container runtimes of this node as their own files show them: does each ask layerd for a registry? Read
// only, for `layerd check` (protocol.md §1.7, §2.2, §1.8, §1.9). Blocks; for commands.
#pragma once

#include <string>
#include <vector>

#include "daemon/settings.h"

namespace layerd::daemon {

struct RuntimeView {
  enum class Way {
    asks,      // its file for this registry names layerd
    bypasses,  // it has no such file, or one that does not name layerd
    unknown,   // it may not be read
  };
  std::string runtime;  // "k3s", "containerd", ...
  Way way = Way::unknown;
  std::string said;  // one line, with the file
};

// root: "/" or where another system's files lie. registry: as pods name it ("docker.io", "nexus:5000").
// listen: where layerd listens. Runtimes that are not there are left out.
std::vector<RuntimeView> look_at_runtimes(const std::string& root, const std::string& registry,
                                          const std::vector<ListenAddress>& listen);

}  // namespace layerd::daemon
