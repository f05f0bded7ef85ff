// FileStamp: enough of a file's stat to see that it was changed or replaced. Any thread; blocks as
// long as one stat(2) does.
#pragma once

#include <cstdint>
#include <string>

namespace layerd::net {

struct FileStamp {
  std::string path;
  std::uint64_t device = 0, inode = 0, size = 0;  // all 0: it is not there
  std::int64_t mtime_ns = 0;
  bool operator==(const FileStamp&) const = default;
  static FileStamp of(const std::string& path);
  // Also of a file in a folder that only root may enter: of the descriptor that the root helper passes.
  // Blocks as open_guarded() does.
  static FileStamp of_guarded(const std::string& path);
};

}  // namespace layerd::net
