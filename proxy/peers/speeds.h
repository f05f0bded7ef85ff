// Speeds: how fast units came lately and how fast everything together once came, for the watchdog to compare
// with. Loop thread.
#pragma once

#include <algorithm>
#include <deque>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/clock.h"

namespace layerd::peers {

class Speeds {
 public:
  // bytes per second of a unit that is complete
  void note(double rate) {
    rates_.push_back(rate);
    if (rates_.size() > 16) rates_.pop_front();
  }
  // Of the last units; 0 before there are a few.
  double median() const {
    if (rates_.size() < 4) return 0;
    std::vector<double> sorted(rates_.begin(), rates_.end());
    const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
    std::nth_element(sorted.begin(), middle, sorted.end());
    return *middle;
  }

  // bytes per second of one of our own upstream requests; the best of some seconds counts
  void upstream(double rate, TimePoint now) {
    if (rate < upstream_ && now - upstream_at_ < std::chrono::seconds(5)) return;
    upstream_ = rate;
    upstream_at_ = now;
  }
  // Is a request of our own known to bring less than that? Then another way to upstream is of no use.
  bool upstream_brings_less(double rate, TimePoint now) const {
    return upstream_ > 0 && now - upstream_at_ < std::chrono::seconds(60) && upstream_ < rate;
  }

  // Bytes from anywhere.
  void received(ByteCount bytes, TimePoint now) {
    if (now - second_began_ >= std::chrono::seconds(1)) {
      const std::chrono::duration<double> passed = now - second_began_;
      last_ = static_cast<double>(in_second_) / passed.count();
      best_ = std::max(best_ * 0.995, last_);
      second_began_ = now;
      in_second_ = 0;
    }
    in_second_ += bytes;
  }
  // bytes per second of all streams together, in the best second so far; an old best counts less with time
  double best_of_all() const { return best_; }
  // The same of the last second, or longer, in which anything came.
  double present(TimePoint now) const {
    const std::chrono::duration<double> passed = now - second_began_;
    return passed.count() < 1 ? last_ : static_cast<double>(in_second_) / passed.count();
  }

 private:
  std::deque<double> rates_;
  TimePoint second_began_{};
  ByteCount in_second_ = 0;
  double last_ = 0, best_ = 0;
  double upstream_ = 0;
  TimePoint upstream_at_{};
};

}  // namespace layerd::peers
