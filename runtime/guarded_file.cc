#include "runtime/guarded_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace layerd {
namespace {

constexpr timeval kPatience{2, 0};

Result<FilePtr> connect_to(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path)
    return Error{Errc::config, "the path of its socket is too long"};
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  auto connection = std::make_shared<File>(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), socket_path);
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
    ::setsockopt(connection->fd(), SOL_SOCKET, option, &kPatience, sizeof kPatience);
  if (::connect(connection->fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno_error("it does not answer at " + socket_path, errno);
  return connection;
}

// "ok" with a descriptor, or why not.
Result<FilePtr> ask_helper(const std::string& socket_path, const std::string& path) {
  auto connection = connect_to(socket_path);
  if (!connection) return connection;
  const int fd = (*connection)->fd();
  if (::send(fd, path.data(), path.size(), MSG_NOSIGNAL) < 0)
    return errno_error("it takes no question", errno);
  char said[512];
  iovec part{said, sizeof said};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  if (size < 0) return errno_error("it does not answer", errno);
  const cmsghdr* given = CMSG_FIRSTHDR(&message);
  if (given != nullptr && given->cmsg_level == SOL_SOCKET && given->cmsg_type == SCM_RIGHTS) {
    int file = -1;
    std::memcpy(&file, CMSG_DATA(given), sizeof file);
    return std::make_shared<File>(file, path);
  }
  return Error{Errc::local_io, size > 0 ? std::string(said, static_cast<std::size_t>(size))
                                        : std::string("it hung up without an answer")};
}

}  // namespace

std::string owner_of(const std::string& path) {
  struct stat found {};
  if (::stat(path.c_str(), &found) != 0) return "a folder on its way may not be entered";
  passwd entry{};
  passwd* known = nullptr;
  char names[1024];
  ::getpwuid_r(found.st_uid, &entry, names, sizeof names, &known);
  return fmt::format("it belongs to {} and has mode {:04o}",
                     known ? std::string(known->pw_name) : fmt::format("user {}", found.st_uid),
                     found.st_mode & 07777U);
}

Result<FilePtr> open_guarded(const std::string& path) {
  auto file = File::open(path, O_RDONLY | O_NONBLOCK);
  if (file || (file.error().sys_errno != EACCES && file.error().sys_errno != EPERM)) return file;
  Error error = std::move(file).error();
  error.message += ": " + owner_of(path);
  const char* socket_path = std::getenv(kOpenerVariable);
  if (socket_path == nullptr || path.size() > kMostPathBytes) return error;
  auto opened = ask_helper(socket_path, path);
  if (opened) return opened;
  error.message += "; the root helper: " + opened.error().message;
  return error;
}

Result<std::string> read_guarded(const std::string& path, std::size_t most) {
  auto file = open_guarded(path);
  if (!file) return std::move(file).error();
  return read_all(**file, most);
}

}  // namespace layerd
