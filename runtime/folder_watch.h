// What happens in one folder, told by the kernel (inotify). Loop thread.
#pragma once

#include <string>

#include "runtime/callback.h"
#include "runtime/uv_loop.h"

namespace layerd {

// Calls `stirred` on the loop whenever an entry of the folder is made, written, renamed or removed, or the
// folder itself goes, until destroyed. It may be destroyed from inside `stirred`.
class FolderWatch {
 public:
  FolderWatch(UvLoop& loop, const std::string& folder, Callback<void()> stirred);
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  // False: the kernel does not tell (no such folder, no right, no watches left).
  bool works() const { return works_; }

 private:
  struct Block;
  Block* block_;  // freed when libuv has closed its handle
  bool works_ = false;
};

}  // namespace layerd
