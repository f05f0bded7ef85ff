#include "proxy/net/tcp_stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace layerd::net {
namespace {

constexpr int kIdleSeconds = 60, kProbeSeconds = 15, kProbes = 4;

void set(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

}  // namespace

void tune_socket(int fd) {
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, kIdleSeconds);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, kProbeSeconds);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, kProbes);
}

TcpStream::TcpStream(UvLoop& loop, Workers& workers, Fd fd, Address peer, Address local,
                     std::shared_ptr<Lingering> lingering, std::shared_ptr<void> seat)
    : socket_(std::make_unique<TcpSocket>(loop, workers, std::move(fd), std::move(seat))),
      lingering_(std::move(lingering)),
      peer_(std::move(peer)),
      local_(std::move(local)) {}

TcpStream::~TcpStream() {
  if (lingering_) lingering_->add(std::move(socket_));
}

}  // namespace layerd::net
