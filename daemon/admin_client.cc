#include "daemon/admin_client.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "runtime/bytes.h"
#include "runtime/file.h"

namespace layerd::daemon {
namespace {

constexpr std::size_t kMostAnswer = 64u << 20;

Result<FilePtr> connect_to(const std::string& path, int seconds) {
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (path.size() >= sizeof to.sun_path)
    return {Errc::config, "the admin socket's path is longer than the kernel takes: " + path};
  std::memcpy(to.sun_path, path.data(), path.size());
  auto socket = std::make_shared<File>(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), path);
  if (socket->fd() < 0) return errno_error("cannot make a socket", errno);
  const timeval wait{seconds, 0};
  ::setsockopt(socket->fd(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  ::setsockopt(socket->fd(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  if (::connect(socket->fd(), reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return socket;
  const int failed = errno;
  if (failed == ENOENT || failed == ECONNREFUSED)
    return {Errc::not_found, fmt::format("no layerd listens on {}; is `layerd serve` running?", path)};
  if (failed == EACCES || failed == EPERM)
    return {Errc::denied,
            fmt::format("no right to use {}; run this as root or as a member of its group", path)};
  return errno_error("cannot connect to " + path, failed);
}

Result<std::string> exchange_text(int fd, std::string request) {
  std::string_view left = request;
  while (!left.empty()) {
    const ssize_t n = ::send(fd, left.data(), left.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error("cannot ask the daemon", errno);
    left.remove_prefix(static_cast<std::size_t>(n));
  }
  std::string answer;
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return {Errc::upstream_timeout, "the daemon does not answer; look at its log"};
    if (n < 0) return errno_error("cannot read the daemon's answer", errno);
    if (n == 0) return answer;
    answer.append(buffer, static_cast<std::size_t>(n));
    if (answer.size() > kMostAnswer) return {Errc::upstream_protocol, "the daemon's answer is too large"};
  }
}

}  // namespace

Result<AdminAnswer> ask_admin(const std::string& socket_path, const std::string& method,
                              const std::string& target, int seconds) {
  auto socket = connect_to(socket_path, seconds);
  if (!socket) return std::move(socket).error();
  auto text = exchange_text(
      (*socket)->fd(),
      fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method, target));
  if (!text) return std::move(text).error();
  // "HTTP/1.1 200 OK\r\n…\r\n\r\n<JSON>"; our own server gives a length and never chunks.
  const std::size_t head_end = text->find("\r\n\r\n");
  AdminAnswer answer;
  if (head_end == std::string::npos || !text->starts_with("HTTP/1.") || text->size() < 12 ||
      std::from_chars(text->data() + 9, text->data() + 12, answer.status).ec != std::errc())
    return {Errc::upstream_protocol, "what answers on " + socket_path + " is no layerd"};
  auto body = parse_json(std::string_view(*text).substr(head_end + 4), {.bytes = kMostAnswer, .depth = 16});
  if (!body) return {Errc::upstream_protocol, "the daemon's answer is broken: " + body.error().message};
  answer.body = std::move(*body);
  return answer;
}

}  // namespace layerd::daemon
