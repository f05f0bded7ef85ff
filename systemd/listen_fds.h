// Sockets that systemd opened for us (sd_listen_fds(3)): the socket unit owns the port from boot on.
// They are matched to the configured listeners by address, never by order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/result.h"

namespace layerd::systemd {

struct InheritedSocket {
  int fd = -1;
  // "127.0.0.1:5151", "[::1]:5151", "/run/layerd/admin.sock"; empty for something else.
  std::string address;
  std::string name;  // of LISTEN_FDNAMES, may be empty
};

// Reads and clears $LISTEN_PID, $LISTEN_FDS, $LISTEN_FDNAMES; sets close-on-exec and non-blocking.
// first_fd is 3 but for tests. Errors: config when the variables are malformed.
Result<std::vector<InheritedSocket>> inherited_sockets(int first_fd = 3);

// The address a bound socket has, written as above; empty if it has none we know.
std::string address_of_socket(int fd);

// Takes the socket whose address is `address` out of `sockets`: its fd, or -1. A wildcard address of
// the same family ("0.0.0.0:5151", "[::]:5151") matches only itself.
int take_socket(std::vector<InheritedSocket>& sockets, const std::string& address);

}  // namespace layerd::systemd
