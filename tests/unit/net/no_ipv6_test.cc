// A kernel without IPv6 (ipv6.disable=1): a filter of system calls, on a thread of its own, refuses its
// sockets.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <thread>

#include "proxy/net/address.h"
#include "proxy/net/listener.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"

using namespace layerd;
using namespace layerd::net;
using layerd::test::NetLoop;

namespace {

// From now on socket(AF_INET6, ...) of this thread fails with `error`. False: this kernel takes no filters.
bool refuse_ipv6(int error) {
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof steps / sizeof *steps, steps};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

struct Answer {
  bool is_filtered = false;
  std::optional<Result<Address>> bound;
};

Answer listen_without_ipv6(const Address& where, int error) {
  Answer answer;
  NetLoop net;
  Listener listener(net.loop, net.workers(), {}, [](Accepted) {});
  std::thread([&] {
    answer.is_filtered = refuse_ipv6(error);
    if (answer.is_filtered) answer.bound = listener.listen(where);
  }).join();
  return answer;
}

}  // namespace

// rules: everywhere-without-ipv6
TEST_CASE("a listener on every address is one of IPv4 where the kernel has no IPv6") {
  const Answer every = listen_without_ipv6({"::", 0, true}, EAFNOSUPPORT);
  if (!every.is_filtered) {
    WARN("this kernel takes no filter of system calls");
    return;
  }
  INFO((every.bound->ok() ? "" : every.bound->error().message));
  REQUIRE(every.bound->ok());
  CHECK((**every.bound).host == "0.0.0.0");
  CHECK((**every.bound).port != 0);
  // One address is meant, and no other serves in its place; nor is anything else than that a reason.
  CHECK_FALSE(listen_without_ipv6({"::1", 0, true}, EAFNOSUPPORT).bound->ok());
  CHECK_FALSE(listen_without_ipv6({"::", 0, true}, EMFILE).bound->ok());
}
