// Heads and chunked bodies: what is taken, what is refused and with which status. Each refusal here
// turns to acceptance when its check in parser.cc is removed.
#include "proxy/http/parser.h"

#include "tests/support/catch.h"

namespace layerd::http {
namespace {

struct Outcome {
  bool complete = false;
  int fault = 0;
  std::string message;
  std::size_t used = 0;
};

Outcome parse(Parser& parser, std::string_view text, std::size_t piece) {
  std::size_t at = 0;
  while (at < text.size() && !parser.head_complete() && !parser.fault()) {
    const auto part = text.substr(at, piece);
    const auto used = parser.feed_head(part);
    at += used;
    if (used < part.size()) break;
  }
  return {parser.head_complete(), parser.fault() ? parser.fault()->status : 0,
          parser.fault() ? parser.fault()->message : "", at};
}

Outcome parse_request(std::string_view text, std::size_t piece = 1 << 20) {
  Parser parser(Parser::Kind::request, {});
  return parse(parser, text, piece);
}

TEST_CASE("a request head is read alike however it is cut into pieces") {
  const std::string head =
      "GET /v2/a/blobs/x?ns=docker.io HTTP/1.1\r\nHost:  layerd \r\nEmpty:\r\nX-Long: a b\tc   \r\n\r\n";
  for (std::size_t piece = 1; piece <= head.size() + 3; ++piece) {
    Parser parser(Parser::Kind::request, {});
    const auto outcome = parse(parser, head + "GET", piece);
    INFO("piece " << piece << " " << outcome.message);
    REQUIRE(outcome.complete);
    REQUIRE(outcome.fault == 0);
    REQUIRE(outcome.used == head.size());
    CHECK(parser.request().method == "GET");
    CHECK(parser.request().target == "/v2/a/blobs/x?ns=docker.io");
    CHECK(parser.request().headers.get("host") == "layerd");
    CHECK(parser.request().headers.get("empty") == "");
    CHECK(parser.request().headers.get("x-long") == "a b\tc");
    CHECK(parser.request().headers.all().size() == 3);
    CHECK(parser.keep_alive());
  }
}

// rules: folded-headers, one-host
TEST_CASE("malformed requests are refused with 400 however they are cut") {
  using namespace std::string_literals;
  const std::string cases[] = {
      "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n",
      "GET / HTTP/1.1\nHost: a\n\n",
      "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"s,
      "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s,
      "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n",
      "GET / HTTP/1.1\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
      "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
      "BREW / HTTP/1.1\r\nHost: a\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "\x16\x03\x01 hello",
  };
  for (const auto& text : cases) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, text.size()}) {
      const auto outcome = parse_request(text, piece);
      INFO(text << " in pieces of " << piece << ": " << outcome.message);
      CHECK(outcome.fault == 400);
      CHECK_FALSE(outcome.message.empty());
    }
  }
}

TEST_CASE("other versions of HTTP are refused by name") {
  CHECK(parse_request("GET /\r\n\r\n").fault == 505);
  CHECK(parse_request("GET / HTTP/2.0\r\nHost: a\r\n\r\n").fault == 505);
  CHECK(parse_request("GET / HTTP/1.0\r\n\r\n").fault == 0);
}

// rules: head-bound
TEST_CASE("the bounds of a request head are kept to the byte") {
  const auto with_target = [](std::size_t size) {
    return "GET /" + std::string(size - 1, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  };
  for (const std::size_t piece : {std::size_t{1000}, std::size_t{1} << 20}) {
    CHECK(parse_request(with_target(8_KiB), piece).fault == 0);
    CHECK(parse_request(with_target(8_KiB + 1), piece).fault == 414);
    CHECK(parse_request("GET /" + std::string(100'000, 'a'), piece).fault == 414);
    const auto header = [](std::size_t size) { return "X: " + std::string(size, 'b') + "\r\n"; };
    const std::string start = "GET / HTTP/1.1\r\nHost: a\r\n";
    CHECK(parse_request(start + header(31 * 1024) + "\r\n", piece).fault == 0);
    CHECK(parse_request(start + header(33 * 1024) + "\r\n", piece).fault == 431);
    CHECK(parse_request(start + header(20'000) + header(20'000) + "\r\n", piece).fault == 431);
    CHECK(parse_request(start + "X:" + std::string(100'000, ' '), piece).fault == 431);
    std::string many;
    for (int i = 0; i < 99; ++i) many += "A: b\r\n";
    CHECK(parse_request(start + many + "\r\n", piece).fault == 0);
    CHECK(parse_request(start + many + "A: b\r\n\r\n", piece).fault == 431);
  }
}

TEST_CASE("a chunked body is decoded in place, in pieces of any size, and its end is found") {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string wire = "5;ext=1\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nTrailer: x\r\n\r\n";
  for (std::size_t piece = 1; piece <= wire.size() + 4; ++piece) {
    Parser parser(Parser::Kind::request, {});
    REQUIRE(parse(parser, head, head.size()).complete);
    CHECK(parser.framing() == Framing::chunked);
    std::string body, text = wire + "NEXT";
    std::size_t at = 0;
    while (!parser.body_complete() && at < text.size()) {
      std::string part = text.substr(at, piece);
      const auto decoded = parser.feed_chunked(part.data(), part.size());
      REQUIRE_FALSE(parser.fault());
      body += part.substr(0, decoded.body_bytes);
      at += decoded.used;
    }
    CHECK(body == "hello world");
    CHECK(at == wire.size());
    CHECK(parser.request().headers.all().size() == 2);
  }
}

TEST_CASE("a chunked body that is broken or mostly framing is refused") {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& wire :
       {std::string("zz\r\n"), std::string("5\r\nhelloXX"), std::string("ffffffffffffffffff\r\n"),
        "1;" + std::string(20'000, 'e'), "0\r\nX: " + std::string(20'000, 't')}) {
    Parser parser(Parser::Kind::request, {});
    REQUIRE(parse(parser, head, head.size()).complete);
    std::string text = wire;
    parser.feed_chunked(text.data(), text.size());
    INFO(wire.substr(0, 20));
    CHECK(parser.fault());
  }
}

TEST_CASE("a response says how its body ends") {
  const auto framing = [](const std::string& head) {
    Parser parser(Parser::Kind::response, {});
    const auto outcome = parse(parser, head, 3);
    INFO(head << outcome.message);
    REQUIRE(outcome.complete);
    REQUIRE_FALSE(parser.fault());
    return parser.framing();
  };
  CHECK(framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") == Framing::length);
  CHECK(framing("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n") == Framing::chunked);
  CHECK(framing("HTTP/1.0 200 OK\r\n\r\n") == Framing::until_close);
  CHECK(framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n") == Framing::none);
  CHECK(framing("HTTP/1.1 204 No Content\r\n\r\n") == Framing::none);
}

TEST_CASE("a header list answers without regard to case") {
  Headers headers;
  headers.add("Accept", "a");
  headers.add("accept", "b, Close ,c");
  headers.add("Other", "x");
  CHECK(headers.get("ACCEPT") == "a");
  CHECK(headers.get_all("Accept").size() == 2);
  CHECK(headers.has_token("Accept", "close"));
  CHECK_FALSE(headers.has_token("Accept", "clos"));
  headers.set("Accept", "z");
  CHECK(headers.get_all("Accept").size() == 1);
  headers.remove("accept");
  CHECK_FALSE(headers.has("Accept"));
  CHECK(headers.all().size() == 1);
}

}  // namespace
}  // namespace layerd::http
