// A pooled client on virtual time whose dialler makes streams in memory; the test plays the upstream.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/http/client_pool.h"
#include "tests/support/catch.h"
#include "tests/support/memory_stream.h"
#include "tests/support/virtual_loop.h"

namespace layerd::test {

struct MemoryDialer final : net::Dialer {
  explicit MemoryDialer(Loop& loop_) : loop(loop_) {}
  Ticket dial(const net::DialRequest& request, Done<net::ByteStreamPtr> done) override {
    ++dialled;
    last = request;
    if (hang) return ticket_for([held = std::move(done)]() mutable { held = nullptr; });
    return loop.post([this, done = std::move(done)]() mutable {
      if (failure) return done(*failure);
      auto [stream, peer] = memory_stream(loop);
      if (piece != 0) peer.set_piece(piece);
      peers.push_back(peer);
      done(std::move(stream));
    });
  }
  Loop& loop;
  int dialled = 0;
  bool hang = false;
  std::size_t piece = 0;
  std::optional<Error> failure;
  net::DialRequest last;
  std::vector<MemoryPeer> peers;
};

// One request and what came of it. Reads its body to the end unless told otherwise.
struct Asking {
  std::optional<http::ClientResponse> response;
  std::optional<Error> error;
  std::string body;
  bool complete = false;
  bool reads = true;
  std::size_t most = http::kMostBodyRead;  // of one read
  std::size_t largest = 0;                 // piece that came
  Ticket request, reading;

  void on_response(Result<http::ClientResponse> got) {
    if (!got) {
      error = got.error();
      return;
    }
    response = std::move(*got);
    if (reads) read();
  }
  void read() {
    reading = response->body->read(most, [this](Result<Bytes> got) {
      if (!got) {
        error = got.error();
      } else if (got->empty()) {
        complete = true;
      } else {
        body += got->view();
        largest = std::max(largest, got->size());
        read();
      }
    });
  }
};

struct ClientFixture {
  explicit ClientFixture(http::ClientLimits limits = {})
      : dialer(loop), client(std::make_unique<http::PooledClient>(loop, dialer, metrics, limits)) {}

  http::ClientRequest request(const std::string& target = "/", const std::string& method = "GET") {
    http::ClientRequest made;
    made.where.host = "registry.test";
    made.where.deadline = Deadline::in(loop.now(), std::chrono::seconds(5));
    made.head.method = method;
    made.head.target = target;
    made.head_deadline = Deadline::in(loop.now(), std::chrono::seconds(10));
    return made;
  }
  void start(Asking& asking, http::ClientRequest asked) {
    asking.request = client->start(std::move(asked), [&asking](Result<http::ClientResponse> got) {
      asking.on_response(std::move(got));
    });
    loop.run();
  }
  void start(Asking& asking) { start(asking, request()); }
  MemoryPeer& upstream() { return dialer.peers.back(); }
  void answer(std::string_view text) {
    upstream().send(text);
    loop.run();
  }

  VirtualLoop loop;
  Metrics metrics;
  MemoryDialer dialer;
  std::unique_ptr<http::PooledClient> client;
};

}  // namespace layerd::test
