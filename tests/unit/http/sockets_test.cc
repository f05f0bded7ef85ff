// Server and client over real sockets: the framing holds when the kernel cuts it, and a broken body ends with
// FIN.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "proxy/net/listener.h"
#include "runtime/uv_loop.h"
#include "runtime/workers.h"
#include "tests/support/http_probe.h"
#include "tests/unit/http/client_fixture.h"
#include "tests/unit/http/server_fixture.h"

namespace layerd::test {
namespace {

// Connects to loopback ports without a name service.
struct LoopbackDialer final : net::Dialer {
  LoopbackDialer(UvLoop& loop_, Workers& workers_) : loop(loop_), workers(workers_) {}
  Ticket dial(const net::DialRequest& request, Done<net::ByteStreamPtr> done) override {
    return loop.post([this, port = request.port, done = std::move(done)]() mutable {
      net::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
      ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
      const net::Address peer{"127.0.0.1", port, false};
      done(net::ByteStreamPtr(
          std::make_unique<net::TcpStream>(loop, workers, std::move(fd), peer, net::Address{})));
    });
  }
  UvLoop& loop;
  Workers& workers;
};

struct SocketFixture {
  SocketFixture()
      : workers(loop, 1),
        server(loop, service, metrics),
        listener(loop, workers, {},
                 [this](net::Accepted accepted) { server.adopt(std::move(accepted.stream)); }),
        dialer(loop, workers) {
    const auto bound = listener.listen({"127.0.0.1", 0, false});
    REQUIRE(bound);
    port = bound->port;
  }

  // Runs blocking client code beside the loop until it has returned.
  template <class F>
  void beside(F client) {
    std::atomic<bool> done{false};
    std::thread thread([&] {
      client();
      done = true;
    });
    while (!done) loop.run_once(std::chrono::milliseconds(2));
    thread.join();
  }
  template <class F>
  bool run_until(F condition) {
    for (int i = 0; i < 2000 && !condition(); ++i) loop.run_once(std::chrono::milliseconds(2));
    return condition();
  }

  UvLoop loop;
  Metrics metrics;
  Workers workers;
  TestService service;
  http::Server server;
  net::Listener listener;
  LoopbackDialer dialer;
  std::uint16_t port = 0;
};

TEST_CASE("pipelined requests over a real socket are answered in order") {
  SocketFixture f;
  std::vector<ProbeReply> replies;
  f.beside([&] {
    ProbeConnection connection(f.port);
    connection.send(get("/one") + get("/big?3000000") + get("/stream?100000") + get("/four"));
    for (int i = 0; i < 4; ++i) replies.push_back(connection.read());
  });
  REQUIRE(replies.size() == 4);
  for (const auto& reply : replies) CHECK(reply.complete);
  CHECK(replies[0].body == "/one");
  CHECK(replies[1].body == std::string(3'000'000, 'b'));
  CHECK(replies[2].body == std::string(100'000, 'x'));
  CHECK(replies[3].body == "/four");
}

TEST_CASE("a body that is broken off ends with FIN and not with a reset, also with unread input") {
  SocketFixture f;
  ProbeReply reply;
  f.beside([&] {
    ProbeConnection connection(f.port);
    connection.send(get("/short?200000") + get("/never") + std::string(100, 'x'));
    reply = connection.read();
  });
  CHECK(reply.status == 200);
  CHECK(reply.body.size() == 200'000);
  CHECK_FALSE(reply.complete);
  CHECK_FALSE(reply.reset);
  CHECK_FALSE(reply.timed_out);
}

TEST_CASE("a client that closes its socket while a handler waits is noticed") {
  SocketFixture f;
  f.beside([&] {
    ProbeConnection connection(f.port);
    connection.send(get("/wait"));
    connection.read_raw(std::chrono::milliseconds(50));
  });
  CHECK(f.run_until([&] { return f.service.alive == 0 && f.service.log.size() == 1; }));
  CHECK(f.service.log.at(0).error == "the client hung up");
}

TEST_CASE("client and server speak to each other, over one connection") {
  SocketFixture f;
  http::PooledClient client(f.loop, f.dialer, f.metrics);
  for (const std::string target : {"/one", "/stream?300000", "/big?300000", "/four"}) {
    Asking asking;
    http::ClientRequest request;
    request.where.host = "127.0.0.1";
    request.where.port = f.port;
    request.where.tls = false;
    request.head.method = "GET";
    request.head.target = target;
    asking.request = client.start(std::move(request), [&asking](Result<http::ClientResponse> got) {
      asking.on_response(std::move(got));
    });
    REQUIRE(f.run_until([&] { return asking.complete || asking.error; }));
    CHECK_FALSE(asking.error);
    CHECK(asking.body.size() == (target.size() > 6 ? 300'000u : target.size()));
  }
  CHECK(f.metrics.total("layerd_upstream_connections_opened_total") == 1);
  CHECK(f.metrics.total("layerd_upstream_connections_reused_total") == 3);
}

}  // namespace
}  // namespace layerd::test
