// Speeds: how fast the last units came, for the watchdog to compare with. Loop thread.
#pragma once

#include <algorithm>
#include <deque>
#include <vector>

namespace layerd::peers {

class Speeds {
 public:
  // bytes per second of a unit that is complete
  void note(double rate) {
    rates_.push_back(rate);
    if (rates_.size() > 16) rates_.pop_front();
  }
  // Nothing (0) before there are a few.
  double median() const {
    if (rates_.size() < 4) return 0;
    std::vector<double> sorted(rates_.begin(), rates_.end());
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                     sorted.end());
    return sorted[sorted.size() / 2];
  }

 private:
  std::deque<double> rates_;
};

}  // namespace layerd::peers
