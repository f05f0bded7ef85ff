#include "systemd/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "tests/support/catch.h"

using namespace layerd;
using namespace std::chrono_literals;

namespace {

// The other end of $NOTIFY_SOCKET, in the abstract namespace.
struct Manager {
  Manager() : name("@layerd-notify-" + std::to_string(::getpid())), fd(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path + 1, name.data() + 1, name.size() - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&at), size) == 0);
  }
  ~Manager() { ::close(fd); }
  std::string next() {
    char text[512];
    const ssize_t n = ::recv(fd, text, sizeof text, MSG_DONTWAIT);
    return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : "";
  }
  std::string name;
  int fd;
};

}  // namespace

TEST_CASE("the notifier tells readiness, stopping and the watchdog to its manager") {
  Manager manager;
  systemd::Notifier notifier(manager.name, 30s);
  notifier.ready("serving on 127.0.0.1:5151");
  CHECK(manager.next() ==
        "READY=1\nMAINPID=" + std::to_string(::getpid()) + "\nSTATUS=serving on 127.0.0.1:5151\n");
  notifier.watchdog_ping();
  CHECK(manager.next() == "WATCHDOG=1\n");
  notifier.reloading();
  CHECK(manager.next().find("RELOADING=1\nMONOTONIC_USEC=") == 0);
  notifier.stopping(70s);
  CHECK(manager.next() == "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=70000000\n");
  CHECK(notifier.ping_every() == Duration(15s));
}

TEST_CASE("without a manager the notifier is silent, and the environment is taken once") {
  ::setenv("NOTIFY_SOCKET", "@nobody-listens-here", 1);
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  auto notifier = systemd::Notifier::from_environment();
  CHECK(::getenv("NOTIFY_SOCKET") == nullptr);
  CHECK(notifier.ping_every() == Duration(1500ms));
  notifier.ready("x");
  systemd::Notifier silent("", std::nullopt);
  silent.ready("x");
  CHECK_FALSE(silent.ping_every());
}

TEST_CASE("a watchdog meant for another process is not ours") {
  ::setenv("WATCHDOG_USEC", "3000000", 1);
  ::setenv("WATCHDOG_PID", "1", 1);
  CHECK_FALSE(systemd::Notifier::from_environment().ping_every());
}
