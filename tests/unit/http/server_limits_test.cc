// Time-outs, bounds and drain, on virtual time.
#include "tests/unit/http/server_fixture.h"

namespace layerd::test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("an idle connection is closed after its time, and one in use is not") {
  ServerFixture f;
  auto silent = f.connect();
  auto used = f.connect();
  f.loop.advance(50s);
  f.ask(used, get("/a"));
  f.loop.advance(26s);
  CHECK(silent.is_closed());
  CHECK_FALSE(used.is_closed());
  f.loop.advance(50s);
  CHECK(used.is_closed());
  CHECK(f.loop.timers() == 0);
}

// rules: slow-head
TEST_CASE("a head that drips in is answered 408 after ten seconds from its first byte") {
  ServerFixture f;
  auto client = f.connect();
  f.loop.advance(30s);
  const std::string head = get("/slow");
  std::size_t sent = 0;
  for (int i = 0; i < 9; ++i) {
    client.send(head.substr(sent++, 1));
    f.loop.advance(1s);
    CHECK_FALSE(client.got_end());
  }
  client.send(head.substr(sent++, 1));
  f.loop.advance(1500ms);
  CHECK(begins_with(client.take(), "HTTP/1.1 408 Request Timeout"));
  CHECK(client.got_end());
}

TEST_CASE("a request body that does not arrive is answered 408") {
  ServerFixture f;
  auto client = f.connect();
  f.ask(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  f.loop.advance(11s);
  CHECK(begins_with(client.take(), "HTTP/1.1 408"));
  CHECK(f.service.served == 0);
}

TEST_CASE("a client that takes nothing for five minutes is broken off, one that takes a little is not") {
  ServerFixture f;
  auto stuck = f.connect();
  auto slow = f.connect();
  stuck.set_room(100);
  slow.set_room(100);
  stuck.send(get("/stream?100000"));
  slow.send(get("/stream?100000"));
  f.loop.run();
  CHECK(f.service.alive == 2);
  for (int minute = 0; minute < 6; ++minute) {
    slow.set_room(1500);
    f.loop.advance(1min);
  }
  CHECK(stuck.is_closed());
  CHECK_FALSE(slow.is_closed());
  CHECK(f.service.alive == 1);
  CHECK(contains(f.service.log.at(0).error, "took nothing for 300 s"));
}

TEST_CASE("a stalled tail of a small answer is broken off as well") {
  ServerFixture f;
  auto client = f.connect();
  client.set_room(10);
  f.ask(client, get("/big?1000"));
  f.loop.advance(6min);
  CHECK(client.is_closed());
  CHECK_FALSE(f.service.log.at(0).complete);
}

TEST_CASE("a handler that waits for its upstream has no time-out here") {
  ServerFixture f;
  auto client = f.connect();
  f.ask(client, get("/wait"));
  f.loop.advance(1h);
  CHECK(f.service.alive == 1);
  f.service.current->respond({}, "late");
  f.loop.run();
  CHECK(body_of(client.take()) == "late");
}

TEST_CASE("a client that does not close after us is closed after a short time") {
  ServerFixture f;
  auto client = f.connect();
  f.ask(client, get("/a", "Connection: close\r\n"));
  f.loop.advance(1s);
  CHECK_FALSE(client.is_closed());
  client.send("more that nobody reads as a request");
  f.loop.advance(1500ms);
  CHECK(client.is_closed());
  CHECK(f.service.served == 1);
}

TEST_CASE("past the bound of connections a client gets 503 at once, far past it nothing") {
  http::ServerLimits limits;
  limits.connections = 2;
  ServerFixture f(limits);
  auto first = f.connect(), second = f.connect(), third = f.connect();
  f.loop.run();
  CHECK(begins_with(third.take(), "HTTP/1.1 503 "));
  CHECK(third.got_end());
  std::vector<MemoryPeer> crowd;
  for (std::size_t i = 0; i < http::Server::kTurnedAway + 5; ++i) crowd.push_back(f.connect());
  CHECK(crowd.back().is_closed());
  CHECK(crowd.back().take().empty());
  CHECK(f.metrics.total("layerd_http_connections_turned_away_total") == crowd.size() + 1);
  CHECK(body_of(f.ask(first, get("/a"))) == "/a");
  f.loop.advance(3s);
  CHECK(f.server.connections() == 2);
}

TEST_CASE("a drain closes idle connections at once and lets running exchanges finish") {
  ServerFixture f;
  auto idle = f.connect(), busy = f.connect();
  f.ask(busy, get("/wait"));
  bool done = false;
  const Ticket drained = f.server.drain(3s, [&done] { done = true; });
  f.loop.run();
  CHECK(idle.is_closed());
  CHECK_FALSE(busy.got_end());
  CHECK(f.connect().is_closed());
  f.service.current->respond({}, "finished");
  f.loop.run();
  const auto answer = busy.take();
  CHECK(body_of(answer) == "finished");
  CHECK(contains(answer, "Connection: close"));
  CHECK_FALSE(done);
  busy.send_end();
  f.loop.run();
  CHECK(done);
}

// rules: drain-ends
TEST_CASE("what still runs at the end of the grace is broken off short, or told 503") {
  ServerFixture f;
  auto streaming = f.connect(), waiting = f.connect(), dripping = f.connect();
  streaming.set_room(500);
  f.ask(streaming, get("/stream?5000"));
  f.ask(waiting, get("/wait"));
  f.ask(dripping, "GET / HT");
  bool done = false;
  const Ticket drained = f.server.drain(3s, [&done] { done = true; });
  f.loop.advance(2900ms);
  CHECK_FALSE(streaming.got_end());
  CHECK(f.service.alive == 2);
  f.loop.advance(200ms);
  CHECK(f.service.alive == 0);
  CHECK(begins_with(waiting.take(), "HTTP/1.1 503"));
  CHECK(dripping.is_closed());
  f.loop.advance(600ms);
  CHECK(done);
  CHECK(f.server.connections() == 0);
}

TEST_CASE("a drain without connections is done at once, and a dropped one tells nobody") {
  ServerFixture f;
  bool done = false;
  const Ticket drained = f.server.drain(3s, [&done] { done = true; });
  CHECK_FALSE(done);
  f.loop.run();
  CHECK(done);

  ServerFixture g;
  auto client = g.connect();
  bool told = false;
  {
    const Ticket dropped = g.server.drain(3s, [&told] { told = true; });
  }
  g.loop.advance(10s);
  CHECK_FALSE(told);
}

TEST_CASE("destroying the server destroys running handlers") {
  int alive = -1;
  VirtualLoop loop;
  Metrics metrics;
  TestService service;
  auto [stream, client] = memory_stream(loop);
  {
    http::Server server(loop, service, metrics);
    server.adopt(std::move(stream));
    client.send(get("/wait"));
    loop.run();
    CHECK(service.alive == 1);
  }
  alive = service.alive;
  CHECK(alive == 0);
  CHECK(client.is_closed());
  loop.run();
}

}  // namespace
}  // namespace layerd::test
