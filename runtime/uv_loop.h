// The loop on libuv. One per process (one per test). Not copyable; close() before destruction.
#pragma once

#include <uv.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/loop.h"

namespace layerd {

class UvLoop final : public Loop {
 public:
  UvLoop();
  ~UvLoop() override;
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  // Runs until stop(). Posted tasks, timers and sockets are served on the calling thread.
  void run();
  // Ends run() after the current turn. Loop thread; from others by post_remote.
  void stop();
  // One turn: waits at most `wait` for something to happen. For tests.
  void run_once(Duration wait);
  // Closes the loop's own handles and runs until every closing handle has been closed. Handles
  // that others still hold open are named on stderr and end the process in debug builds.
  void close();

  uv_loop_t* raw() { return &uv_; }

  TimePoint now() const override;
  WallTime wall_now() const override;
  Ticket post(Callback<void()> task) override;
  void post_detached(Callback<void()> task) override;
  Ticket after(Duration wait, const char* what, Callback<void()> task) override;
  void post_remote(Callback<void()> task) override;
  bool on_loop_thread() const override;

  // How late the loop was for its periodic tick: the longest in the last one to two minutes.
  Duration worst_lag() const { return std::max(worst_lag_, former_lag_); }

 private:
  struct Timer;
  void drain();
  void arm_idle();
  static void on_check(uv_check_t* handle) noexcept;
  static void on_prepare(uv_prepare_t* handle) noexcept;
  static void on_idle(uv_idle_t* handle) noexcept;
  static void on_wake(uv_async_t* handle) noexcept;
  static void on_lag_tick(uv_timer_t* handle) noexcept;

  uv_loop_t uv_{};
  uv_check_t check_{};
  uv_prepare_t prepare_{};
  uv_idle_t idle_{};
  uv_async_t wake_{};
  uv_timer_t lag_tick_{};
  std::deque<Callback<void()>> posted_;
  std::mutex remote_mutex_;
  std::vector<Callback<void()>> remote_;  // guarded by remote_mutex_
  bool remote_open_ = true;               // guarded by remote_mutex_
  bool closed_ = false;
  bool running_ = false;
  std::thread::id thread_;
  std::uint64_t lag_due_ns_ = 0;
  Duration worst_lag_{}, former_lag_{};  // of this minute and of the one before
  unsigned lag_ticks_ = 0;
};

}  // namespace layerd
