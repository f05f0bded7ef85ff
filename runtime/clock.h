// Time. Monotonic time for waiting; wall time only for tags, certificates and tokens.
#pragma once

#include <chrono>

namespace layerd {

using Duration = std::chrono::nanoseconds;
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

// A point in time handed down through the calls, never a fresh time-out per layer.
struct Deadline {
  TimePoint at = TimePoint::max();

  static Deadline never() { return {}; }
  static Deadline in(TimePoint now, Duration wait) { return {now + wait}; }
  bool is_set() const { return at != TimePoint::max(); }
  bool passed(TimePoint now) const { return now >= at; }
  Duration left(TimePoint now) const { return at <= now ? Duration::zero() : at - now; }
  // The earlier of the two.
  Deadline sooner(Deadline other) const { return at < other.at ? *this : other; }
};

}  // namespace layerd
