// Signals as tasks on the loop. Loop thread.
#pragma once

#include <memory>

#include "runtime/callback.h"
#include "runtime/uv_loop.h"

namespace layerd {

// Calls `caught` on the loop each time `signal_number` arrives, until destroyed.
class SignalWatch {
 public:
  SignalWatch(UvLoop& loop, int signal_number, Callback<void()> caught);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  struct Block;
  Block* block_;  // freed when libuv has closed its handle
};

}  // namespace layerd
