#include "daemon/setup/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/setup/files.h"

namespace layerd::daemon::setup {

NodeLock::~NodeLock() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Ok> NodeLock::take(const std::string& folder) {
  const std::string path = folder + "/lock";
  if (auto made = make_folders_for(path, 0700); !made) return std::move(made).error();
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0)
    return errno_error("cannot open " + path, errno, errno == EACCES ? Errc::denied : Errc::local_io);
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0)
    return {Errc::overloaded, "another layerd setup runs on this node; wait for it to end"};
  return Ok{};
}

}  // namespace layerd::daemon::setup
