// Connections of the client: reuse, bounds, the line, and being taken back at any step.
#include <random>

#include "tests/unit/http/client_fixture.h"

namespace layerd::test {
namespace {

using namespace std::chrono_literals;

const std::string kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

// rules: connections-reused
TEST_CASE("a second request goes over the idle connection of the first") {
  ClientFixture f;
  Asking first, second;
  f.start(first);
  f.answer(kHello);
  f.start(second);
  CHECK(f.dialer.dialled == 1);
  f.answer(kHello);
  CHECK(second.body == "hello");
  CHECK(f.metrics.total("layerd_upstream_connections_reused_total") == 1);
}

TEST_CASE("connections are shared only where host, port, TLS settings and policy agree") {
  ClientFixture f;
  Asking first;
  f.start(first);
  f.answer(kHello);
  const auto dials = [&f](const auto& change) {
    Asking asking;
    auto request = f.request();
    change(request);
    const int before = f.dialer.dialled;
    f.start(asking, std::move(request));
    return f.dialer.dialled - before;
  };
  CHECK(dials([](auto& r) { r.where.host = "other.test"; }) == 1);
  CHECK(dials([](auto& r) { r.where.port = 444; }) == 1);
  CHECK(dials([](auto& r) { r.where.tls = false; }) == 1);
  CHECK(dials([](auto& r) { r.where.tls_settings.ca_file = "/ca"; }) == 1);
  CHECK(dials([](auto& r) { r.where.tls_settings.server_name = "n"; }) == 1);
  CHECK(dials([](auto& r) { r.where.tls_settings.insecure_skip_verify = true; }) == 1);
  CHECK(dials([](auto& r) { r.where.tls_settings.ca_dir = "/cas"; }) == 1);
  CHECK(dials([](auto& r) { r.where.tls_settings.system_cas = false; }) == 1);
  CHECK(dials([](auto& r) { r.where.tls_settings.minor_version = 3; }) == 1);
  CHECK(dials([](auto& r) {
          r.where.proxy = std::make_shared<const net::Proxy>(*net::parse_proxy("http://p:1"));
        }) == 1);
  CHECK(dials([](auto& r) { r.where.policy = net::AddressPolicy::any; }) == 1);
  CHECK(dials([](auto& r) { r.where.policy = net::AddressPolicy::site; }) == 1);
  CHECK(dials([](auto& r) { r.fresh_connection = true; }) == 1);
  CHECK(dials([](auto& r) { r.where.host = "REGISTRY.test"; }) == 0);
}

TEST_CASE("retired connections are not used again, and requests under way go on") {
  ClientFixture f;
  Asking first, second, third;
  f.start(first);
  f.answer(kHello);
  CHECK(f.client->idle_connections() == 1);
  f.client->retire_connections();
  CHECK(f.client->idle_connections() == 0);
  f.start(second);
  CHECK(f.dialer.dialled == 2);
  f.client->retire_connections();
  f.answer(kHello);
  CHECK(second.body == "hello");
  CHECK(f.client->idle_connections() == 0);
  f.start(third);
  CHECK(f.dialer.dialled == 3);
}

TEST_CASE("a fresh connection is not kept, nor one the upstream means to close") {
  ClientFixture f;
  Asking fresh, closing, old;
  auto request = f.request();
  request.fresh_connection = true;
  f.start(fresh, std::move(request));
  f.answer(kHello);
  CHECK(fresh.complete);
  CHECK(f.upstream().is_closed());
  f.start(closing);
  f.answer("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
  CHECK(closing.complete);
  CHECK(f.upstream().is_closed());
  f.start(old);
  f.answer("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  CHECK(f.upstream().is_closed());
  CHECK(f.client->idle_connections() == 0);
}

TEST_CASE("an idle connection is dropped when the upstream closes it, speaks unasked, or time is up") {
  ClientFixture f;
  for (int way = 0; way < 3; ++way) {
    Asking asking;
    f.start(asking);
    f.answer(kHello);
    REQUIRE(f.client->idle_connections() == 1);
    if (way == 0) f.upstream().send_end();
    if (way == 1) f.upstream().send("HTTP/1.1 408 Request Timeout\r\n\r\n");
    f.loop.advance(way == 2 ? 61s : 0s);
    CHECK(f.client->idle_connections() == 0);
    CHECK(f.upstream().is_closed());
  }
}

TEST_CASE("a request that meets a closing idle connection is sent again once, if it is safe") {
  for (const std::string method : {"GET", "HEAD", "POST"}) {
    ClientFixture f;
    Asking first, second;
    f.start(first);
    f.answer(kHello);
    f.upstream().take();
    second.request =
        f.client->start(f.request("/again", method),
                        [&second](Result<http::ClientResponse> got) { second.on_response(std::move(got)); });
    f.upstream().send_end();  // crosses with the request
    f.loop.run();
    if (method == "POST") {
      REQUIRE(second.error);
      CHECK(second.error->code == Errc::upstream_unreachable);
      CHECK(f.dialer.dialled == 1);
      continue;
    }
    REQUIRE(f.dialer.dialled == 2);
    CHECK(f.upstream().take().find(method + " /again HTTP/1.1") == 0);
    f.upstream().send_end();
    f.loop.run();
    REQUIRE(second.error);  // once, not for ever
    CHECK(f.dialer.dialled == 2);
  }
}

TEST_CASE("a request is not sent again once a byte of its answer has come") {
  ClientFixture f;
  Asking first, second;
  f.start(first);
  f.answer(kHello);
  f.start(second);
  f.answer("HTTP/1.1 200");
  f.upstream().send_end();
  f.loop.run();
  REQUIRE(second.error);
  CHECK(f.dialer.dialled == 1);
}

TEST_CASE("a host has so many connections and no more; the rest waits in order") {
  http::ClientLimits limits;
  limits.connections_per_host = 2;
  ClientFixture f(limits);
  Asking asking[5];
  for (auto& one : asking) f.start(one);
  CHECK(f.dialer.dialled == 2);
  CHECK(f.metrics.total("layerd_upstream_requests_waiting") == 3);
  asking[3].request.reset();  // leaves the line
  CHECK(f.metrics.total("layerd_upstream_requests_waiting") == 2);
  f.dialer.peers[0].send(kHello);
  f.loop.run();
  CHECK(asking[0].complete);
  f.dialer.peers[0].send(kHello);
  f.loop.run();
  CHECK(asking[2].complete);  // the third came next, over the same connection
  f.dialer.peers[0].send(kHello);
  f.loop.run();
  CHECK(asking[4].complete);
  CHECK_FALSE(asking[3].response);
  CHECK(f.dialer.dialled == 2);
}

TEST_CASE("who waits in line until the deadline is told that we are busy") {
  http::ClientLimits limits;
  limits.connections_per_host = 1;
  ClientFixture f(limits);
  Asking busy, waiting;
  auto long_one = f.request();
  long_one.head_deadline = Deadline::never();
  f.start(busy, std::move(long_one));
  f.start(waiting);
  f.loop.advance(6s);
  REQUIRE(waiting.error);
  CHECK(waiting.error->code == Errc::overloaded);
  CHECK_FALSE(busy.error);
}

TEST_CASE("a place is free again when dialling fails, and the error is the dialler's") {
  http::ClientLimits limits;
  limits.connections_per_host = 1;
  ClientFixture f(limits);
  f.dialer.failure = Error{Errc::upstream_unreachable, "refused", 0, 0, "connect_refused"};
  for (int i = 0; i < 3; ++i) {
    Asking asking;
    f.start(asking);
    REQUIRE(asking.error);
    CHECK(asking.error->diagnosis_code() == "connect_refused");
  }
}

TEST_CASE("a body dropped early keeps the connection if the rest is short and here, else closes it") {
  const auto kept_after = [](const std::string& answer) {
    ClientFixture f;
    Asking asking;
    asking.reads = false;
    f.start(asking);
    f.answer(answer);
    REQUIRE(asking.response);
    asking.response.reset();
    f.loop.run();
    CHECK(f.upstream().is_closed() == (f.client->idle_connections() == 0));
    return f.client->idle_connections() == 1;
  };
  CHECK(kept_after("HTTP/1.1 307 X\r\nLocation: /y\r\nContent-Length: 5\r\n\r\nhello"));
  CHECK(kept_after("HTTP/1.1 307 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"));
  CHECK_FALSE(kept_after("HTTP/1.1 307 X\r\nContent-Length: 6\r\n\r\nhello"));
  CHECK_FALSE(kept_after("HTTP/1.1 307 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
  CHECK_FALSE(kept_after("HTTP/1.1 200 X\r\n\r\nhello"));
}

TEST_CASE("the socket of a body is read only while a read waits") {
  ClientFixture f;
  Asking asking;
  asking.reads = false;
  f.start(asking);
  f.answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
  f.answer(std::string(500'000, 'x'));
  CHECK_FALSE(f.upstream().is_read());
  CHECK(f.upstream().unread() == 500'000);
  asking.read();
  CHECK(f.upstream().is_read());
}

TEST_CASE("tickets and readers may outlive the client") {
  ClientFixture f;
  Asking reading, waiting;
  f.start(reading);
  f.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
  f.start(waiting);
  f.client.reset();
  f.dialer.peers[0].send("world");
  f.dialer.peers[1].send(kHello);
  f.loop.run();
  CHECK(reading.body == "helloworld");
  CHECK(waiting.body == "hello");
  CHECK(f.dialer.peers[0].is_closed());
  CHECK(f.dialer.peers[1].is_closed());
}

// Requests, answers and faults in random order; askers leave at random steps, often inside the turn
// in which their answer is on its way. The sanitizers judge the lifetimes.
TEST_CASE("requests taken back at random steps leave no place, connection or byte behind") {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const auto draw = [&random](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
    http::ClientLimits limits;
    limits.connections_per_host = 3;
    ClientFixture f(limits);
    std::vector<std::unique_ptr<Asking>> asking;
    std::size_t finished = 0;
    for (int round = 0; round < 300; ++round) {
      const int what = draw(9);
      if (what <= 2 && asking.size() < 12) {
        auto one = std::make_unique<Asking>();
        one->reads = draw(3) != 0;
        auto request = f.request("/x", draw(3) == 0 ? "HEAD" : "GET");
        request.fresh_connection = draw(7) == 0;
        Asking* raw = one.get();
        one->request = f.client->start(std::move(request), [raw](Result<http::ClientResponse> got) {
          raw->on_response(std::move(got));
        });
        asking.push_back(std::move(one));
      } else if (what <= 5 && !f.dialer.peers.empty()) {
        auto& peer =
            f.dialer
                .peers[f.dialer.peers.size() - 1 - static_cast<std::size_t>(draw(2)) % f.dialer.peers.size()];
        const std::string answers[] = {
            kHello, "HTTP/1.1 200 OK\r\n", "Content-Length: 5\r\n\r\nhel", "lo",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"};
        peer.send(answers[draw(4)]);
        if (draw(15) == 0) peer.send_end();
        if (draw(25) == 0) peer.reset();
      } else if (what == 6 && !asking.empty()) {
        asking.erase(asking.begin() + draw(static_cast<int>(asking.size()) - 1));
      } else if (what == 7) {
        f.loop.advance(std::chrono::milliseconds(draw(4000)));
      } else {
        for (int i = draw(4); i > 0; --i) f.loop.run_one();
      }
      finished += std::erase_if(asking, [](const auto& one) { return one->complete || one->error; });
    }
    asking.clear();
    f.loop.run();
    // Every place is free again: three more can dial at once.
    const int before = f.dialer.dialled;
    Asking last[3];
    for (auto& one : last) {
      auto request = f.request();
      request.fresh_connection = true;
      f.start(one, std::move(request));
    }
    CHECK(f.dialer.dialled == before + 3);
    CHECK(f.metrics.total("layerd_upstream_requests_waiting") == 0);
    CHECK(finished > 0);
  }
}

}  // namespace

TEST_CASE("a spare request never takes more than half of the connections, nor waits") {
  http::ClientLimits limits;
  limits.connections_per_host = 4;
  ClientFixture f(limits);
  const auto spare = [&] {
    auto made = f.request();
    made.is_spare = true;
    return made;
  };
  Asking first, extra, refused, needed[3];
  f.start(first);
  f.start(extra, spare());
  CHECK(f.dialer.dialled == 2);
  f.start(refused, spare());
  REQUIRE(refused.error);
  CHECK(refused.error->code == Errc::overloaded);
  for (auto& one : needed) f.start(one);
  CHECK(f.dialer.dialled == 4);
  CHECK(f.metrics.total("layerd_upstream_requests_waiting") == 1);
  CHECK_FALSE(needed[2].error);
}

}  // namespace layerd::test
