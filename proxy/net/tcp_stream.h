// TcpStream: a ByteStream over a connected TCP or Unix socket. Loop thread.
//
// Its end: bytes that were queued still leave (files do not), FIN follows, and with a Lingering given
// the socket stays until the peer's FIN or for two seconds, so that the peer never meets a reset.
// Without one (connections we dialled) the descriptor is closed at once.
#pragma once

#include <memory>

#include "proxy/net/lingering.h"
#include "proxy/net/tcp_socket.h"

namespace layerd::net {

class TcpStream final : public ByteStream {
 public:
  // fd: connected, non-blocking. seat: let go when the descriptor is closed; may be null.
  TcpStream(UvLoop& loop, Workers& workers, Fd fd, Address peer, Address local,
            std::shared_ptr<Lingering> lingering = nullptr, std::shared_ptr<void> seat = nullptr);
  ~TcpStream() override;

  Ticket read(std::size_t max, Done<Bytes> done) override { return socket_->read(max, std::move(done)); }
  Ticket write(Bytes bytes, Done<Ok> done) override {
    return socket_->write(std::move(bytes), std::move(done));
  }
  void write_detached(Bytes bytes) override { socket_->write_detached(std::move(bytes)); }
  std::size_t try_write(ByteView bytes) override { return socket_->try_write(bytes); }
  Ticket send_file(FilePtr file, ByteRange range, bool more_follows, Done<Ok> done) override {
    return socket_->send_file(std::move(file), range, more_follows, std::move(done));
  }
  void shut_down() override { socket_->shut_down(); }
  const Address& peer() const override { return peer_; }
  const Address& local() const override { return local_; }

 private:
  std::unique_ptr<TcpSocket> socket_;
  std::shared_ptr<Lingering> lingering_;
  Address peer_, local_;
};

// No delay, and keep-alive: a dead peer is found after about two minutes.
void tune_socket(int fd);

}  // namespace layerd::net
