// Arbitrary bytes in arbitrary pieces to a server connection. The first byte chooses the size of the
// pieces and how the client leaves; the service answers at once, streams, or waits, by the length of the
// target.
#include <cstdint>
#include <memory>
#include <string_view>

#include "proxy/http/server.h"
#include "tests/support/memory_stream.h"
#include "tests/support/virtual_loop.h"

namespace {

using namespace layerd;

struct Streaming final : http::Handler {
  explicit Streaming(http::Exchange& exchange_) : exchange(exchange_) {
    exchange.begin({}, exchange.is_head() ? 0 : 3);
    if (!exchange.is_head()) pending = exchange.send(Bytes::copy_of("abc"), [this] { exchange.finish(); });
  }
  http::Exchange& exchange;
  Ticket pending;
};

struct FuzzService final : http::Service {
  std::unique_ptr<http::Handler> serve(http::Exchange& exchange) override {
    switch (exchange.request().target.size() % 4) {
      case 0:
        return std::make_unique<Streaming>(exchange);
      case 1:
        return std::make_unique<http::Handler>();
      default:
        exchange.respond({}, exchange.request().target);
        return nullptr;
    }
  }
  void ended(const Summary& summary) override { LAYERD_CHECK(summary.peer != nullptr); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned choice = data[0];
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  test::VirtualLoop loop;
  Metrics metrics;
  FuzzService service;
  http::Server server(loop, service, metrics);
  auto [stream, client] = test::memory_stream(loop);
  server.adopt(std::move(stream));
  client.set_piece(1 + choice % 64);
  client.send(input);
  loop.run();
  if ((choice & 0x40) != 0) client.send_end();
  if ((choice & 0x80) != 0) client.reset();
  loop.advance(std::chrono::minutes(10));
  return 0;
}
