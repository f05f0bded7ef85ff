// Listener: accepts connections on TCP addresses, Unix sockets and inherited descriptors, and hands
// each over as a ByteStream. Bounded: at `most` connections it stops accepting, the kernel's backlog
// waits. Loop thread. Destroying it stops listening; streams it gave out live on.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/net/tcp_stream.h"

namespace layerd::net {

struct PeerCredentials {  // of the other end of a Unix socket, as the kernel says
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
};

struct Accepted {
  ByteStreamPtr stream;
  std::optional<PeerCredentials> credentials;  // Unix sockets only
};

struct ListenerSettings {
  std::size_t most = 4096;  // connections at once over all addresses
  int backlog = 1024;
  int unsent = 0;  // bytes of a connection that wait in the kernel unsent, at most; 0: as the kernel has it
};

class Listener {
 public:
  Listener(UvLoop& loop, Workers& workers, ListenerSettings settings, Callback<void(Accepted)> accepted);
  // Closes connections that wait only for their peer's FIN.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Binds and listens; answers the address with the port the kernel chose for 0. "::" takes IPv4 as well, and
  // is 0.0.0.0 where the kernel has no IPv6. Errors: config, naming the address and the cause (in use, not
  // ours, no permission).
  Result<Address> listen(const Address& address);
  // Takes over a listening stream socket (systemd socket activation). On an error it stays the caller's.
  Result<Address> adopt(int fd);
  // A socket left behind by a dead process is replaced; a living one is an error. The path is removed
  // when the Listener goes.
  Result<Ok> listen_unix(const std::string& path, mode_t mode);
  // No more connections; those there are live on. The ports are free again.
  void stop();

  const std::vector<Address>& addresses() const { return addresses_; }
  std::size_t connections() const;
  // Connections closed at once because no descriptor was left.
  std::uint64_t turned_away() const { return turned_away_; }

 private:
  struct Socket;
  struct Seats;
  Result<Address> begin(Fd fd, bool is_unix);
  void on_ready(Socket& socket);
  void out_of_descriptors(Socket& socket);
  void pause();
  void resume();

  UvLoop& loop_;
  Workers& workers_;
  ListenerSettings settings_;
  Callback<void(Accepted)> accepted_;
  std::shared_ptr<Lingering> lingering_;
  std::shared_ptr<Seats> seats_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::vector<Address> addresses_;
  std::vector<std::string> paths_;
  Fd spare_;  // given up for a moment to turn a connection away when descriptors have run out
  std::uint64_t turned_away_ = 0;
  Ticket pause_;
};

}  // namespace layerd::net
