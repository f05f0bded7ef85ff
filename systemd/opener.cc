#include "systemd/opener.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/file.h"
#include "runtime/guarded_file.h"
#include "runtime/path_walk.h"

namespace layerd::systemd {
namespace {

constexpr timeval kPatience{2, 0};

Result<Ok> check_entry(const std::string& entry, const struct stat& found, uid_t trusted) {
  if (found.st_uid != 0 && found.st_uid != trusted)
    return Error{Errc::config, fmt::format("{} belongs to user {} and not to root", entry, found.st_uid)};
  const bool is_open = !S_ISLNK(found.st_mode) && (found.st_mode & (S_IWGRP | S_IWOTH)) != 0;
  if (is_open && !(S_ISDIR(found.st_mode) && (found.st_mode & S_ISVTX) != 0))
    return Error{Errc::config, fmt::format("others than root may write {}", entry)};
  return Ok{};
}

Result<FilePtr> open_listed(const std::string& path, const OpenerList& list, uid_t trusted) {
  auto listed = list();
  if (!listed) return std::move(listed).error();
  if (std::find(listed->begin(), listed->end(), path) == listed->end())
    return Error{Errc::config, "root's configuration does not name this file"};
  if (auto safe = check_way(path, trusted); !safe) return std::move(safe).error();
  auto file = File::open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat found {};
  if (file && (::fstat((*file)->fd(), &found) != 0 || !S_ISREG(found.st_mode)))
    return Error{Errc::config, path + " is no regular file"};
  return file;
}

void answer(int connection, const Result<FilePtr>& file) {
  std::string said = file ? "ok" : file.error().message.substr(0, 500);
  iovec part{said.data(), said.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (file) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* given = CMSG_FIRSTHDR(&message);
    given->cmsg_level = SOL_SOCKET;
    given->cmsg_type = SCM_RIGHTS;
    given->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = (*file)->fd();
    std::memcpy(CMSG_DATA(given), &fd, sizeof fd);
  }
  // Who hung up meanwhile asks again.
  static_cast<void>(::sendmsg(connection, &message, MSG_NOSIGNAL));
}

void serve_one(int connection, const OpenerList& list, uid_t trusted) {
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
    ::setsockopt(connection, SOL_SOCKET, option, &kPatience, sizeof kPatience);
  std::string path(kMostPathBytes, '\0');
  const ssize_t size = ::recv(connection, path.data(), path.size(), 0);
  if (size <= 0) return;
  path.resize(static_cast<std::size_t>(size));
  if (path.front() != '/' || path.find('\0') != std::string::npos)
    return answer(connection, Error{Errc::invalid_request, "an absolute path was expected"});
  answer(connection, open_listed(path, list, trusted));
}

}  // namespace

Result<Ok> check_way(const std::string& path, uid_t trusted) {
  Result<Ok> verdict = Error{Errc::config, "\"" + path + "\" is no absolute path, or leads nowhere"};
  if (!path.starts_with('/')) return verdict;
  walk_path(path, [&](const PathStep& step) {
    if (!step.is_there)
      verdict = errno_error("cannot find " + step.entry, ENOENT, Errc::config);
    else if (auto safe = check_entry(step.entry, step.found, trusted); !safe)
      verdict = std::move(safe);
    else if (step.is_last)
      verdict = Ok{};
    else
      return true;
    return false;
  });
  return verdict;
}

Result<Ok> serve_opener(int listener, const OpenerList& list, const OpenerSettings& settings) {
  const auto idle = std::chrono::duration_cast<std::chrono::milliseconds>(settings.idle).count();
  for (;;) {
    pollfd waiting{listener, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(idle));
    if (ready == 0) return Ok{};
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return errno_error("cannot wait for questions", errno);
    const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0 && (errno == EINTR || errno == EAGAIN || errno == ECONNABORTED)) continue;
    if (connection < 0) return errno_error("cannot take a question", errno);
    const File closes(connection, "a connection");
    serve_one(connection, list, settings.trusted);
  }
}

}  // namespace layerd::systemd
