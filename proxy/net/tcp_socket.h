// TcpSocket: one connected stream socket (TCP or Unix) with its reading, its send queue and its end.
// What TcpStream is made of; it outlives the stream while the peer's FIN is awaited. Loop thread.
#pragma once

#include <memory>
#include <optional>

#include "proxy/net/fd.h"
#include "proxy/net/poller.h"
#include "proxy/net/send_queue.h"
#include "proxy/net/stream.h"
#include "runtime/ledger.h"

namespace layerd::net {

class TcpSocket {
 public:
  // fd: connected and non-blocking. seat: let go when the descriptor has been closed; may be null.
  TcpSocket(UvLoop& loop, Workers& workers, Fd fd, std::shared_ptr<void> seat);

  Ticket read(std::size_t max, Done<Bytes> done);
  Ticket write(Bytes bytes, Done<Ok> done);
  Ticket send_file(FilePtr file, ByteRange range, bool more_follows, Done<Ok> done);
  void write_detached(Bytes bytes);
  std::size_t try_write(ByteView bytes) { return queue_.try_send(fd_.get(), bytes); }
  void shut_down();

  // True if closing the descriptor now could not reset the connection under the peer.
  bool may_close() const { return (has_ended_ && queue_.empty()) || is_broken_; }
  // Sends what bytes are queued, then FIN, then discards what comes until the peer's FIN, kMostDiscarded
  // bytes or kLingerTime; then calls `ended`, which destroys this.
  void linger(Callback<void()> ended);

  int fd() const { return fd_.get(); }
  UvLoop& loop() { return loop_; }

 private:
  struct Read;
  struct Write;

  void on_ready(int events);
  void flush(Sent& sent);
  void answer_later(Sent sent);
  std::optional<Result<Bytes>> receive(std::size_t max);
  void discard();
  void end_linger();

  UvLoop& loop_;
  std::shared_ptr<void> seat_;  // declared before fd_: given up after it is closed
  Fd fd_;
  std::shared_ptr<Read> read_;
  SendQueue queue_;
  std::size_t guess_;       // how much the next read will probably bring
  bool has_ended_ = false;  // the peer's FIN was read
  bool is_broken_ = false;  // a call on the descriptor failed for good
  bool fin_wanted_ = false;
  bool fin_sent_ = false;
  Callback<void()> ended_;  // set: lingering
  std::size_t discarded_ = 0;
  Ticket linger_time_;
  Poller poller_;  // last: gone before the descriptor
};

}  // namespace layerd::net
