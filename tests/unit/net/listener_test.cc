// The listener: its bound, descriptors that run out, ports in use, inherited and Unix sockets.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proxy/net/listener.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/net/stream_site.h"

using namespace layerd;
using namespace layerd::net;
using namespace layerd::test::streams;
using namespace std::chrono_literals;
using layerd::test::NetLoop;
using layerd::test::TempDir;

namespace {
int accepts_without_descriptor = 0;  // so many calls of accept4 fail with EMFILE
}

// Stands before the C library's. A low RLIMIT_NOFILE would take UBSan its descriptors as well.
extern "C" int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  if (accepts_without_descriptor > 0) {
    --accepts_without_descriptor;
    errno = EMFILE;
    return -1;
  }
  return static_cast<int>(syscall(SYS_accept4, fd, address, length, flags));
}

namespace {

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir)) ++count;
  closedir(dir);
  return count;
}

}  // namespace

TEST_CASE("a thousand connections come and go without a descriptor left") {
  Server server;
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 1000; ++i) {
    Fd client = server.connect();
    if (i % 50 == 0) {
      REQUIRE(server.until([&] { return !server.accepted.empty(); }));
    }
    server.loop.run_once(0ms);
    client.reset();
    server.accepted.clear();
  }
  REQUIRE(server.until([&] {
    server.accepted.clear();
    return server.listener->connections() == 0 && open_descriptors() <= before;
  }));
}

TEST_CASE("at its bound the listener waits and goes on when a connection ends") {
  Server server({.most = 2});
  Fd one = server.connect(), two = server.connect(), three = server.connect();
  REQUIRE(server.until([&] { return server.accepted.size() == 2; }));
  for (int i = 0; i < 5; ++i) server.loop.run_once(2ms);
  CHECK(server.accepted.size() == 2);
  one.reset();
  two.reset();
  server.accepted.clear();
  REQUIRE(server.until([&] { return server.accepted.size() == 1; }));
}

TEST_CASE("without descriptors a connection is turned away and the listener recovers") {
  Server server;
  Fd turned = server.connect();
  accepts_without_descriptor = 1;
  REQUIRE(server.until([&] { return server.listener->turned_away() == 1; }));
  char byte = 0;
  CHECK(::recv(turned.get(), &byte, 1, 0) == 0);
  Fd next = server.connect();
  server.loop.run_once(1ms);
  CHECK(server.accepted.empty());  // it waits a moment
  REQUIRE(server.until([&] { return server.accepted.size() == 1; }));
}

TEST_CASE("a port in use is named with the remedy") {
  Server server;
  Listener second(server.loop, server.workers(), {}, [](Accepted) {});
  auto bound = second.listen(server.address);
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == Errc::config);
  CHECK(bound.error().message.find(server.address.str()) != std::string::npos);
}

TEST_CASE("an inherited socket is adopted and anything else refused") {
  NetLoop net;
  std::vector<Accepted> accepted;
  Listener listener(net.loop, net.workers(), {}, [&](Accepted one) { accepted.push_back(std::move(one)); });
  Fd plain(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK_FALSE(listener.adopt(plain.get()));
  REQUIRE(::listen(plain.get(), 4) == 0);
  auto adopted = listener.adopt(plain.release());
  REQUIRE(adopted);
  CHECK(adopted->port != 0);
}

TEST_CASE("a Unix socket has its mode, knows its peer, and replaces a dead one only") {
  NetLoop net;
  TempDir dir;
  const std::string path = dir / "admin.sock";
  std::vector<Accepted> accepted;
  {
    Listener listener(net.loop, net.workers(), {}, [&](Accepted one) { accepted.push_back(std::move(one)); });
    REQUIRE(listener.listen_unix(path, 0660));
    struct stat found {};
    REQUIRE(stat(path.c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0660);
    Listener second(net.loop, net.workers(), {}, [](Accepted) {});
    CHECK_FALSE(second.listen_unix(path, 0660));
    Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(net.until([&] { return accepted.size() == 2; }));  // the first only looked whether we live
    REQUIRE(accepted[1].credentials);
    CHECK(accepted[1].credentials->uid == getuid());
    CHECK(accepted[1].credentials->pid == getpid());
    REQUIRE(::send(client.get(), "status", 6, 0) == 6);
    std::string got;
    Ticket read = accepted[1].stream->read(64, [&](Result<Bytes> bytes) { got = bytes->str(); });
    REQUIRE(net.until([&] { return got == "status"; }));
    accepted.clear();
  }
  CHECK(access(path.c_str(), F_OK) != 0);
  {
    Fd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    REQUIRE(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }
  Listener again(net.loop, net.workers(), {}, [](Accepted) {});
  CHECK(again.listen_unix(path, 0660));
}
