// Who holds the other end of a connection from this machine: the user and the cgroup, as the kernel
// says it (sock_diag(7), linux/inet_diag.h). Loop thread: one exchange with the kernel, a few
// microseconds, no waiting.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "proxy/net/fd.h"
#include "proxy/net/stream.h"

namespace layerd::net {

struct SocketOwner {
  uid_t uid = 0;             // who made the socket
  std::uint64_t cgroup = 0;  // of the unified hierarchy; 0: the kernel does not tell
};

class SocketOwners {
 public:
  virtual ~SocketOwners() = default;
  // The owner of the connected socket at `peer` whose other end is our `local`. Nothing: there is no such
  // socket in our network namespace (another machine, a pod with a network of its own), nobody holds it
  // any more, or the kernel cannot say.
  virtual std::optional<SocketOwner> find(const Address& peer, const Address& local) = 0;
};

class KernelSocketOwners final : public SocketOwners {
 public:
  KernelSocketOwners();
  // False: sock_diag is closed to us; find() answers nothing.
  bool works() const { return netlink_.is_open(); }
  std::optional<SocketOwner> find(const Address& peer, const Address& local) override;

 private:
  Fd netlink_;
  std::uint32_t sequence_ = 0;
};

// What is known of one connection; kept with it, since its other end never changes hands unseen.
struct OwnerSlot {
  bool was_looked_for = false;
  std::optional<SocketOwner> owner;
};

}  // namespace layerd::net
