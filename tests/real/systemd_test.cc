// What systemd is promised: inherited sockets, readiness, and a unit that gives away little.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>

#include "tests/real/real.h"
#include "tests/support/free_port.h"
#include "tests/support/http_probe.h"
#include "tests/support/process.h"

namespace layerd::test {
namespace {

const std::string kUnits = LAYERD_SOURCE_DIR "/systemd/";

std::string setting_of(const std::string& unit, const std::string& key) {
  std::ifstream file(kUnits + unit);
  for (std::string line; std::getline(file, line);)
    if (line.rfind(key + "=", 0) == 0) return line.substr(key.size() + 1);
  return {};
}

double seconds_of(const std::string& text) {
  const double number = std::stod(text);
  return text.find("ms") != std::string::npos ? number / 1000 : number;
}

// The manager's end of $NOTIFY_SOCKET.
struct NotifySocket {
  explicit NotifySocket(std::string at) : path(std::move(at)), fd(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    const timeval wait{10, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  }
  ~NotifySocket() { ::close(fd); }
  // Reads messages until one holds `text`.
  bool hears(const std::string& text) {
    char buffer[1024];
    for (;;) {
      const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) return false;
      if (std::string(buffer, static_cast<std::size_t>(n)).find(text) != std::string::npos) return true;
    }
  }
  std::string path;
  int fd;
};

}  // namespace

// Turns red when App::listen_mirror binds instead of taking the socket that fits (EADDRINUSE).
TEST_CASE("a socket that systemd opened is served, whoever asked before the daemon was up", "[systemd]") {
  TempDir dir;
  const auto port = free_port();
  std::ofstream(dir / "config.yaml") << fmt::format(
      "listen: 127.0.0.1:{}\nadmin: {{socket: {}}}\ncache: {{path: {}}}\n", port, dir / "admin.sock",
      dir / "store");
  Process activated({{"systemd-socket-activate", "-l", fmt::format("127.0.0.1:{}", port),
                      LAYERD_BINARY_DIR "/layerd", "serve", "--config", dir / "config.yaml"},
                     {},
                     dir / "log"});
  REQUIRE(activated.wait_for_output("Listening on", std::chrono::seconds(10)));
  // The first connection starts the daemon and waits in the backlog until it answers.
  const ProbeReply first = probe({.port = port, .target = "/v2/"});
  CHECK(first.status == 200);
  CHECK(probe({.port = port, .target = "/healthz"}).status == 200);
  CHECK(activated.output().find("socket_unnamed") == std::string::npos);
  CHECK(activated.stop() == 0);
}

// Red if App::serve_unnamed closes it: systemd listens on, and who connects waits for nobody.
TEST_CASE("a socket that systemd opened and `listen` does not name answers as well", "[systemd]") {
  TempDir dir;
  const auto port = free_port(), other = free_port();
  std::ofstream(dir / "config.yaml") << fmt::format(
      "listen: 127.0.0.1:{}\nadmin: {{socket: {}}}\ncache: {{path: {}}}\n", other, dir / "admin.sock",
      dir / "store");
  Process activated({{"systemd-socket-activate", "-l", fmt::format("127.0.0.1:{}", port),
                      LAYERD_BINARY_DIR "/layerd", "serve", "--config", dir / "config.yaml"},
                     {},
                     dir / "log"});
  REQUIRE(activated.wait_for_output("Listening on", std::chrono::seconds(10)));
  CHECK(probe({.port = port, .target = "/v2/"}).status == 200);
  CHECK(probe({.port = other, .target = "/v2/"}).status == 200);
  CHECK(activated.wait_for_output("systemctl edit layerd.socket", std::chrono::seconds(10)));
  CHECK(activated.stop() == 0);
}

// Turns red when serve() no longer tells READY=1 after the listeners are up, or STOPPING=1 at SIGTERM.
TEST_CASE("systemd hears when the daemon is ready, lives and stops", "[systemd]") {
  TempDir dir;
  const auto port = free_port();
  std::ofstream(dir / "config.yaml") << fmt::format(
      "listen: 127.0.0.1:{}\nadmin: {{socket: {}}}\ncache: {{path: {}}}\n", port, dir / "admin.sock",
      dir / "store");
  NotifySocket manager(dir / "notify");
  Process daemon({{LAYERD_BINARY_DIR "/layerd", "serve", "--config", dir / "config.yaml"},
                  {{"NOTIFY_SOCKET", manager.path}, {"WATCHDOG_USEC", "1000000"}},
                  dir / "log"});
  REQUIRE(manager.hears("READY=1"));
  CHECK(probe({.port = port, .target = "/readyz"}).status == 200);
  CHECK(manager.hears("WATCHDOG=1"));
  daemon.send(SIGHUP);
  CHECK(manager.hears("RELOADING=1"));
  CHECK(manager.hears("READY=1"));
  daemon.send(SIGTERM);
  CHECK(manager.hears("STOPPING=1"));
  CHECK(daemon.wait(std::chrono::seconds(10)) == std::optional<int>(0));
}

TEST_CASE("the unit exposes little, and a service that cannot start holds nobody for 5 seconds",
          "[systemd]") {
  for (const std::string unit : {"layerd.service", "layerd-opener.service"}) {
    const Finished rated = run({"systemd-analyze", "security", "--offline=true", kUnits + unit});
    const std::string words = "Overall exposure level for " + unit + ": ";
    const auto at = rated.output.find(words);
    REQUIRE(at != std::string::npos);
    CHECK(std::stod(rated.output.substr(at + words.size())) <= 2.0);
  }
  // Starts that fail at once: after `burst` of them systemd closes the socket, which refuses who waits.
  const double burst = std::stod(setting_of("layerd.service", "StartLimitBurst"));
  CHECK(burst * seconds_of(setting_of("layerd.service", "RestartSec")) < 4);
  CHECK(seconds_of(setting_of("layerd.service", "StartLimitIntervalSec")) >
        burst * seconds_of(setting_of("layerd.service", "RestartSec")));
  CHECK(seconds_of(setting_of("layerd.service", "TimeoutStartSec")) < 5);
  CHECK(setting_of("layerd.service", "Type") == "notify");
  CHECK(!setting_of("layerd.service", "WatchdogSec").empty());
  CHECK(setting_of("layerd.service", "User") == "layerd");
  CHECK(setting_of("layerd.socket", "OnFailure") == "layerd-recover.service");
  // A start that hangs closes the sockets at its first time-out (scripts/boot-test.sh sees 4.1 s).
  CHECK(setting_of("layerd.service", "ExecStopPost").find("timeout") != std::string::npos);
  CHECK(setting_of("layerd-recover.service", "ExecStart").find("stop layerd.socket") != std::string::npos);
}

}  // namespace layerd::test
