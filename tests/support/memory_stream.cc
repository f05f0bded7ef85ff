#include "tests/support/memory_stream.h"

#include <algorithm>
#include <deque>

namespace layerd::test {

namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

Error broken() { return Error{Errc::upstream_unreachable, "connection reset by peer"}; }

struct Write {
  Bytes bytes;
  std::shared_ptr<Pending<Ok>> call;  // null for a detached one
};

}  // namespace

struct MemoryWire : std::enable_shared_from_this<MemoryWire> {
  explicit MemoryWire(Loop& loop_) : loop(loop_) {}

  Loop& loop;
  std::string incoming, outgoing;
  bool incoming_ended = false, is_reset = false, writes_fail = false;
  bool shut_down = false, closed = false;
  std::size_t piece = kUnlimited, room = kUnlimited;
  std::size_t wanted = 0;  // of the outstanding read
  std::shared_ptr<Pending<Bytes>> read;
  std::deque<Write> writes;

  // Answers the outstanding read, later, if there is something to say.
  void serve_read() {
    if (!read || !(is_reset || incoming_ended || !incoming.empty())) return;
    loop.post_detached([self = shared_from_this(), call = read] {
      if (self->read != call || !call->wanted()) return;
      self->read.reset();
      if (self->is_reset) return call->answer(broken());
      const std::size_t size = std::min({self->incoming.size(), self->wanted, self->piece});
      Bytes bytes = Bytes::copy_of(ByteView(self->incoming).substr(0, size));
      self->incoming.erase(0, size);
      call->answer(std::move(bytes));
    });
  }

  void answer_write(std::shared_ptr<Pending<Ok>> call, bool ok) {
    if (!call) return;
    loop.post_detached([call = std::move(call), ok] { call->answer(ok ? Result<Ok>(Ok{}) : broken()); });
  }

  std::size_t take(ByteView bytes) {
    const std::size_t size = std::min(bytes.size(), room);
    outgoing.append(bytes.substr(0, size));
    if (room != kUnlimited) room -= size;
    return size;
  }

  void serve_writes() {
    const bool fail = is_reset || writes_fail;
    while (!writes.empty()) {
      auto& first = writes.front();
      if (!fail) first.bytes.drop_front(take(first.bytes.view()));
      if (!fail && !first.bytes.empty()) return;
      answer_write(std::move(first.call), !fail);
      writes.pop_front();
    }
  }
};

namespace {

class MemoryStream final : public net::ByteStream {
 public:
  explicit MemoryStream(std::shared_ptr<MemoryWire> wire) : wire_(std::move(wire)) {}
  ~MemoryStream() override {
    wire_->closed = true;
    wire_->read.reset();
    wire_->writes.clear();
  }

  Ticket read(std::size_t max, Done<Bytes> done) override {
    LAYERD_CHECK(max > 0 && (!wire_->read || !wire_->read->wanted()));
    wire_->read = std::make_shared<Pending<Bytes>>(std::move(done));
    wire_->wanted = max;
    auto call = wire_->read;
    wire_->serve_read();
    return Ticket(std::move(call));
  }

  Ticket write(Bytes bytes, Done<Ok> done) override {
    LAYERD_CHECK(!bytes.empty() && !wire_->shut_down);
    auto call = std::make_shared<Pending<Ok>>(std::move(done));
    wire_->writes.push_back({std::move(bytes), call});
    wire_->serve_writes();
    return Ticket(std::move(call));
  }

  void write_detached(Bytes bytes) override {
    LAYERD_CHECK(!bytes.empty() && !wire_->shut_down);
    wire_->writes.push_back({std::move(bytes), nullptr});
    wire_->serve_writes();
  }

  std::size_t try_write(ByteView bytes) override {
    if (!wire_->writes.empty() || wire_->is_reset || wire_->writes_fail) return 0;
    return wire_->take(bytes);
  }

  Ticket send_file(FilePtr file, ByteRange range, bool, Done<Ok> done) override {
    auto bytes = file->read_at(range.first, static_cast<std::size_t>(range.size()));
    LAYERD_CHECK(bytes && bytes->size() == range.size());
    return write(std::move(*bytes), std::move(done));
  }

  void shut_down() override { wire_->shut_down = true; }
  const net::Address& peer() const override { return peer_; }
  const net::Address& local() const override { return local_; }

 private:
  std::shared_ptr<MemoryWire> wire_;
  net::Address peer_{"127.0.0.1", 40000, false};
  net::Address local_{"127.0.0.1", 5151, false};
};

}  // namespace

void MemoryPeer::send(std::string_view bytes) {
  wire_->incoming.append(bytes);
  wire_->serve_read();
}

void MemoryPeer::send_end() {
  wire_->incoming_ended = true;
  wire_->serve_read();
}

void MemoryPeer::reset() {
  wire_->is_reset = true;
  wire_->serve_read();
  wire_->serve_writes();
}

void MemoryPeer::fail_writes() {
  wire_->writes_fail = true;
  wire_->serve_writes();
}

void MemoryPeer::set_piece(std::size_t bytes) { wire_->piece = bytes; }

void MemoryPeer::set_room(std::size_t bytes) {
  wire_->room = bytes;
  wire_->serve_writes();
}

std::string MemoryPeer::take() { return std::exchange(wire_->outgoing, {}); }
std::string_view MemoryPeer::seen() const { return wire_->outgoing; }
bool MemoryPeer::got_end() const { return wire_->closed || (wire_->shut_down && wire_->writes.empty()); }
bool MemoryPeer::is_closed() const { return wire_->closed; }
bool MemoryPeer::is_read() const { return wire_->read && wire_->read->wanted(); }
std::size_t MemoryPeer::unread() const { return wire_->incoming.size(); }

std::pair<net::ByteStreamPtr, MemoryPeer> memory_stream(Loop& loop) {
  auto wire = std::make_shared<MemoryWire>(loop);
  auto stream = std::make_unique<MemoryStream>(wire);
  return {std::move(stream), MemoryPeer(std::move(wire))};
}

}  // namespace layerd::test
