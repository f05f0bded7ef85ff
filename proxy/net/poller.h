// Poller: says when a descriptor is readable or writable. The one place of this floor that uses libuv:
// sockets are plain descriptors, so that recv, send, sendfile and accept are called directly
// (docs/decisions/0003). Loop thread. The descriptor belongs to the caller and may be closed as soon
// as the Poller is gone.
#pragma once

#include "runtime/callback.h"
#include "runtime/uv_loop.h"

namespace layerd::net {

class Poller {
 public:
  static constexpr int kReadable = 1, kWritable = 2;
  // The events that are there (never none), level-triggered; an error on the descriptor counts as both.
  using Ready = Callback<void(int events)>;

  // `ready` may destroy the Poller.
  Poller(UvLoop& loop, int fd, Ready ready);
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // The events to wait for from now on; 0 for none. Costs two system calls when it changes.
  void watch(int events);
  int watched() const;

 private:
  struct Block;
  Block* block_;
};

}  // namespace layerd::net
