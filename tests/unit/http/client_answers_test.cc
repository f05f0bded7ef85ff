// What the client makes of what upstreams send.
#include "tests/unit/http/client_fixture.h"

namespace layerd::test {
namespace {

using namespace std::chrono_literals;

const std::string kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

TEST_CASE("a request is written whole and its answer read by Content-Length, in pieces of any size") {
  for (std::size_t piece = 1; piece < 60; ++piece) {
    ClientFixture f;
    f.dialer.piece = piece;
    Asking asking;
    f.start(asking, f.request("/v2/"));
    CHECK(f.upstream().take() == "GET /v2/ HTTP/1.1\r\nHost: registry.test\r\n\r\n");
    f.answer(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 Fine\r\n"
        "X: y\r\nContent-Length: 5\r\n\r\nhello");
    REQUIRE(asking.response);
    CHECK(asking.response->head.status == 200);
    CHECK(asking.response->head.reason == "Fine");
    CHECK(asking.response->head.headers.get("x") == "y");
    CHECK_FALSE(asking.response->head.headers.has("Link"));
    CHECK(asking.response->body->length() == 5);
    CHECK(asking.response->peer.host == "127.0.0.1");
    CHECK(asking.body == "hello");
    CHECK(asking.complete);
    CHECK(f.client->idle_connections() == 1);
  }
}

// rules: chunk-framing
TEST_CASE("a chunked body is decoded, has no length, and leaves the connection usable") {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, std::size_t{1000}}) {
    ClientFixture f;
    f.dialer.piece = piece;
    Asking asking;
    f.start(asking);
    f.answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x\r\n world\r\n0\r\nT: "
        "x\r\n\r\n");
    CHECK(asking.body == "hello world");
    CHECK(asking.complete);
    CHECK_FALSE(asking.response->body->length());
    CHECK(f.client->idle_connections() == 1);
  }
}

// Red (the stack runs out) if each piece of framing is a call deeper.
TEST_CASE("framing much longer than what is read at once is passed over") {
  ClientFixture f;
  Asking asking;
  asking.most = 1;
  f.start(asking);
  const std::string extension(14'000, 'x');
  f.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + extension + "\r\nhi\r\n0;" +
           extension + "\r\n\r\n");
  CHECK(asking.body == "hi");
  CHECK(asking.complete);
}

TEST_CASE("a read brings no more than was asked for, also of what came with the head") {
  for (const char* framing : {"Content-Length: 11\r\n\r\nhello world",
                              "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"}) {
    ClientFixture f;
    Asking asking;
    asking.most = 4;
    f.start(asking);
    f.answer(std::string("HTTP/1.1 200 OK\r\n") + framing);
    CHECK(asking.body == "hello world");
    CHECK(asking.complete);
    CHECK(asking.largest <= 4);
    CHECK(f.client->idle_connections() == 1);
  }
}

TEST_CASE("a body without length ends with the connection, which is not used again") {
  ClientFixture f;
  Asking asking;
  f.start(asking);
  f.answer("HTTP/1.1 200 OK\r\n\r\nhello");
  CHECK_FALSE(asking.complete);
  f.upstream().send_end();
  f.loop.run();
  CHECK(asking.body == "hello");
  CHECK(asking.complete);
  CHECK(f.client->idle_connections() == 0);
}

TEST_CASE("HEAD, 204 and 304 have no body whatever their head says") {
  for (const auto& [method, status] : {std::pair{"HEAD", "200"}, {"GET", "204"}, {"GET", "304"}}) {
    ClientFixture f;
    Asking asking;
    f.start(asking, f.request("/", method));
    f.answer(std::string("HTTP/1.1 ") + status + " X\r\nContent-Length: 1000\r\n\r\n");
    REQUIRE(asking.response);
    CHECK(asking.complete);
    CHECK(asking.response->body->length() == 0);
    CHECK(asking.response->head.headers.get("Content-Length") == "1000");
    CHECK(f.client->idle_connections() == 1);
  }
}

TEST_CASE("bodies that end early are truncated, with the count in the message") {
  for (const std::string head : {"Content-Length: 10", "Transfer-Encoding: chunked"}) {
    ClientFixture f;
    Asking asking;
    f.start(asking);
    f.answer("HTTP/1.1 200 OK\r\n" + head + "\r\n\r\n" + (head[0] == 'T' ? "5\r\n" : "") + "hello");
    f.upstream().send_end();
    f.loop.run();
    REQUIRE(asking.error);
    CHECK(asking.error->code == Errc::truncated);
    CHECK(asking.error->message.find("registry.test:443 closed the connection after 5") == 0);
    CHECK(f.upstream().is_closed());
    // Reading on says the same again.
    asking.error.reset();
    asking.read();
    f.loop.run();
    CHECK(asking.error->code == Errc::truncated);
  }
}

// rules: stall-of-connection
TEST_CASE("a reset within the body is unreachable, silence is a time-out") {
  ClientFixture f;
  Asking reset, silent;
  f.start(reset);
  f.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
  f.upstream().reset();
  f.loop.run();
  REQUIRE(reset.error);
  CHECK(reset.error->code == Errc::upstream_unreachable);

  f.start(silent);
  f.answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
  f.loop.advance(29s);
  CHECK_FALSE(silent.error);
  f.answer("x");
  f.loop.advance(29s);
  CHECK_FALSE(silent.error);
  f.loop.advance(2s);
  REQUIRE(silent.error);
  CHECK(silent.error->code == Errc::upstream_timeout);
  CHECK(f.upstream().is_closed());
}

TEST_CASE("an answer that does not come in time, or not at all, says so") {
  ClientFixture f;
  Asking late, closed;
  f.start(late);
  f.answer("HTTP/1.1 200 OK\r\nX: dripp");
  f.loop.advance(11s);
  REQUIRE(late.error);
  CHECK(late.error->code == Errc::upstream_timeout);
  CHECK(f.upstream().is_closed());

  f.start(closed);
  f.upstream().send_end();
  f.loop.run();
  REQUIRE(closed.error);
  CHECK(closed.error->code == Errc::upstream_unreachable);
  CHECK(f.dialer.dialled == 2);  // a fresh connection is not tried twice
}

TEST_CASE("answers that are not HTTP as it should be are protocol errors") {
  const std::string cases[] = {
      "SSH-2.0-OpenSSH_9.2\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "HTTP/1.1 999 X\r\n\r\n",
      "HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x'),
  };
  for (const auto& text : cases) {
    ClientFixture f;
    Asking asking;
    f.start(asking);
    f.answer(text);
    INFO(text.substr(0, 70));
    REQUIRE(asking.error);
    CHECK(asking.error->code == Errc::upstream_protocol);
    CHECK(f.upstream().is_closed());
  }
  ClientFixture f;
  Asking asking;
  f.start(asking);
  std::string interim;
  for (int i = 0; i < 17; ++i) interim += "HTTP/1.1 100 Continue\r\n\r\n";
  f.answer(interim);
  CHECK(asking.error->code == Errc::upstream_protocol);
}

TEST_CASE("a broken chunk is a protocol error behind the bytes before it") {
  ClientFixture f;
  Asking asking;
  f.start(asking);
  f.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  CHECK(asking.body == "hello");
  f.answer("what\r\n");
  REQUIRE(asking.error);
  CHECK(asking.error->code == Errc::upstream_protocol);
}

TEST_CASE("bytes behind the end of a body make the connection unusable, not the body") {
  ClientFixture f;
  Asking asking;
  f.start(asking);
  f.answer(kHello + "HTTP/1.1 200 OK\r\n");
  CHECK(asking.body == "hello");
  CHECK(asking.complete);
  CHECK(f.client->idle_connections() == 0);
  CHECK(f.upstream().is_closed());
}

TEST_CASE("no name, value or target of ours can begin another line of a request") {
  using namespace std::string_literals;
  const auto refused = [](const auto& spoil) {
    ClientFixture f;
    Asking asking;
    auto request = f.request();
    spoil(request);
    f.start(asking, std::move(request));
    REQUIRE(asking.error);
    CHECK(asking.error->code == Errc::invalid_request);
    CHECK(f.dialer.dialled == 0);
  };
  for (const auto& bad : {"a\r\nb"s, "a\nb"s, "a\rb"s, "a\0b"s}) {
    refused([&bad](http::ClientRequest& request) { request.head.headers.add("X", bad); });
    refused([&bad](http::ClientRequest& request) { request.head.headers.add(bad, "x"); });
    refused([&bad](http::ClientRequest& request) { request.head.target = "/" + bad; });
    refused([&bad](http::ClientRequest& request) { request.head.method = bad; });
    refused([&bad](http::ClientRequest& request) { request.where.host = bad; });
  }
  refused([](http::ClientRequest& request) { request.head.target = "/a b"; });
  refused([](http::ClientRequest& request) { request.head.headers.add("X y", "x"); });
}

TEST_CASE("Host, port and the length of a body are added as they should be") {
  ClientFixture f;
  Asking asking;
  auto request = f.request("/token", "POST");
  request.where.host = "fd00::1";
  request.where.port = 8443;
  request.body = "grant_type=password";
  request.head.headers.add("Content-Length", "3");
  f.start(asking, std::move(request));
  CHECK(f.upstream().take() ==
        "POST /token HTTP/1.1\r\nHost: [fd00::1]:8443\r\nContent-Length: 19\r\n\r\ngrant_type=password");
}

TEST_CASE("an upstream that answers before it has taken the request is heard") {
  ClientFixture f;
  Asking asking;
  f.dialer.piece = 0;
  f.start(asking, f.request("/", "POST"));
  f.upstream().fail_writes();
  f.answer("HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  REQUIRE(asking.response);
  CHECK(asking.response->head.status == 413);
}

}  // namespace
}  // namespace layerd::test
