#include "cache/file_ops.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace layerd::cache {
namespace {

Errc code_of(int sys_errno) {
  if (sys_errno == ENOSPC || sys_errno == EDQUOT) return Errc::no_space;
  if (sys_errno == ENOENT) return Errc::not_found;
  return Errc::local_io;
}

Error failure(const std::string& what, int sys_errno) {
  return errno_error(what, sys_errno, code_of(sys_errno));
}

FileFacts facts_of(const struct stat& seen) {
  return {static_cast<ByteCount>(seen.st_size), seen.st_mtim.tv_sec * 1'000'000'000LL + seen.st_mtim.tv_nsec,
          static_cast<std::uint64_t>(seen.st_ino)};
}

}  // namespace

Result<FilePtr> FileOps::open(const std::string& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return failure("cannot open " + path, errno);
  return std::make_shared<File>(fd, path);
}

Result<Bytes> FileOps::read_at(const File& file, ByteCount offset, std::size_t max) {
  return file.read_at(offset, max);
}

Result<Bytes> FileOps::read_at_gently(const File& file, ByteCount offset, std::size_t max) {
  if (auto warm = file.read_at_once(offset, max); warm && !warm->empty()) return std::move(*warm);
  ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_RANDOM);  // no read-ahead into what comes next
  auto bytes = read_at(file, offset, max);
  if (bytes)
    ::posix_fadvise(file.fd(), static_cast<off_t>(offset), static_cast<off_t>(bytes->size()),
                    POSIX_FADV_DONTNEED);
  return bytes;
}

Result<Ok> FileOps::write_pieces(const File& file, ByteCount offset, const std::vector<ByteView>& pieces) {
  return file.write_at(offset, pieces);
}

Result<Ok> FileOps::truncate(const File& file, ByteCount size) {
  if (::ftruncate(file.fd(), static_cast<off_t>(size)) == 0) return Ok{};
  return failure("cannot set the length of " + file.path(), errno);
}

Result<Ok> FileOps::sync(const File& file, bool data_only) { return file.sync(data_only); }

Result<Ok> FileOps::sync_folder(const std::string& path) {
  auto folder = open(path, O_RDONLY | O_DIRECTORY);
  if (!folder) return std::move(folder).error();
  if (::fsync((*folder)->fd()) == 0) return Ok{};
  return failure("cannot sync the folder " + path, errno);
}

Result<Ok> FileOps::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return Ok{};
  return failure("cannot rename " + from + " to " + to, errno);
}

Result<Ok> FileOps::remove(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return Ok{};
  return failure("cannot remove " + path, errno);
}

Result<Ok> FileOps::make_folder(const std::string& path) {
  std::error_code failed;
  std::filesystem::create_directories(path, failed);
  if (!failed) return Ok{};
  return failure("cannot make the folder " + path, failed.value());
}

Result<FileFacts> FileOps::facts(const std::string& path) {
  struct stat seen {};
  if (::lstat(path.c_str(), &seen) != 0) return failure("cannot look at " + path, errno);
  if (!S_ISREG(seen.st_mode)) return failure("not a plain file: " + path, EINVAL);
  return facts_of(seen);
}

Result<FileFacts> FileOps::facts(const File& file) {
  struct stat seen {};
  if (::fstat(file.fd(), &seen) != 0) return failure("cannot look at " + file.path(), errno);
  if (!S_ISREG(seen.st_mode)) return failure("not a plain file: " + file.path(), EINVAL);
  return facts_of(seen);
}

Result<std::vector<FolderEntry>> FileOps::list(const std::string& path, std::size_t most) {
  std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), [](DIR* d) { return ::closedir(d); });
  if (!folder) return failure("cannot list " + path, errno);
  std::vector<FolderEntry> found;
  while (found.size() < most) {
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) break;
    struct stat seen {};
    if (::fstatat(::dirfd(folder.get()), entry->d_name, &seen, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(seen.st_mode)) found.push_back({entry->d_name, facts_of(seen)});
  }
  return found;
}

Result<DiskSpace> FileOps::space(const std::string& path) {
  struct statvfs seen {};
  if (::statvfs(path.c_str(), &seen) != 0) return failure("cannot ask for the free space of " + path, errno);
  return DiskSpace{static_cast<ByteCount>(seen.f_blocks) * seen.f_frsize,
                   static_cast<ByteCount>(seen.f_bavail) * seen.f_frsize};
}

std::string FileOps::boot_id() {
  auto text = read_file("/proc/sys/kernel/random/boot_id", 64);
  if (!text) return {};  // unknown: nothing unsynced is trusted after a restart
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *text;
}

}  // namespace layerd::cache
