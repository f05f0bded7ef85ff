// One setup at a time on a node: what several runtimes share (layerd's own configuration, a folder of
// hosts.toml files) is read, planned and written by one of them alone.
#pragma once

#include <string>

#include "runtime/result.h"

namespace layerd::daemon::setup {

class NodeLock {
 public:
  NodeLock() = default;
  ~NodeLock();
  NodeLock(const NodeLock&) = delete;
  NodeLock& operator=(const NodeLock&) = delete;

  // folder: of all records; it is made. Errors: overloaded (another setup runs), denied, local_io.
  Result<Ok> take(const std::string& folder);

 private:
  int fd_ = -1;
};

}  // namespace layerd::daemon::setup
