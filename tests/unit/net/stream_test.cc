// TCP and Unix streams and the listener, against plain blocking clients.
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <thread>

#include "proxy/net/address.h"
#include "proxy/net/listener.h"
#include "proxy/net/send_queue.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::net;
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

struct Server : NetLoop {
  std::vector<Accepted> accepted;
  std::optional<Listener> listener;
  Address address;

  explicit Server(ListenerSettings settings = {}) {
    listener.emplace(loop, workers(), settings, [this](Accepted one) { accepted.push_back(std::move(one)); });
    auto bound = listener->listen({"127.0.0.1", 0, false});
    REQUIRE(bound);
    address = *bound;
  }
  ~Server() {
    accepted.clear();
    listener.reset();
  }
  Fd connect(int receive_buffer = 0) {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_buffer) setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_storage storage{};
    const socklen_t length = to_sockaddr(address, storage);
    REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0);
    timeval limit{5, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
  }
  ByteStream& stream(std::size_t at = 0) {
    REQUIRE(until([&] { return accepted.size() > at; }));
    return *accepted[at].stream;
  }
};

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* dir = opendir("/proc/self/fd");
  while (readdir(dir)) ++count;
  closedir(dir);
  return count;
}

std::string noise(std::size_t size) {
  std::mt19937_64 random(42);
  std::string text(size, '\0');
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const auto word = random();
    std::memcpy(&text[i], &word, 8);
  }
  return text;
}

FilePtr file_with(const TempDir& dir, const std::string& content) {
  test::write_text(dir / "blob", content);
  auto file = File::open(dir / "blob", O_RDONLY);
  REQUIRE(file);
  return *file;
}

// Does the kernel hold back partly filled packets of the connection whose peer has this port?
bool is_corked(std::uint16_t peer_port) {
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t length = sizeof peer;
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    int corked = 0;
    length = sizeof corked;
    if (ntohs(peer.sin_port) == peer_port && getsockopt(fd, IPPROTO_TCP, TCP_CORK, &corked, &length) == 0)
      return corked != 0;
  }
  FAIL("no connection has this peer");
  return false;
}

// Reads until the end on a thread of its own; -1 in `failed` is a reset.
struct Drain {
  std::string got;
  int failed = 0;
  std::atomic<bool> done{false};
  std::thread thread;
  Drain(int fd, std::chrono::milliseconds pause = 0ms)
      : thread([this, fd, pause] {
          std::vector<char> buffer(256 << 10);
          ssize_t n = 0;
          while ((n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0) {
            got.append(buffer.data(), static_cast<std::size_t>(n));
            if (pause.count()) std::this_thread::sleep_for(pause);
          }
          failed = n < 0 ? errno : 0;
          done = true;
        }) {}
  ~Drain() { thread.join(); }
};

}  // namespace

TEST_CASE("a read brings what was sent, and an empty one is the end") {
  Server server;
  Fd client = server.connect();
  ByteStream& stream = server.stream();
  CHECK(stream.local().str() == server.address.str());
  CHECK(stream.peer().host == "127.0.0.1");
  REQUIRE(::send(client.get(), "hello", 5, 0) == 5);
  std::string got;
  bool ended = false;
  Ticket read = stream.read(3, [&](Result<Bytes> bytes) { got += bytes->view(); });
  REQUIRE(server.until([&] { return got == "hel"; }));
  read = stream.read(64_KiB, [&](Result<Bytes> bytes) { got += bytes->view(); });
  REQUIRE(server.until([&] { return got == "hello"; }));
  ::shutdown(client.get(), SHUT_WR);
  read = stream.read(64_KiB, [&](Result<Bytes> bytes) { ended = bytes && bytes->empty(); });
  REQUIRE(server.until([&] { return ended; }));
}

TEST_CASE("a callback never runs before the start function has returned") {
  Server server;
  Fd client = server.connect();
  ByteStream& stream = server.stream();
  bool answered = false;
  Ticket write = stream.write(Bytes::copy_of("x"), [&](Result<Ok> ok) { answered = ok.ok(); });
  CHECK_FALSE(answered);
  REQUIRE(server.until([&] { return answered; }));
}

TEST_CASE("a dropped read leaves the bytes for the next one") {
  Server server;
  Fd client = server.connect();
  ByteStream& stream = server.stream();
  {
    Ticket dropped = stream.read(64, [](Result<Bytes>) { FAIL("the read was taken back"); });
  }
  REQUIRE(::send(client.get(), "kept", 4, 0) == 4);
  for (int i = 0; i < 5; ++i) server.loop.run_once(1ms);
  std::string got;
  Ticket read = stream.read(64, [&](Result<Bytes> bytes) { got = bytes->str(); });
  REQUIRE(server.until([&] { return got == "kept"; }));
}

TEST_CASE("nothing is read while nobody asks, so that a fast sender is held back") {
  Server server;
  Fd client = server.connect();
  server.stream();
  fcntl(client.get(), F_SETFL, O_NONBLOCK);
  const std::string chunk(64 << 10, 'x');
  std::size_t sent = 0;
  int refusals = 0;
  while (refusals < 20 && sent < 64_MiB) {
    const ssize_t n = ::send(client.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
    if (n > 0) sent += static_cast<std::size_t>(n);
    if (n < 0) ++refusals;
    server.loop.run_once(1ms);
  }
  CHECK(sent < 32_MiB);
}

TEST_CASE("a write to a slow reader answers only when the kernel has taken it, and in order") {
  Server server;
  Fd client = server.connect(16 << 10);
  ByteStream& stream = server.stream();
  const std::string big = noise(8_MiB);
  bool big_done = false, small_done = false;
  Ticket first = stream.write(Bytes::copy_of(big), [&](Result<Ok> ok) { big_done = ok.ok(); });
  Ticket second =
      stream.write(Bytes::copy_of("end"), [&](Result<Ok> ok) { small_done = ok.ok() && big_done; });
  for (int i = 0; i < 20; ++i) server.loop.run_once(1ms);
  CHECK_FALSE(big_done);
  CHECK(stream.try_write("not now") == 0);
  Drain drain(client.get());
  REQUIRE(server.until([&] { return small_done; }));
  server.accepted.clear();
  REQUIRE(server.until([&] { return drain.done.load(); }));
  CHECK(drain.failed == 0);
  CHECK(drain.got == big + "end");
}

TEST_CASE("a file arrives byte-exact at a slow client, after what was written before") {
  Server server;
  TempDir dir;
  const std::string content = noise(12_MiB + 17);
  FilePtr file = file_with(dir, content);
  Fd client = server.connect(64 << 10);
  ByteStream& stream = server.stream();
  Drain drain(client.get(), 1ms);
  bool sent = false;
  stream.write_detached(Bytes::copy_of("head"));
  Ticket send = stream.send_file(file, {5, content.size()}, false, [&](Result<Ok> ok) { sent = ok.ok(); });
  REQUIRE(server.until([&] { return sent; }));
  server.accepted.clear();
  REQUIRE(server.until([&] { return drain.done.load(); }));
  CHECK(drain.failed == 0);
  CHECK(drain.got == "head" + content.substr(5));
}

TEST_CASE("pieces of a file leave in full packets, and the last one at once") {
  Server server;
  TempDir dir;
  const std::string content = noise(600'001);
  FilePtr file = file_with(dir, content);
  Fd client = server.connect();
  ByteStream& stream = server.stream();
  Drain drain(client.get());
  std::size_t at = 0;
  std::vector<Ticket> pieces;
  for (const std::size_t end : {200'001u, 400'001u, 600'001u}) {
    bool sent = false;
    const bool more_follows = end < content.size();
    pieces.push_back(stream.send_file(file, {at, end}, more_follows, [&](Result<Ok> ok) { sent = ok.ok(); }));
    at = end;
    REQUIRE(server.until([&] { return sent; }));
    CHECK(is_corked(stream.peer().port) == more_follows);
  }
  server.accepted.clear();
  REQUIRE(server.until([&] { return drain.done.load(); }));
  CHECK(drain.got == content);
}

TEST_CASE("what sendfile reports is the file's unless only a connection can have it") {
  for (const int code : {EPIPE, ECONNRESET, ETIMEDOUT, ENOTCONN, EHOSTUNREACH, ENETUNREACH, ENETDOWN})
    CHECK(is_of_connection(code));
  for (const int code : {EIO, EUCLEAN, EBADMSG, ESTALE, ENXIO, EINVAL, ENOMEM})
    CHECK_FALSE(is_of_connection(code));
}

TEST_CASE("a file whose pages are cold is read on a worker and arrives whole") {
  Server server;
  TempDir dir;
  const std::string content = noise(3_MiB);
  FilePtr file = file_with(dir, content);
  fdatasync(file->fd());
  posix_fadvise(file->fd(), 0, 0, POSIX_FADV_DONTNEED);
  Fd client = server.connect();
  ByteStream& stream = server.stream();
  Drain drain(client.get());
  bool sent = false;
  Ticket send = stream.send_file(file, {0, content.size()}, false, [&](Result<Ok> ok) { sent = ok.ok(); });
  REQUIRE(server.until([&] { return sent; }));
  server.accepted.clear();
  REQUIRE(server.until([&] { return drain.done.load(); }));
  CHECK(drain.got == content);
}

TEST_CASE("one fast client of a big file does not keep the loop from others") {
  Server server;
  TempDir dir;
  const std::string content = noise(32_MiB);
  FilePtr file = file_with(dir, content);
  Fd fast = server.connect();
  ByteStream& stream = server.stream();
  Drain drain(fast.get());
  bool sent = false;
  int turns = 0;
  Ticket send = stream.send_file(file, {0, content.size()}, false, [&](Result<Ok> ok) { sent = ok.ok(); });
  REQUIRE(server.until([&] { return ++turns, sent; }));
  CHECK(turns >= 8);  // at most 4 MiB in one turn
  server.accepted.clear();
  REQUIRE(server.until([&] { return drain.done.load(); }));
  CHECK(drain.got.size() == content.size());
}

TEST_CASE("a client that hangs up in the middle of a file is an ordinary error") {
  Server server;
  TempDir dir;
  const std::string content = noise(16_MiB);
  FilePtr file = file_with(dir, content);
  Fd client = server.connect(16 << 10);
  ByteStream& stream = server.stream();
  std::optional<Error> error;
  Ticket send = stream.send_file(file, {0, content.size()}, false, [&](Result<Ok> ok) {
    if (!ok) error = ok.error();
  });
  for (int i = 0; i < 5; ++i) server.loop.run_once(1ms);
  client.reset();
  REQUIRE(server.until([&] { return error.has_value(); }));
  CHECK(error->code == Errc::upstream_unreachable);
}

TEST_CASE("a file that became shorter breaks the send and names the file") {
  Server server;
  TempDir dir;
  FilePtr file = file_with(dir, noise(64_KiB));
  Fd client = server.connect();
  ByteStream& stream = server.stream();
  std::optional<Error> error;
  Ticket send = stream.send_file(file, {0, 128_KiB}, false, [&](Result<Ok> ok) {
    if (!ok) error = ok.error();
  });
  REQUIRE(server.until([&] { return error.has_value(); }));
  CHECK(error->code == Errc::local_io);
  CHECK(error->message.find("blob") != std::string::npos);
}

TEST_CASE("breaking off is a FIN, never a reset, even with unread bytes of the client") {
  Server server;
  TempDir dir;
  FilePtr file = file_with(dir, noise(16_MiB));
  Fd client = server.connect(16 << 10);
  ByteStream& stream = server.stream();
  REQUIRE(::send(client.get(), "GET /unread", 11, 0) == 11);
  {
    Ticket send =
        stream.send_file(file, {0, 16_MiB}, false, [](Result<Ok>) { FAIL("the send was taken back"); });
    for (int i = 0; i < 5; ++i) server.loop.run_once(1ms);
  }
  server.accepted.clear();
  REQUIRE(::send(client.get(), "and more", 8, MSG_NOSIGNAL) == 8);
  Drain drain(client.get());
  REQUIRE(server.until([&] { return drain.done.load(); }));
  CHECK(drain.failed == 0);
  CHECK(drain.got.size() < 16_MiB);
  client.reset();
  REQUIRE(server.until([&] { return server.listener->connections() == 0; }));
}

TEST_CASE("bytes queued before the stream goes still arrive") {
  Server server;
  Fd client = server.connect(16 << 10);
  ByteStream& stream = server.stream();
  const std::string big = noise(6_MiB);
  stream.write_detached(Bytes::copy_of(big));
  server.accepted.clear();
  Drain drain(client.get());
  REQUIRE(server.until([&] { return drain.done.load(); }));
  CHECK(drain.failed == 0);
  CHECK(drain.got == big);
}

TEST_CASE("after shut_down the peer sees the end and reads go on") {
  Server server;
  Fd client = server.connect();
  ByteStream& stream = server.stream();
  stream.shut_down();
  char byte = 0;
  CHECK(::recv(client.get(), &byte, 1, 0) == 0);
  REQUIRE(::send(client.get(), "late", 4, 0) == 4);
  std::string got;
  Ticket read = stream.read(64, [&](Result<Bytes> bytes) { got = bytes->str(); });
  REQUIRE(server.until([&] { return got == "late"; }));
}

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
