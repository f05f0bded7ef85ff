#include "daemon/setup/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>

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

std::string folder_above(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

void sync_folder(const std::string& folder) {
  if (auto opened = File::open(folder, O_RDONLY | O_DIRECTORY)) ::fsync((*opened)->fd());
}

}  // namespace

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

bool RootFiles::exists(const std::string& path) { return ::access(real(path).c_str(), F_OK) == 0; }

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
  auto text = read_file(path, 1u << 20);
  if (text) return std::optional<std::string>(std::move(*text));
  const int code = text.error().sys_errno;
  if (code == ENOENT || code == ENOTDIR) return std::optional<std::string>();
  return std::move(text).error();
}

Result<Ok> write_whole(const std::string& path, const std::string& text, mode_t mode,
                       std::optional<std::pair<uid_t, gid_t>> owner) {
  const std::string target = without_link(path);
  struct stat old {};
  if (::stat(target.c_str(), &old) == 0) {
    mode = old.st_mode & 07777;
    owner = {old.st_uid, old.st_gid};
  }
  const std::string temporary = target + ".layerd-new";
  ::unlink(temporary.c_str());
  auto file = File::open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) return std::move(file).error();
  const int fd = (*file)->fd();
  auto done = (*file)->write_at(0, {text.data(), text.size()});
  const bool same_owner = !owner || (owner->first == ::geteuid() && owner->second == ::getegid());
  if (done && !same_owner && ::fchown(fd, owner->first, owner->second) != 0)
    done = io_error("cannot give " + target + " to its owner", errno);
  if (done && ::fchmod(fd, mode) != 0) done = io_error("cannot set the mode of " + target, errno);
  if (done) done = (*file)->sync(false);
  if (done && ::rename(temporary.c_str(), target.c_str()) != 0)
    done = io_error("cannot write " + target, errno);
  if (!done)
    ::unlink(temporary.c_str());
  else
    sync_folder(folder_above(target));
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
    if (::mkdir(folder.c_str(), mode) != 0 && errno != EEXIST)
      return io_error("cannot make " + folder, errno);
    ::chmod(folder.c_str(), mode);  // whatever the umask is
  }
  return missing;
}

}  // namespace layerd::daemon::setup
