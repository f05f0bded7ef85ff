#include "systemd/listen_fds.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace layerd::systemd {
namespace {

constexpr int kMostSockets = 64;

std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value ? value : "";
  ::unsetenv(name);
  return text;
}

int number_in(const std::string& text) {
  int value = -1;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  return failed == std::errc() && end == text.data() + text.size() ? value : -1;
}

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

}  // namespace

Result<std::vector<InheritedSocket>> inherited_sockets(int first_fd) {
  const std::string pid = take_variable("LISTEN_PID"), count_text = take_variable("LISTEN_FDS");
  const auto names = split_names(take_variable("LISTEN_FDNAMES"));
  std::vector<InheritedSocket> sockets;
  if (pid.empty() || number_in(pid) != ::getpid()) return sockets;  // meant for another process
  const int count = number_in(count_text);
  if (count < 0 || count > kMostSockets)
    return {Errc::config, "LISTEN_FDS is '" + count_text + "', expected a number from 0 to " +
                              std::to_string(kMostSockets)};
  for (int i = 0; i < count; ++i) {
    InheritedSocket socket{first_fd + i, address_of_socket(first_fd + i), {}};
    if (static_cast<std::size_t>(i) < names.size()) socket.name = names[static_cast<std::size_t>(i)];
    const int flags = ::fcntl(socket.fd, F_GETFL);
    if (flags < 0) return errno_error("inherited socket " + std::to_string(socket.fd), errno, Errc::config);
    ::fcntl(socket.fd, F_SETFL, flags | O_NONBLOCK);
    ::fcntl(socket.fd, F_SETFD, FD_CLOEXEC);
    sockets.push_back(std::move(socket));
  }
  return sockets;
}

std::string address_of_socket(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4.sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return "[" + std::string(text) + "]:" + std::to_string(ntohs(v6.sin6_port));
  }
  if (storage.ss_family == AF_UNIX && size > offsetof(sockaddr_un, sun_path)) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(storage);
    const std::size_t most = size - offsetof(sockaddr_un, sun_path);
    return std::string(local.sun_path, ::strnlen(local.sun_path, most));
  }
  return {};
}

int take_socket(std::vector<InheritedSocket>& sockets, const std::string& address) {
  const auto found = std::find_if(sockets.begin(), sockets.end(),
                                  [&](const InheritedSocket& socket) { return socket.address == address; });
  if (found == sockets.end()) return -1;
  const int fd = found->fd;
  sockets.erase(found);
  return fd;
}

}  // namespace layerd::systemd
