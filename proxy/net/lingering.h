// Lingering: sockets whose stream is gone and which wait for the peer's FIN, so that the peer sees a
// FIN and no reset. Destroying it (after the streams, or before) closes what still waits. Loop thread.
#pragma once

#include <list>
#include <memory>

#include "proxy/net/tcp_socket.h"

namespace layerd::net {

class Lingering {
 public:
  // At most this many wait; more are closed at once.
  static constexpr std::size_t kMost = 512;

  void add(std::unique_ptr<TcpSocket> socket);
  std::size_t size() const { return sockets_.size(); }
  // Closes all, and whatever comes later at once: at the end of the program.
  void close_all();

 private:
  std::list<std::unique_ptr<TcpSocket>> sockets_;
  bool is_closed_ = false;
};

}  // namespace layerd::net
