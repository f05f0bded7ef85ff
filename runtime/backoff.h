// Jittered delays with a cap and a reset.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

#include "runtime/clock.h"

namespace layerd {

// Delays grow from `first` by doubling to `most`; each is drawn from [half, whole] of its step.
class Backoff {
 public:
  Backoff(Duration first, Duration most, std::uint64_t seed = std::random_device{}())
      : first_(first), most_(most), step_(first), random_(seed) {}
  Duration next() {
    std::uniform_int_distribution<std::int64_t> draw(step_.count() / 2, step_.count());
    const Duration wait(draw(random_));
    step_ = std::min(step_ * 2, most_);
    return wait;
  }
  void reset() { step_ = first_; }

 private:
  Duration first_, most_, step_;
  std::mt19937_64 random_;
};

}  // namespace layerd
