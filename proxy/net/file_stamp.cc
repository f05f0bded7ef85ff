#include "proxy/net/file_stamp.h"

#include <sys/stat.h>

namespace layerd::net {

FileStamp FileStamp::of(const std::string& path) {
  FileStamp stamp{path};
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return stamp;
  stamp.device = found.st_dev;
  stamp.inode = found.st_ino;
  stamp.size = static_cast<std::uint64_t>(found.st_size);
  stamp.mtime_ns = found.st_mtim.tv_sec * 1'000'000'000LL + found.st_mtim.tv_nsec;
  return stamp;
}

}  // namespace layerd::net
