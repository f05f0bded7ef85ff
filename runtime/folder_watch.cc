#include "runtime/folder_watch.h"

namespace layerd {

struct FolderWatch::Block {
  uv_fs_event_t handle{};
  Callback<void()> stirred;
};

FolderWatch::FolderWatch(UvLoop& loop, const std::string& folder, Callback<void()> stirred)
    : block_(new Block) {
  block_->stirred = std::move(stirred);
  uv_fs_event_init(loop.raw(), &block_->handle);
  block_->handle.data = block_;
  works_ = uv_fs_event_start(
               &block_->handle,
               [](uv_fs_event_t* handle, const char*, int, int) noexcept {
                 static_cast<Block*>(handle->data)->stirred();
               },
               folder.c_str(), 0) == 0;
  uv_unref(reinterpret_cast<uv_handle_t*>(&block_->handle));
}

FolderWatch::~FolderWatch() {
  uv_close(reinterpret_cast<uv_handle_t*>(&block_->handle),
           [](uv_handle_t* handle) noexcept { delete static_cast<Block*>(handle->data); });
}

}  // namespace layerd
