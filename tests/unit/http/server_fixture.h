// A server on virtual time with clients in memory, and a service whose answers a test chooses by the
// path it asks for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "proxy/http/server.h"
#include "tests/support/catch.h"
#include "tests/support/memory_stream.h"
#include "tests/support/virtual_loop.h"

namespace layerd::test {

struct Ended {
  std::string method, target;
  int status;
  ByteCount body_bytes;
  bool complete;
  std::string error;
  std::vector<std::pair<std::string, std::string>> notes;
};

// Counts itself, so that a test sees when it is destroyed.
struct CountedHandler : http::Handler {
  explicit CountedHandler(int& alive_) : alive(alive_) { ++alive; }
  ~CountedHandler() override { --alive; }
  CountedHandler(const CountedHandler&) = delete;
  int& alive;
};

// Sends `size` bytes in pieces, each after the one before was taken.
struct StreamingHandler : CountedHandler {
  StreamingHandler(int& alive_, http::Exchange& exchange_, std::size_t size, std::size_t piece_)
      : CountedHandler(alive_), exchange(exchange_), left(size), piece(piece_) {}
  void start(ByteCount promised) {
    exchange.begin({}, promised);
    pump();
  }
  void pump() {
    if (left == 0) return exchange.finish();
    const std::size_t size = std::min(left, piece);
    left -= size;
    Bytes bytes(size);
    std::fill_n(bytes.data(), size, 'x');
    pending = exchange.send(std::move(bytes), [this] { pump(); });
  }
  http::Exchange& exchange;
  std::size_t left, piece;
  Ticket pending;
};

//   /stream?N     N bytes in pieces of 1000     /short?N   promises N + 1 bytes and finishes
//   /wait         answers nothing by itself     /big?N     N bytes by respond()
//   /head?N       respond_head()                /kept      the body of the request
//   else          its own target by respond()
struct TestService final : http::Service {
  std::unique_ptr<http::Handler> serve(http::Exchange& exchange) override {
    ++served;
    current = &exchange;
    const std::string target = exchange.request().target;
    const auto question = target.find('?');
    const std::string path = target.substr(0, question);
    const std::size_t number = question == std::string::npos ? 0 : std::stoul(target.substr(question + 1));
    exchange.note("path", path);
    if (path == "/wait") return std::make_unique<CountedHandler>(alive);
    if (path == "/stream" || path == "/short") {
      auto handler = std::make_unique<StreamingHandler>(alive, exchange, number, 1000);
      handler->start(number + (path == "/short" ? 1 : 0));
      return handler;
    }
    if (path == "/kept") {
      exchange.respond({}, std::string(exchange.request_body()));
    } else if (path == "/head") {
      exchange.respond_head({}, number);
    } else {
      exchange.respond({}, path == "/big" ? std::string(number, 'b') : target);
    }
    return nullptr;
  }
  void ended(const Summary& summary) override {
    log.push_back({summary.request->method, summary.request->target, summary.status, summary.body_bytes,
                   summary.complete, summary.error, *summary.notes});
  }
  int alive = 0;
  int served = 0;
  http::Exchange* current = nullptr;
  std::vector<Ended> log;
};

struct ServerFixture {
  explicit ServerFixture(http::ServerLimits limits = {}) : server(loop, service, metrics, limits) {}

  MemoryPeer connect() {
    auto [stream, peer] = memory_stream(loop);
    server.adopt(std::move(stream));
    return peer;
  }
  // Sends and lets everything happen that needs no time.
  std::string ask(MemoryPeer& peer, std::string_view text) {
    peer.send(text);
    loop.run();
    return peer.take();
  }

  VirtualLoop loop;
  Metrics metrics;
  TestService service;
  http::Server server;
};

inline std::string get(const std::string& target, const std::string& headers = {}) {
  return "GET " + target + " HTTP/1.1\r\nHost: layerd\r\n" + headers + "\r\n";
}

inline std::string body_of(const std::string& answer) {
  const auto end = answer.find("\r\n\r\n");
  return end == std::string::npos ? std::string() : answer.substr(end + 4);
}

inline bool begins_with(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}
inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace layerd::test
