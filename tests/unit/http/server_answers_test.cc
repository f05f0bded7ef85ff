// Answers: framing, back-pressure, hang-ups, broken bodies.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/unit/http/server_fixture.h"

namespace layerd::test {
namespace {

FilePtr file_of(std::size_t size) {
  char path[] = "/tmp/layerd-http-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  unlink(path);
  auto file = std::make_shared<File>(fd, path);
  std::string content(size, ' ');
  for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<char>('a' + i % 23);
  REQUIRE(file->write_at(0, content));
  return file;
}

TEST_CASE("HEAD counts the body and sends none") {
  ServerFixture f;
  auto client = f.connect();
  const auto answer = f.ask(client, "HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(contains(answer, "Content-Length: 4\r\n"));
  CHECK(body_of(answer).empty());
  CHECK(contains(f.ask(client, "HEAD /head?12345678901 HTTP/1.1\r\nHost: a\r\n\r\n"),
                 "Content-Length: 12345678901\r\n"));
  CHECK(f.service.log.at(1).body_bytes == 0);
}

TEST_CASE("204 and 304 have no body and no Content-Length") {
  ServerFixture f;
  auto client = f.connect();
  for (const int status : {204, 304}) {
    f.ask(client, get("/wait"));
    http::ResponseHead head;
    head.status = status;
    f.service.current->respond(std::move(head), "ignored");
    f.loop.run();
    const auto answer = client.take();
    CHECK_FALSE(contains(answer, "Content-Length"));
    CHECK(body_of(answer).empty());
  }
  CHECK(body_of(f.ask(client, get("/next"))) == "/next");
}

TEST_CASE("no header or reason phrase of an answer can begin another line") {
  ServerFixture f;
  auto client = f.connect();
  f.ask(client, get("/wait"));
  http::ResponseHead head;
  head.status = 502;
  head.reason = "x509\r\nSet-Cookie: a";
  head.headers.add("Warning", "299 - \"a\r\nEvil: b\"");
  head.headers.add("Content-Length", "99");
  head.headers.add("Transfer-Encoding", "chunked");
  f.service.current->respond(std::move(head), "x");
  f.loop.run();
  const auto answer = client.take();
  CHECK(begins_with(answer, "HTTP/1.1 502 x509  Set-Cookie: a\r\n"));
  CHECK_FALSE(contains(answer, "\r\nEvil"));
  CHECK_FALSE(contains(answer, "99\r\n"));
  CHECK_FALSE(contains(answer, "chunked"));
  CHECK(contains(answer, "\r\nContent-Length: 1\r\n"));
}

TEST_CASE("a head leaves in the turn it was begun, and with the first bytes if they come at once") {
  ServerFixture f;
  auto client = f.connect();
  f.ask(client, get("/wait"));
  f.service.current->begin({}, 5);
  CHECK(client.seen().empty());
  CHECK(f.service.current->head_sent());
  f.loop.run();
  CHECK(begins_with(client.take(), "HTTP/1.1 200 OK\r\n"));
  const Ticket sent = f.service.current->send(Bytes::copy_of("hello"), nullptr);
  f.loop.run();
  CHECK(client.take() == "hello");
  f.service.current->finish();
  f.loop.run();
  CHECK(f.service.log.at(0).complete);
}

TEST_CASE("a body waits for a slow client piece by piece, and the answer is counted when taken") {
  ServerFixture f;
  auto client = f.connect();
  client.set_room(0);
  f.ask(client, get("/stream?3000"));
  std::string answer;
  for (int i = 0; i < 500 && f.service.log.empty(); ++i) {
    client.set_room(10);
    f.loop.run();
    answer += client.take();
  }
  REQUIRE(f.service.log.size() == 1);
  CHECK(f.service.log[0].complete);
  CHECK(f.service.log[0].body_bytes == 3000);
  CHECK(body_of(answer) == std::string(3000, 'x'));
  CHECK(f.service.alive == 0);
}

TEST_CASE("a whole answer larger than the socket's room is finished without its handler") {
  ServerFixture f;
  auto client = f.connect();
  for (const std::size_t size : {std::size_t{100}, std::size_t{500'000}}) {
    client.set_room(50);
    client.send(get("/big?" + std::to_string(size)) + get("/next"));
    f.loop.run();
    CHECK(f.service.alive == 0);
    client.set_room(1 << 30);
    f.loop.run();
    const auto answer = client.take();
    CHECK(contains(answer, "\r\n\r\n" + std::string(size, 'b') + "HTTP/1.1 200 OK"));
    CHECK(answer.substr(answer.size() - 5) == "/next");
  }
}

TEST_CASE("a file is sent by ranges, behind its head") {
  ServerFixture f;
  auto client = f.connect();
  const auto file = file_of(5'000'000);
  f.ask(client, get("/wait"));
  bool done = false;
  f.service.current->begin({}, 4'999'900);
  const Ticket sent = f.service.current->send_file(file, {100, 5'000'000}, [&done] { done = true; });
  f.loop.run();
  REQUIRE(done);
  f.service.current->finish();
  f.loop.run();
  const auto body = body_of(client.take());
  const auto expected = file->read_at(100, 4'999'900);
  CHECK(body == expected->view());
  CHECK(f.service.log.at(0).body_bytes == 4'999'900);
}

// rules: short-body-broken
TEST_CASE("a body shorter than promised is broken off with FIN, never padded or finished") {
  ServerFixture f;
  auto client = f.connect();
  const auto answer = f.ask(client, get("/short?1500"));
  CHECK(contains(answer, "Content-Length: 1501"));
  CHECK(body_of(answer).size() == 1500);
  CHECK(client.got_end());
  CHECK_FALSE(client.is_closed());
  CHECK_FALSE(f.service.log.at(0).complete);
  CHECK_FALSE(f.service.log.at(0).error.empty());
}

TEST_CASE("breaking off sends what was sent, FIN, and the reason to the log") {
  ServerFixture f;
  auto client = f.connect();
  f.ask(client, get("/wait"));
  f.service.current->begin({}, 100);
  f.service.current->break_off(Error{Errc::digest_mismatch, "wrong bytes"});
  f.loop.run();
  CHECK(begins_with(client.take(), "HTTP/1.1 200 OK"));
  CHECK(client.got_end());
  CHECK(f.service.alive == 0);
  CHECK(f.service.log.at(0).error == "wrong bytes");
  f.loop.advance(std::chrono::seconds(3));
  CHECK(client.is_closed());
}

TEST_CASE("a file that is broken off stops where it is: the end of a wrong body never leaves") {
  ServerFixture f;
  auto client = f.connect();
  client.set_room(1000);
  f.ask(client, get("/wait"));
  f.service.current->begin({}, 5000);
  const Ticket sent = f.service.current->send_file(file_of(5000), {0, 5000}, nullptr);
  f.loop.run();
  f.service.current->break_off(Error{Errc::digest_mismatch, "wrong bytes"});
  f.loop.run();
  client.set_room(1 << 20);
  f.loop.run();
  CHECK(client.got_end());
  CHECK(client.take().size() == 1000);
  CHECK(f.service.log.at(0).error == "wrong bytes");
}

TEST_CASE("a client that hangs up destroys its handler at every step of an answer") {
  for (const bool by_reset : {false, true}) {
    for (int step = 0; step < 12; ++step) {
      ServerFixture f;
      auto client = f.connect();
      client.set_room(step < 6 ? 0 : 1500);
      client.send(get(step % 2 == 0 ? "/stream?5000" : "/wait"));
      for (int i = 0; i < step; ++i) f.loop.run_one();
      by_reset ? client.reset() : client.send_end();
      f.loop.run();
      INFO("step " << step);
      CHECK(f.service.alive == 0);
      CHECK(client.is_closed());
      CHECK(f.server.connections() == 0);
      for (const auto& ended : f.service.log) CHECK_FALSE(ended.complete);
    }
  }
}

TEST_CASE("a client that half-closes behind its request still gets an answer that is at hand") {
  ServerFixture f;
  auto client = f.connect();
  client.send(get("/now"));
  client.send_end();
  f.loop.run();
  CHECK(body_of(client.take()) == "/now");
  CHECK(client.is_closed());

  auto slow = f.connect();
  slow.set_room(20);
  slow.send(get("/big?1000"));
  slow.send_end();
  f.loop.run();
  CHECK_FALSE(slow.is_closed());
  slow.set_room(5000);
  f.loop.run();
  CHECK(body_of(slow.take()).size() == 1000);
  CHECK(slow.is_closed());
  CHECK(f.service.log.back().complete);
}

TEST_CASE("a write that fails destroys the handler and does not answer it") {
  ServerFixture f;
  auto client = f.connect();
  client.set_room(0);
  f.ask(client, get("/stream?5000"));
  CHECK(f.service.alive == 1);
  client.fail_writes();
  f.loop.run();
  CHECK(f.service.alive == 0);
  REQUIRE(f.service.log.size() == 1);
  CHECK(contains(f.service.log[0].error, "sending to the client failed"));
}

TEST_CASE("the Ticket of a send takes back the callback, not the bytes") {
  ServerFixture f;
  auto client = f.connect();
  f.ask(client, get("/wait"));
  f.service.current->begin({}, 5);
  bool called = false;
  {
    const Ticket dropped = f.service.current->send(Bytes::copy_of("hello"), [&called] { called = true; });
  }
  f.loop.run();
  CHECK_FALSE(called);
  CHECK(body_of(client.take()) == "hello");
}

}  // namespace
}  // namespace layerd::test
