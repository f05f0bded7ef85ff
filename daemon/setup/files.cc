#include "daemon/setup/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <random>

#include "runtime/file.h"

namespace layerd::daemon::setup {
namespace {

constexpr std::size_t kMostNames = 5000;

Error io_error(const std::string& what, int code) {
  const Errc kind = code == EACCES || code == EPERM || code == EROFS ? Errc::denied
                    : code == ENOSPC || code == EDQUOT               ? Errc::no_space
                                                                     : Errc::local_io;
  return errno_error(what, code, kind);
}

std::string without_link(const std::string& path) {
  char real[PATH_MAX];
  return ::realpath(path.c_str(), real) ? std::string(real) : path;
}

void sync_folder(const std::string& folder) {
  if (auto opened = File::open(folder, O_RDONLY | O_DIRECTORY)) ::fsync((*opened)->fd());
}

// The deepest part of `path` that is there, with every link followed.
std::string real_part(std::string path) {
  char real[PATH_MAX];
  while (!::realpath(path.c_str(), real)) {
    if (path == "/") return path;
    path = folder_above(path);
  }
  return real;
}

Result<Ok> fill(const FilePtr& file, const std::string& text) {
  if (auto written = file->write_at(0, {text.data(), text.size()}); !written) return written;
  return file->sync(false);
}

}  // namespace

std::string folder_above(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

RootFiles::RootFiles(std::string root) : root_(std::move(root)) {
  while (root_.ends_with('/')) root_.pop_back();
}

std::string RootFiles::real(const std::string& path) const {
  return root_.empty() || path == root_ || path.starts_with(root_ + "/") ? path : root_ + path;
}

std::string RootFiles::usual(const std::string& path) const {
  return !root_.empty() && path.starts_with(root_ + "/") ? path.substr(root_.size()) : path;
}

std::optional<std::string> RootFiles::read(const std::string& path) {
  auto text = read_if_there(real(path));
  if (text) return std::move(*text);
  problems_.push_back(text.error().message);
  return std::nullopt;
}

bool RootFiles::exists(const std::string& path) {
  return ::access(real(path).c_str(), F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

std::vector<std::string> RootFiles::list(const std::string& folder) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(real(folder).c_str()), &::closedir);
  while (const dirent* entry = open ? ::readdir(open.get()) : nullptr) {
    const std::string name = entry->d_name;
    if (name != "." && name != ".." && names.size() < kMostNames) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::optional<std::string>> read_if_there(const std::string& path) {
  auto file = File::open(path, O_RDONLY | O_NONBLOCK);  // a pipe would wait for somebody who writes
  if (!file) {
    const int code = file.error().sys_errno;
    if (code == ENOENT || code == ENOTDIR) return std::optional<std::string>();
    return std::move(file).error();
  }
  struct stat info {};
  if (::fstat((*file)->fd(), &info) != 0) return io_error("cannot read " + path, errno);
  const bool is_null = S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3);  // a masked unit
  if (!S_ISREG(info.st_mode) && !is_null) return {Errc::local_io, path + " is no plain file"};
  auto text = read_all(**file, 1u << 20);
  if (!text) return std::move(text).error();
  return std::optional<std::string>(std::move(*text));
}

Result<Ok> check_place(const std::string& path, const std::string& root, bool is_layerds_own) {
  struct stat link {
  }, info{};
  const bool is_there = ::stat(path.c_str(), &info) == 0;
  const bool is_link = ::lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode);
  if (is_link && is_layerds_own)
    return {Errc::config, path + " is layerd's own file and must not be a link; take the link away"};
  if (is_link && !is_there)
    return {Errc::config, path + " is a link to something that is not there; mend it or take it away"};
  if (is_there && !S_ISREG(info.st_mode)) return {Errc::config, path + " is no plain file"};
  const std::string real_root = real_part(root), real = real_part(path);
  if (!root.empty() && path.starts_with(root + "/") && real != real_root &&
      !real.starts_with(real_root + "/"))
    return {Errc::config, fmt::format("{} leads to {}, out of {}: that would change another machine's file",
                                      path, real, root)};
  return Ok{};
}

std::string temporary_for(const std::string& path) {
  std::random_device random;
  const std::uint64_t number = (std::uint64_t{random()} << 32) | random();
  return fmt::format("{}/.layerd-{:016x}", folder_above(without_link(path)), number);
}

Result<Ok> write_whole(const std::string& path, const std::string& text, const Writing& how) {
  const std::string target = without_link(path);
  struct stat old {};
  const bool is_there = ::stat(target.c_str(), &old) == 0;
  const mode_t mode = is_there ? old.st_mode & 07777 : how.mode;
  const auto owner = is_there ? std::pair<uid_t, gid_t>(old.st_uid, old.st_gid)
                              : how.owner.value_or(std::pair(::geteuid(), ::getegid()));
  ::unlink(how.temporary.c_str());
  auto file = File::open(how.temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) return std::move(file).error();
  const int fd = (*file)->fd();
  const bool same_owner = owner.first == ::geteuid() && owner.second == ::getegid();
  Result<Ok> done = Ok{};
  if (!same_owner && ::fchown(fd, owner.first, owner.second) != 0)
    done = io_error("cannot give " + target + " to its owner", errno);
  if (done && ::fchmod(fd, mode) != 0) done = io_error("cannot set the mode of " + target, errno);
  if (done) done = fill(*file, text);
  if (done) done = how.before_rename();
  if (done && ::rename(how.temporary.c_str(), target.c_str()) != 0)
    done = io_error("cannot write " + target, errno);
  if (!done)
    ::unlink(how.temporary.c_str());
  else
    sync_folder(folder_above(target));
  return done;
}

Result<Ok> write_new(const std::string& path, const std::string& text, mode_t mode) {
  auto file = File::open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  if (!file) return std::move(file).error();
  auto done = fill(*file, text);
  if (!done)
    ::unlink(path.c_str());
  else
    sync_folder(folder_above(path));
  return done;
}

Result<Ok> remove_whole(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return io_error("cannot remove " + path, errno);
  sync_folder(folder_above(path));
  return Ok{};
}

std::vector<std::string> missing_folders(const std::string& path) {
  std::vector<std::string> missing;
  struct stat info {};
  for (std::string folder = folder_above(path); ::stat(folder.c_str(), &info) != 0 && folder != "/";
       folder = folder_above(folder))
    missing.insert(missing.begin(), folder);
  return missing;
}

Result<std::vector<std::string>> make_folders_for(const std::string& path, mode_t mode) {
  auto missing = missing_folders(path);
  for (const auto& folder : missing) {
    if (::mkdir(folder.c_str(), mode) == 0)
      ::chmod(folder.c_str(), mode);  // whatever the umask is
    else if (errno != EEXIST)
      return io_error("cannot make " + folder, errno);
  }
  return missing;
}

}  // namespace layerd::daemon::setup
