// A real loop with workers for tests of sockets; closed, and with that checked for handles left open,
// when the test ends. Declare it first.
#pragma once

#include <chrono>
#include <optional>

#include "runtime/uv_loop.h"
#include "runtime/workers.h"

namespace layerd::test {

struct NetLoop {
  UvLoop loop;
  std::optional<Workers> pool{std::in_place, loop, 2u};

  Workers& workers() { return *pool; }
  ~NetLoop() {
    pool.reset();
    loop.close();
  }
  // Turns the loop until `is_so` or for five seconds; false when time ran out.
  template <class Predicate>
  bool until(Predicate is_so, std::chrono::seconds most = std::chrono::seconds(5)) {
    const auto limit = std::chrono::steady_clock::now() + most;
    while (!is_so()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      loop.run_once(std::chrono::milliseconds(20));
    }
    return true;
  }
};

}  // namespace layerd::test
