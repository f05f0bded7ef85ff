// UnitWindow: how many units of one blob are sought or brought at a time. It begins with 8 and grows to 32
// while more units bring more bytes: on long or fast paths each unit is a request that spends most of its
// time in set-up and slow start. Pure: fed with times and byte counts.
#pragma once

#include <cstddef>

#include "runtime/bytes.h"
#include "runtime/clock.h"

namespace layerd::peers {

class UnitWindow {
 public:
  static constexpr std::size_t kFirst = 8, kMost = 32;

  // When bytes have come or a unit has ended. received: bytes of the blob so far, from anywhere; running:
  // units that are sought or brought; left: units that are not here, these included. Answers how many may
  // run.
  std::size_t tick(TimePoint now, ByteCount received, std::size_t running, std::size_t left);
  std::size_t size() const { return size_; }

 private:
  void begin_span(TimePoint now, ByteCount received);

  std::size_t size_ = kFirst;
  std::size_t before_ = kFirst;  // the last growth began here ...
  double baseline_ = 0;          // ... at so many bytes per second
  bool is_settled_ = false;
  bool is_measuring_ = false;
  bool was_full_ = true;  // all along the span
  TimePoint since_{};
  ByteCount received_ = 0;
};

}  // namespace layerd::peers
