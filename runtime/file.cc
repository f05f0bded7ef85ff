#include "runtime/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <limits>

namespace layerd {
namespace {

// A file that may not grow so far is a full disk for this file, not a sick one.
Errc code_for(int sys_errno) {
  return sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EFBIG ? Errc::no_space : Errc::local_io;
}

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Result<FilePtr> File::open(const std::string& path, int flags, mode_t mode) {
  int fd;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) {
    const int failed = errno;
    const Errc code = failed == ENOENT ? Errc::not_found : code_for(failed);
    return errno_error("cannot open " + path, failed, code);
  }
  return std::make_shared<File>(fd, path);
}

Result<Bytes> File::read_at(ByteCount offset, std::size_t max) const {
  Bytes bytes(max);
  std::size_t done = 0;
  while (done < max) {
    const ssize_t n = ::pread(fd_, bytes.data() + done, max - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("cannot read " + path_, errno, code_for(errno));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  bytes.truncate(done);
  return bytes;
}

std::optional<Bytes> File::read_at_once(ByteCount offset, std::size_t max) const {
  Bytes bytes(max);
  iovec part{bytes.data(), max};
  const ssize_t n = ::preadv2(fd_, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  if (n <= 0) return std::nullopt;
  bytes.truncate(static_cast<std::size_t>(n));
  return bytes;
}

Result<Ok> File::write_at(ByteCount offset, const std::vector<ByteView>& pieces) const {
  std::vector<iovec> parts;
  parts.reserve(pieces.size());
  ByteCount left = 0;
  for (const ByteView piece : pieces) {
    left += piece.size();
    if (!piece.empty()) parts.push_back({const_cast<char*>(piece.data()), piece.size()});
  }
  constexpr auto kMost = static_cast<ByteCount>(std::numeric_limits<off_t>::max());
  if (offset > kMost || left > kMost - offset)
    return errno_error("cannot write " + path_, EFBIG, code_for(EFBIG));
  for (auto part = parts.begin(); part != parts.end();) {
    const int count = static_cast<int>(std::min<std::ptrdiff_t>(parts.end() - part, IOV_MAX));
    const ssize_t n = ::pwritev(fd_, &*part, count, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("cannot write " + path_, errno, code_for(errno));
    offset += static_cast<ByteCount>(n);
    auto written = static_cast<std::size_t>(n);
    for (; part != parts.end() && written >= part->iov_len; ++part) written -= part->iov_len;
    if (written == 0) continue;
    part->iov_base = static_cast<char*>(part->iov_base) + written;
    part->iov_len -= written;
  }
  return Ok{};
}

Result<Ok> File::sync(bool data_only) const {
  if ((data_only ? ::fdatasync(fd_) : ::fsync(fd_)) != 0)
    return errno_error("cannot sync " + path_, errno, code_for(errno));
  return Ok{};
}

Result<std::string> read_file(const std::string& path, std::size_t most) {
  auto file = File::open(path, O_RDONLY);
  if (!file) return std::move(file).error();
  return read_all(**file, most);
}

Result<std::string> read_all(const File& file, std::size_t most) {
  std::string content;
  for (;;) {
    auto part = file.read_at(content.size(), 64 * 1024);
    if (!part) return std::move(part).error();
    if (part->empty()) return content;
    content.append(part->view());
    if (content.size() > most)
      return {Errc::invalid_request, file.path() + " has more than " + std::to_string(most) + " bytes"};
  }
}

Result<Ok> replace_file(const std::string& path, ByteView content, mode_t mode) {
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  auto file = File::open(fresh, O_WRONLY | O_CREAT | O_EXCL, mode);
  if (!file) return std::move(file).error();
  if (auto written = (*file)->write_at(0, content); !written) return written;
  if (auto synced = (*file)->sync(false); !synced) return synced;
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return errno_error("cannot rename " + fresh + " to " + path, errno, code_for(errno));
  auto folder = File::open(parent_of(path), O_RDONLY | O_DIRECTORY);
  if (!folder) return std::move(folder).error();
  return (*folder)->sync(false);
}

}  // namespace layerd
