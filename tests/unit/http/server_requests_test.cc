// What the server makes of what clients send.
#include "tests/unit/http/server_fixture.h"

namespace layerd::test {
namespace {

TEST_CASE("a request is answered and the connection stays for the next one") {
  ServerFixture f;
  auto client = f.connect();
  const auto first = f.ask(client, get("/one"));
  CHECK(begins_with(first, "HTTP/1.1 200 OK\r\n"));
  CHECK(contains(first, "\r\nContent-Length: 4\r\n"));
  CHECK(contains(first, "\r\nDate: Tue, 14 Nov 2023"));
  CHECK_FALSE(contains(first, "Connection:"));
  CHECK(body_of(first) == "/one");
  CHECK(body_of(f.ask(client, get("/two"))) == "/two");
  CHECK_FALSE(client.got_end());
  REQUIRE(f.service.log.size() == 2);
  CHECK(f.service.log[0].complete);
  CHECK(f.service.log[0].body_bytes == 4);
  CHECK(f.service.log[0].notes.at(0).second == "/one");
  CHECK(f.service.log[1].notes.size() == 1);
}

// rules: pipelined
TEST_CASE("pipelined requests are answered in order wherever the packets are cut") {
  const std::string both =
      get("/one") + "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + "\r\n" +
      get("/stream?2500") +
      "POST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
      "HEAD /head?77 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/five");
  std::string whole;
  for (std::size_t cut = 0; cut <= both.size(); ++cut) {
    ServerFixture f;
    auto client = f.connect();
    client.send(both.substr(0, cut));
    f.loop.run();
    client.send(both.substr(cut));
    f.loop.run();
    const std::string answers = client.take();
    if (cut == 0) whole = answers;
    REQUIRE(answers == whole);
    REQUIRE(f.service.log.size() == 6);
    for (const auto& ended : f.service.log) CHECK(ended.complete);
  }
  CHECK(contains(whole, "\r\n\r\n/one"));
  CHECK(contains(whole, "\r\n\r\n/two"));
  CHECK(contains(whole, "\r\n\r\n" + std::string(2500, 'x')));
  CHECK(contains(whole, "Content-Length: 77\r\n\r\nHTTP/1.1"));
}

TEST_CASE("two hundred pipelined requests in one packet are all answered, bytewise too") {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{1} << 20}) {
    ServerFixture f;
    auto client = f.connect();
    client.set_piece(piece);
    std::string all;
    for (int i = 0; i < 200; ++i) all += get("/r" + std::to_string(i));
    const std::string answers = f.ask(client, all);
    CHECK(f.service.log.size() == 200);
    CHECK(answers.substr(answers.size() - 5) == "/r199");
  }
}

TEST_CASE("requests behind a waiting one are kept up to a bound, not read without end") {
  ServerFixture f;
  auto client = f.connect();
  std::string flood = get("/wait");
  for (int i = 0; i < 10'000; ++i) flood += get("/next");
  f.ask(client, flood);
  CHECK(f.service.served == 1);
  CHECK(client.unread() > flood.size() - 100'000);
  f.service.current->respond({}, "done");
  f.loop.run();
  CHECK(f.service.served == 10'001);
}

TEST_CASE("Connection: close and HTTP/1.0 end the connection after the answer") {
  ServerFixture f;
  auto client = f.connect();
  CHECK(contains(f.ask(client, get("/a", "Connection: close\r\n")), "\r\nConnection: close\r\n"));
  CHECK(client.got_end());
  CHECK_FALSE(client.is_closed());
  client.send_end();
  f.loop.run();
  CHECK(client.is_closed());

  auto old = f.connect();
  CHECK(body_of(f.ask(old, "GET /b HTTP/1.0\r\n\r\n")) == "/b");
  CHECK(old.got_end());
  auto old_keeping = f.connect();
  CHECK(contains(f.ask(old_keeping, "GET /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
                 "\r\nConnection: keep-alive\r\n"));
  CHECK_FALSE(old_keeping.got_end());
}

TEST_CASE("an absolute-form target reaches the service as it was sent") {
  ServerFixture f;
  auto client = f.connect();
  CHECK(body_of(f.ask(client, get("http://layerd:5151/v2/"))) == "http://layerd:5151/v2/");
}

// rules: expect
TEST_CASE("Expect: 100-continue gets the final answer at once, and the connection ends") {
  ServerFixture f;
  auto client = f.connect();
  const auto answer =
      f.ask(client, "PUT /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n");
  CHECK(begins_with(answer, "HTTP/1.1 200"));
  CHECK(contains(answer, "Connection: close"));
  CHECK(client.got_end());
}

TEST_CASE("a request body that is to be kept reaches the service whole, and the next one is its own") {
  http::ServerLimits limits;
  limits.kept_body = 100;
  ServerFixture f(limits);
  auto client = f.connect();
  const auto post = [](std::size_t size, char c) {
    return "POST /kept HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" +
           std::string(size, c);
  };
  client.set_piece(7);
  CHECK(body_of(f.ask(client, post(100, 'a'))) == std::string(100, 'a'));
  CHECK(body_of(f.ask(client, get("/kept"))).empty());
  CHECK(body_of(f.ask(client, post(3, 'b'))) == "bbb");
  CHECK(body_of(f.ask(client, post(101, 'c'))).empty());  // read and dropped
  CHECK(body_of(f.ask(client,
                      "POST /kept HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "3\r\nabc\r\n0\r\n\r\n"))
            .empty());
  CHECK(f.service.served == 5);
}

TEST_CASE("a long request body is answered without being waited for, and ends the connection") {
  ServerFixture f;
  auto sized = f.connect();
  const auto answer = f.ask(sized, "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\nabc");
  CHECK(contains(answer, "Connection: close"));
  CHECK(sized.got_end());
  sized.send(std::string(65534, 'x'));  // what still comes is discarded, not taken for a request
  f.loop.run();
  CHECK(f.service.log.size() == 1);

  auto exact = f.connect();
  f.ask(exact, "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + std::string(65536, 'x'));
  CHECK_FALSE(exact.got_end());
  CHECK(f.service.log.size() == 2);

  auto chunked = f.connect();
  f.ask(chunked, "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
                     std::string("20000\r\n") + std::string(0x20000, 'x') + "\r\n0\r\n\r\n");
  CHECK(f.service.log.size() == 3);
  CHECK(chunked.got_end());
}

// rules: tls-hello
TEST_CASE("a TLS handshake on the plain port is answered as HTTP/1.0 400, so clients fall back") {
  ServerFixture f;
  auto client = f.connect();
  const auto answer = f.ask(client, std::string("\x16\x03\x01\x02\x00\x01\x00", 7));
  CHECK(begins_with(answer, "HTTP/1.0 400 Bad Request\r\n\r\n"));
  CHECK(client.got_end());
  CHECK_FALSE(client.is_closed());  // FIN first; a close with unread input would reset
  CHECK(f.service.served == 0);
}

TEST_CASE("refused requests get the JSON of the distribution spec and the connection ends") {
  const std::pair<std::string, std::string> cases[] = {
      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(40'000, 'x'), "HTTP/1.1 431 "},
      {"GET /" + std::string(9'000, 'x'), "HTTP/1.1 414 "},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
  };
  for (const auto& [request, status] : cases) {
    ServerFixture f;
    auto client = f.connect();
    const auto answer = f.ask(client, request);
    INFO(request.substr(0, 60));
    CHECK(begins_with(answer, status));
    CHECK(contains(answer, "Content-Type: application/json"));
    CHECK(contains(answer, "Connection: close"));
    CHECK(begins_with(body_of(answer), "{\"errors\":[{\"code\":\"UNSUPPORTED\""));
    CHECK(client.got_end());
    CHECK(f.service.served == 0);
    REQUIRE(f.service.log.size() == 1);
    CHECK_FALSE(f.service.log[0].complete);
    CHECK_FALSE(f.service.log[0].error.empty());
    CHECK(f.metrics.total("layerd_http_refused_requests_total") == 1);
  }
}

}  // namespace
}  // namespace layerd::test
