// A ByteStream without a socket, for tests and fuzz targets: what the other side sends and takes is
// said through a MemoryPeer. Answers are posted to the loop, as a real stream's are.
#pragma once

#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/net/stream.h"
#include "runtime/loop.h"

namespace layerd::test {

struct MemoryWire;  // what both sides share

// The far side of a MemoryStream. May outlive the stream.
class MemoryPeer {
 public:
  explicit MemoryPeer(std::shared_ptr<MemoryWire> wire) : wire_(std::move(wire)) {}

  void send(std::string_view bytes);
  void send_end();     // FIN
  void reset();        // reads and writes fail from now on
  void fail_writes();  // writes fail from now on; reads do not
  // Reads hand out at most this many bytes at a time.
  void set_piece(std::size_t bytes);
  // How many more bytes the stream's kernel takes: 0 stalls its writer. Unlimited at first.
  void set_room(std::size_t bytes);

  std::string take();  // what the stream has sent since the last call
  std::string_view seen() const;
  bool got_end() const;    // the stream has shut down its side, or is closed
  bool is_closed() const;  // the stream is destroyed
  bool is_read() const;    // a read is outstanding
  std::size_t unread() const;

 private:
  std::shared_ptr<MemoryWire> wire_;
};

// The stream and its far side. local and peer are made-up loopback addresses.
std::pair<net::ByteStreamPtr, MemoryPeer> memory_stream(Loop& loop);

}  // namespace layerd::test
