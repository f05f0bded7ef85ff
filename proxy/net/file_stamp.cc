#include "proxy/net/file_stamp.h"

#include <sys/stat.h>

#include <cerrno>

#include "runtime/guarded_file.h"

namespace layerd::net {
namespace {

FileStamp stamp_of(const std::string& path, const struct stat& found) {
  FileStamp stamp{path};
  stamp.device = found.st_dev;
  stamp.inode = found.st_ino;
  stamp.size = static_cast<std::uint64_t>(found.st_size);
  stamp.mtime_ns = found.st_mtim.tv_sec * 1'000'000'000LL + found.st_mtim.tv_nsec;
  return stamp;
}

}  // namespace

FileStamp FileStamp::of(const std::string& path) {
  struct stat found {};
  return stat(path.c_str(), &found) == 0 ? stamp_of(path, found) : FileStamp{path};
}

FileStamp FileStamp::of_guarded(const std::string& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) == 0) return stamp_of(path, found);
  if (errno != EACCES) return {path};
  const auto file = open_guarded(path);
  return file && fstat((*file)->fd(), &found) == 0 ? stamp_of(path, found) : FileStamp{path};
}

}  // namespace layerd::net
