// Arbitrary bytes in arbitrary pieces as the answer of an upstream. The first byte chooses the size of
// the pieces, the method and how the upstream leaves.
#include <cstdint>
#include <string_view>

#include "proxy/http/client.h"
#include "proxy/http/client_connection.h"
#include "tests/support/memory_stream.h"
#include "tests/support/virtual_loop.h"

namespace {

using namespace layerd;

struct Reader {
  http::ClientConnection& connection;
  ByteCount taken = 0;
  Ticket pending;

  void read() {
    pending = connection.read_body(http::kMostBodyRead, std::chrono::seconds(30), [this](Result<Bytes> got) {
      if (!got || got->empty()) return;
      taken += got->size();
      LAYERD_CHECK(!connection.body_length() || taken <= *connection.body_length());
      read();
    });
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned choice = data[0];
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  test::VirtualLoop loop;
  auto [stream, upstream] = test::memory_stream(loop);
  http::ClientConnection connection(loop, std::move(stream), "fuzz:80");
  Reader reader{connection, 0, {}};
  const auto deadline = Deadline::in(loop.now(), std::chrono::seconds(10));
  const bool is_head = (choice & 0x20) != 0;
  const Ticket asked = connection.request(is_head ? "HEAD / HTTP/1.1\r\n\r\n" : "GET / HTTP/1.1\r\n\r\n",
                                          is_head, deadline, [&reader](Result<http::ResponseHead> head) {
                                            if (head) reader.read();
                                          });
  upstream.set_piece(1 + choice % 32);
  upstream.send(input);
  loop.run();
  if ((choice & 0x40) != 0) upstream.send_end();
  if ((choice & 0x80) != 0) upstream.reset();
  loop.advance(std::chrono::minutes(1));
  connection.skip_rest();
  return 0;
}
