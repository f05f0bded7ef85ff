// Files sent over TCP streams: whole, in full packets, from cold pages, to slow clients and broken off.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "proxy/net/send_queue.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/net/stream_site.h"

using namespace layerd;
using namespace layerd::net;
using namespace layerd::test::streams;
using namespace std::chrono_literals;
using layerd::test::TempDir;

namespace {

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

}  // namespace

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
