#include "runtime/signals.h"

namespace layerd {

struct SignalWatch::Block {
  uv_signal_t handle{};
  Callback<void()> caught;
};

SignalWatch::SignalWatch(UvLoop& loop, int signal_number, Callback<void()> caught) : block_(new Block) {
  block_->caught = std::move(caught);
  uv_signal_init(loop.raw(), &block_->handle);
  block_->handle.data = block_;
  uv_signal_start(
      &block_->handle, [](uv_signal_t* handle, int) noexcept { static_cast<Block*>(handle->data)->caught(); },
      signal_number);
  uv_unref(reinterpret_cast<uv_handle_t*>(&block_->handle));
}

SignalWatch::~SignalWatch() {
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->handle),
           [](uv_handle_t* handle) noexcept { delete static_cast<Block*>(handle->data); });
}

}  // namespace layerd
