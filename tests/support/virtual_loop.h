// A Loop on virtual time: nothing happens but what was posted, and time passes only when a test says
// so. One thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/loop.h"

namespace layerd::test {

class VirtualLoop final : public Loop {
 public:
  TimePoint now() const override { return now_; }
  WallTime wall_now() const override { return wall_start_ + (now_ - TimePoint{}); }
  Ticket post(Callback<void()> task) override;
  void post_detached(Callback<void()> task) override { posted_.push_back(std::move(task)); }
  Ticket after(Duration wait, const char* what, Callback<void()> task) override;
  void post_remote(Callback<void()> task) override;
  bool on_loop_thread() const override { return true; }

  // Runs what was posted, and what that posts, until nothing is left.
  void run();
  // Runs one posted task; false if there is none.
  bool run_one();
  // Lets time pass, timer by timer, running everything that becomes due.
  void advance(Duration time);
  std::size_t timers() const { return timers_.size(); }

 private:
  using Timers = std::multimap<TimePoint, std::shared_ptr<Pending<Ok>>>;
  struct Timer;

  TimePoint now_{std::chrono::hours(1)};
  WallTime wall_start_{std::chrono::seconds(1'700'000'000)};
  std::deque<Callback<void()>> posted_;
  Timers timers_;
  std::mutex remote_mutex_;
  std::vector<Callback<void()>> remote_;  // guarded by remote_mutex_
};

}  // namespace layerd::test
