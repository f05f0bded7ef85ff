#include "proxy/net/poller.h"

#include <uv.h>

namespace layerd::net {

// Lives until libuv has let go of the handle, and the callback with it.
struct Poller::Block {
  uv_poll_t handle{};
  Ready ready;
  int events = 0;
  bool closed = false;

  static void on_poll(uv_poll_t* handle, int status, int events) noexcept {
    auto* block = static_cast<Block*>(handle->data);
    if (block->closed) return;
    // libuv stops the handle by itself when the descriptor reports an error.
    if (status < 0) block->events = 0;
    block->ready(status < 0 ? kReadable | kWritable : events & (kReadable | kWritable));
  }
  static void on_close(uv_handle_t* handle) noexcept { delete static_cast<Block*>(handle->data); }
};

static_assert(Poller::kReadable == UV_READABLE && Poller::kWritable == UV_WRITABLE);

Poller::Poller(UvLoop& loop, int fd, Ready ready) : block_(new Block) {
  block_->handle.data = block_;
  block_->ready = std::move(ready);
  LAYERD_CHECK(uv_poll_init(loop.raw(), &block_->handle, fd) == 0);
}

Poller::~Poller() {
  block_->closed = true;
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->handle), &Block::on_close);
}

void Poller::watch(int events) {
  if (events == block_->events) return;
  block_->events = events;
  if (events == 0) {
    uv_poll_stop(&block_->handle);
  } else {
    uv_poll_start(&block_->handle, events, &Block::on_poll);
  }
}

int Poller::watched() const { return block_->events; }

}  // namespace layerd::net
