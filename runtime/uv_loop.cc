#include "runtime/uv_loop.h"

#include <cstdio>

namespace layerd {
namespace {

constexpr std::uint64_t kLagTickMs = 1000;

struct PostedTask final : Operation {
  explicit PostedTask(Callback<void()> call) : task(std::move(call)) {}
  void cancel() noexcept override { auto dropped = std::move(task); }
  Callback<void()> task;
};

}  // namespace

// A timer owns itself through `self` while libuv names it; closing lets go.
struct UvLoop::Timer final : Operation {
  Timer(UvLoop& loop, const char* what, Callback<void()> call)
      : task(std::move(call)), entry(loop.ledger(), what, {}, loop.now()) {}
  void cancel() noexcept override {
    auto dropped = std::move(task);
    close();
  }
  void close() noexcept {
    if (closing) return;
    closing = true;
    uv_close(reinterpret_cast<uv_handle_t*>(&handle),
             [](uv_handle_t* h) noexcept { auto keep = std::move(static_cast<Timer*>(h->data)->self); });
  }
  uv_timer_t handle{};
  Callback<void()> task;
  LedgerEntry entry;
  bool closing = false;
  std::shared_ptr<Timer> self;
};

UvLoop::UvLoop() : thread_(std::this_thread::get_id()) {
  LAYERD_CHECK(uv_loop_init(&uv_) == 0);
  uv_check_init(&uv_, &check_);
  uv_prepare_init(&uv_, &prepare_);
  uv_idle_init(&uv_, &idle_);
  uv_timer_init(&uv_, &lag_tick_);
  LAYERD_CHECK(uv_async_init(&uv_, &wake_, on_wake) == 0);
  check_.data = prepare_.data = idle_.data = wake_.data = lag_tick_.data = this;
  uv_check_start(&check_, on_check);
  uv_prepare_start(&prepare_, on_prepare);
  uv_unref(reinterpret_cast<uv_handle_t*>(&check_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&lag_tick_));
}

UvLoop::~UvLoop() {
  if (!closed_) close();
}

void UvLoop::run() {
  thread_ = std::this_thread::get_id();
  running_ = true;
  lag_due_ns_ = uv_hrtime() + kLagTickMs * 1'000'000;
  uv_timer_start(&lag_tick_, on_lag_tick, kLagTickMs, kLagTickMs);
  uv_run(&uv_, UV_RUN_DEFAULT);
  uv_timer_stop(&lag_tick_);
  running_ = false;
}

void UvLoop::stop() { uv_stop(&uv_); }

void UvLoop::run_once(Duration wait) {
  thread_ = std::this_thread::get_id();
  auto wake = after(wait, "run_once", [] {});
  uv_run(&uv_, UV_RUN_ONCE);
}

void UvLoop::close() {
  {
    std::lock_guard lock(remote_mutex_);
    remote_open_ = false;
  }
  // Late answers of workers and posted tasks still run: what they hold is let go on the loop.
  for (int turn = 0; turn < 64; ++turn) {
    drain();
    if (posted_.empty() && uv_run(&uv_, UV_RUN_NOWAIT) == 0) break;
  }
  for (auto* handle : {reinterpret_cast<uv_handle_t*>(&check_), reinterpret_cast<uv_handle_t*>(&prepare_),
                       reinterpret_cast<uv_handle_t*>(&idle_), reinterpret_cast<uv_handle_t*>(&wake_),
                       reinterpret_cast<uv_handle_t*>(&lag_tick_)})
    if (!uv_is_closing(handle)) uv_close(handle, nullptr);
  for (int turn = 0; turn < 1000 && uv_run(&uv_, UV_RUN_NOWAIT) != 0; ++turn) {
  }
  closed_ = true;
  if (uv_loop_close(&uv_) == 0) return;
  std::fprintf(stderr, "layerd: the loop was closed with handles open:\n");
  uv_print_all_handles(&uv_, stderr);
  for (const auto& row : ledger().rows())
    std::fprintf(stderr, "  outstanding: %s %s\n", row.what, row.detail.c_str());
#ifdef LAYERD_DEBUG
  LAYERD_CHECK(!"every handle is closed before the loop");
#endif
}

TimePoint UvLoop::now() const {
  // uv_now() has millisecond steps of the same clock as steady_clock; hrtime is exact and as cheap.
  return TimePoint(Duration(static_cast<std::int64_t>(uv_hrtime())));
}

WallTime UvLoop::wall_now() const { return std::chrono::system_clock::now(); }

void UvLoop::arm_idle() {
  if (!uv_is_active(reinterpret_cast<uv_handle_t*>(&idle_))) uv_idle_start(&idle_, on_idle);
}

Ticket UvLoop::post(Callback<void()> task) {
  auto posted = std::make_shared<PostedTask>(std::move(task));
  post_detached([posted] {
    if (auto call = std::move(posted->task)) call();
  });
  return Ticket(posted);
}

void UvLoop::post_detached(Callback<void()> task) {
  LAYERD_ON_LOOP(*this);
  posted_.push_back(std::move(task));
  arm_idle();
}

// Runs what was posted before this turn; what those tasks post runs in the next one, so that
// sockets and timers get their share.
void UvLoop::drain() {
  for (std::size_t left = posted_.size(); left > 0; --left) {
    auto task = std::move(posted_.front());
    posted_.pop_front();
    task();
  }
  if (posted_.empty()) uv_idle_stop(&idle_);
}

Ticket UvLoop::after(Duration wait, const char* what, Callback<void()> task) {
  LAYERD_ON_LOOP(*this);
  auto timer = std::make_shared<Timer>(*this, what, std::move(task));
  uv_timer_init(&uv_, &timer->handle);
  timer->handle.data = timer.get();
  timer->self = timer;
  uv_update_time(&uv_);
  const auto ms = std::max<std::int64_t>(0, (wait.count() + 999'999) / 1'000'000);
  uv_timer_start(
      &timer->handle,
      [](uv_timer_t* handle) noexcept {
        auto* fired = static_cast<Timer*>(handle->data);
        auto call = std::move(fired->task);
        fired->close();
        if (call) call();
      },
      static_cast<std::uint64_t>(ms), 0);
  return Ticket(timer);
}

void UvLoop::post_remote(Callback<void()> task) {
  std::lock_guard lock(remote_mutex_);
  if (!remote_open_) return;
  remote_.push_back(std::move(task));
  uv_async_send(&wake_);
}

bool UvLoop::on_loop_thread() const { return std::this_thread::get_id() == thread_; }

void UvLoop::on_check(uv_check_t* handle) noexcept { static_cast<UvLoop*>(handle->data)->drain(); }

void UvLoop::on_prepare(uv_prepare_t* handle) noexcept {
  auto* self = static_cast<UvLoop*>(handle->data);
  if (!self->posted_.empty()) self->arm_idle();
}

void UvLoop::on_idle(uv_idle_t*) noexcept {}  // only keeps the poll from sleeping

void UvLoop::on_wake(uv_async_t* handle) noexcept {
  auto* self = static_cast<UvLoop*>(handle->data);
  std::vector<Callback<void()>> tasks;
  {
    std::lock_guard lock(self->remote_mutex_);
    tasks.swap(self->remote_);
  }
  for (auto& task : tasks) {
    auto call = std::move(task);
    call();
  }
}

void UvLoop::on_lag_tick(uv_timer_t* handle) noexcept {
  auto* self = static_cast<UvLoop*>(handle->data);
  const std::uint64_t now_ns = uv_hrtime();
  const Duration late(now_ns > self->lag_due_ns_ ? static_cast<std::int64_t>(now_ns - self->lag_due_ns_) : 0);
  self->worst_lag_ = std::max(self->worst_lag_, late);
  if (++self->lag_ticks_ % 60 == 0) self->former_lag_ = std::exchange(self->worst_lag_, Duration::zero());
  self->lag_due_ns_ = now_ns + kLagTickMs * 1'000'000;
}

}  // namespace layerd
