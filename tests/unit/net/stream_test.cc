// Bytes over TCP streams: reads, writes and the end, against plain blocking clients.
#include <fcntl.h>
#include <sys/socket.h>

#include "tests/support/catch.h"
#include "tests/unit/net/stream_site.h"

using namespace layerd;
using namespace layerd::net;
using namespace layerd::test::streams;
using namespace std::chrono_literals;

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
