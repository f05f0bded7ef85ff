// A Loop on virtual time for a thousand nodes in one process: timers in a heap, taken back in no time. One
// thread. (tests/support/virtual_loop.h is the small one for unit tests.)
#pragma once

#include <deque>
#include <functional>
#include <queue>
#include <vector>

#include "runtime/loop.h"

namespace layerd::sim {

class SimLoop final : public Loop {
 public:
  TimePoint now() const override { return now_; }
  WallTime wall_now() const override {
    return WallTime(std::chrono::seconds(1'700'000'000)) + now_.time_since_epoch();
  }
  Ticket post(Callback<void()> task) override { return after(Duration::zero(), "", std::move(task)); }
  void post_detached(Callback<void()> task) override { at(now_, std::move(task)); }
  Ticket after(Duration wait, const char*, Callback<void()> task) override;
  void post_remote(Callback<void()> task) override { at(now_, std::move(task)); }
  bool on_loop_thread() const override { return true; }

  // An event that is not taken back: the network's.
  void at(TimePoint when, Callback<void()> task);
  // Until `is_over` or nothing is left to happen or `limit` has come. Answers is_over(). A moment in which
  // more happens than a thousand nodes can have to do in it is a loop that takes no time: false as well.
  bool run(const std::function<bool()>& is_over, TimePoint limit);
  std::uint64_t events() const { return events_; }
  bool is_looping() const { return in_moment_ > kMostInMoment; }

 private:
  struct Entry {
    TimePoint when;
    std::uint64_t number;
    std::shared_ptr<Callback<void()>> task;  // empty once taken back
    bool operator<(const Entry& other) const {
      return when != other.when ? when > other.when : number > other.number;
    }
  };
  static constexpr std::uint64_t kMostInMoment = 50'000;
  TimePoint now_{std::chrono::hours(1)};
  std::uint64_t in_moment_ = 0;  // events of this very moment
  std::uint64_t number_ = 0, events_ = 0;
  std::priority_queue<Entry> entries_;
};

inline Duration seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}
inline double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace layerd::sim
