// The notify protocol of systemd (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Without that
// variable every call does nothing. Loop thread; never blocks.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/clock.h"

namespace layerd::systemd {

class Notifier {
 public:
  // Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID, and takes them out of the environment so
  // that helpers we start do not speak for us.
  static Notifier from_environment();
  // For tests: a path, or "@name" in the abstract namespace; empty: silent.
  Notifier(std::string socket, std::optional<Duration> watchdog);
  ~Notifier();
  Notifier(Notifier&& other) noexcept;
  Notifier& operator=(Notifier&&) = delete;

  void ready(std::string_view status) const;
  void status(std::string_view status) const;
  void reloading() const;  // READY=1 must follow
  // `most`: how long it may take, whatever the unit's TimeoutStopSec says.
  void stopping(Duration most) const;
  void watchdog_ping() const;
  // How often to ping: half of what systemd waits. Nothing if the watchdog is off.
  std::optional<Duration> ping_every() const;

 private:
  void send(std::string_view message) const;

  std::string socket_;
  std::optional<Duration> watchdog_;
  int fd_ = -1;
};

}  // namespace layerd::systemd
