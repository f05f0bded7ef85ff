#include "systemd/listen_fds.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/catch.h"

using namespace layerd;

namespace {

constexpr int kFirst = 200;  // far from what the test program has open

// A listening TCP socket on `ip`, moved to descriptor `at`.
int listen_at(const char* ip, int at) {
  const bool v6 = std::string(ip).find(':') != std::string::npos;
  const int fd = ::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  ::inet_pton(v6 ? AF_INET6 : AF_INET, ip,
              v6 ? static_cast<void*>(&six.sin6_addr) : static_cast<void*>(&v4.sin_addr));
  REQUIRE((v6 ? ::bind(fd, reinterpret_cast<sockaddr*>(&six), sizeof six)
              : ::bind(fd, reinterpret_cast<sockaddr*>(&v4), sizeof v4)) == 0);
  REQUIRE(::listen(fd, 1) == 0);
  REQUIRE(::dup2(fd, at) == at);
  ::close(fd);
  return at;
}

void say(int count, const std::string& names, int pid = ::getpid()) {
  ::setenv("LISTEN_PID", std::to_string(pid).c_str(), 1);
  ::setenv("LISTEN_FDS", std::to_string(count).c_str(), 1);
  ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
}

}  // namespace

TEST_CASE("inherited sockets are matched by address, whatever their order") {
  listen_at("127.0.0.1", kFirst);
  listen_at("::1", kFirst + 1);
  const std::string v4 = systemd::address_of_socket(kFirst), v6 = systemd::address_of_socket(kFirst + 1);
  CHECK(v4.starts_with("127.0.0.1:"));
  CHECK(v6.starts_with("[::1]:"));
  say(2, "a:b");
  auto sockets = systemd::inherited_sockets(kFirst);
  REQUIRE(sockets);
  REQUIRE(sockets->size() == 2);
  CHECK((*sockets)[1].name == "b");
  CHECK((::fcntl(kFirst, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((::fcntl(kFirst, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(systemd::take_socket(*sockets, v6) == kFirst + 1);
  CHECK(systemd::take_socket(*sockets, "127.0.0.1:1") == -1);
  CHECK(systemd::take_socket(*sockets, v4) == kFirst);
  CHECK(sockets->empty());
  CHECK(::getenv("LISTEN_FDS") == nullptr);
  ::close(kFirst);
  ::close(kFirst + 1);
}

TEST_CASE("sockets meant for another process are left alone, malformed variables are an error") {
  say(1, "", 1);
  CHECK(systemd::inherited_sockets(kFirst)->empty());
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", "many", 1);
  CHECK(systemd::inherited_sockets(kFirst).error().code == Errc::config);
  say(1, "");
  CHECK_FALSE(systemd::inherited_sockets(kFirst + 9));  // not an open descriptor
}
