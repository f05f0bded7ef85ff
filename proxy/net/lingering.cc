#include "proxy/net/lingering.h"

namespace layerd::net {

void Lingering::add(std::unique_ptr<TcpSocket> socket) {
  if (is_closed_ || socket->may_close() || sockets_.size() >= kMost) return;
  const auto entry = sockets_.insert(sockets_.end(), std::move(socket));
  // The socket is in our list, so we are there when it calls.
  (*entry)->linger([this, entry] { sockets_.erase(entry); });
}

void Lingering::close_all() {
  is_closed_ = true;
  sockets_.clear();
}

}  // namespace layerd::net
