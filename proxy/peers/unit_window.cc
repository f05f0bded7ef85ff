#include "proxy/peers/unit_window.h"

#include <algorithm>
#include <chrono>

#include "proxy/peers/messages.h"

namespace layerd::peers {
namespace {

// A unit has to come and go in a span, or the burst of the first ones would pass for a rate.
constexpr Duration kSpan = std::chrono::seconds(1);
constexpr double kGain = 1.1;
// A window that is more than this much ahead hides any set-up. More would only share the same path out, and
// have nodes hold shares of many units where the LAN is the limit: 24 s instead of 14 for 100 nodes on 1
// Gbit/s.
constexpr double kAheadSeconds = 0.5;

}  // namespace

void UnitWindow::begin_span(TimePoint now, ByteCount received) {
  is_measuring_ = true;
  was_full_ = true;
  since_ = now;
  received_ = received;
}

std::size_t UnitWindow::tick(TimePoint now, ByteCount received, std::size_t running, std::size_t left) {
  if (is_settled_ || received == 0) return size_;
  if (!is_measuring_ || received < received_) begin_span(now, received);
  // A window that is not used up says nothing of a larger one.
  was_full_ = was_full_ && running + 1 >= std::min(size_, left);
  const Duration spent = now - since_;
  if (spent < kSpan) return size_;
  const double rate =
      static_cast<double>(received - received_) / std::chrono::duration<double>(spent).count();
  const bool was_full = was_full_;
  begin_span(now, received);
  if (!was_full) return size_;
  if (size_ > before_ && rate < kGain * baseline_) {
    size_ = before_;  // more brought no more
    is_settled_ = true;
    return size_;
  }
  before_ = size_;
  if (static_cast<double>(size_ * kUnit) > rate * kAheadSeconds) return size_;
  baseline_ = rate;
  if (size_ < kMost && left > size_) size_ = std::min(kMost, size_ * 2);
  is_settled_ = before_ == kMost;
  return size_;
}

}  // namespace layerd::peers
