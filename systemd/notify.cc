#include "systemd/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace layerd::systemd {
namespace {

std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value ? value : "";
  ::unsetenv(name);
  return text;
}

std::optional<std::uint64_t> number_in(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failed != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

Notifier Notifier::from_environment() {
  std::string socket = take_variable("NOTIFY_SOCKET");
  const auto usec = number_in(take_variable("WATCHDOG_USEC"));
  const auto pid = number_in(take_variable("WATCHDOG_PID"));
  std::optional<Duration> watchdog;
  if (usec && *usec > 0 && (!pid || *pid == static_cast<std::uint64_t>(::getpid())))
    watchdog = std::chrono::microseconds(*usec);
  return Notifier(std::move(socket), watchdog);
}

Notifier::Notifier(std::string socket, std::optional<Duration> watchdog)
    : socket_(std::move(socket)), watchdog_(watchdog) {
  if (!socket_.empty()) fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

Notifier::Notifier(Notifier&& other) noexcept
    : socket_(std::move(other.socket_)), watchdog_(other.watchdog_), fd_(std::exchange(other.fd_, -1)) {}

Notifier::~Notifier() {
  if (fd_ >= 0) ::close(fd_);
}

void Notifier::ready(std::string_view status) const {
  send("READY=1\nMAINPID=" + std::to_string(::getpid()) + "\nSTATUS=" + std::string(status) + "\n");
}
void Notifier::status(std::string_view status) const { send("STATUS=" + std::string(status) + "\n"); }
void Notifier::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto usec =
      static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000;
  send("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(usec) + "\n");
}
void Notifier::stopping(Duration most) const {
  const auto usec = std::chrono::duration_cast<std::chrono::microseconds>(most).count();
  send("STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=" + std::to_string(usec) + "\n");
}
void Notifier::watchdog_ping() const { send("WATCHDOG=1\n"); }

std::optional<Duration> Notifier::ping_every() const {
  if (!watchdog_ || fd_ < 0) return std::nullopt;
  return *watchdog_ / 2;
}

void Notifier::send(std::string_view message) const {
  if (fd_ < 0) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof to.sun_path) return;
  std::memcpy(to.sun_path, socket_.data(), socket_.size());
  if (to.sun_path[0] == '@') to.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  // A full queue loses a status line, never time: the next ping comes soon enough.
  const auto ignored =
      ::sendto(fd_, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to), size);
  static_cast<void>(ignored);
}

}  // namespace layerd::systemd
