#include "proxy/download_ramp.h"

#include <chrono>

namespace layerd::proxy {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kWindow = milliseconds(500);
constexpr Duration kOpenWithin = seconds(5);  // more streams than came by then are not to be had
constexpr Duration kTryFor = seconds(2);      // slow start needs a while to show the gain
constexpr ByteCount kShown = 2_MiB;           // a stream's rate is known after this many bytes
constexpr double kGain = 1.25;

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

unsigned DownloadRamp::tick(TimePoint now, ByteCount received, ByteCount remaining, unsigned delivering) {
  if (received == 0) return allowed_;
  if (!begun_) {
    begun_ = true;
    since_ = now;
  }
  measure(now, received);
  const Duration spent = now - since_;
  switch (state_) {
    case State::single:
      if (spent >= kWindow && (received >= kShown || spent >= kTryFor) && worth_more(remaining, 1.5)) {
        try_more(now, remaining);
      }
      break;
    case State::opening:
      if (delivering >= allowed_) {
        state_ = State::trying;
        since_ = now;
      } else if (spent >= kOpenWithin) {
        settle(std::max(delivering, 1u));
      }
      break;
    case State::trying:
      if (spent < kWindow) break;
      if (rate_ > kGain * baseline_) {
        try_more(now, remaining);
      } else if (spent >= kTryFor) {
        settle(before_);
      }
      break;
    case State::settled:
      break;
  }
  return allowed_;
}

void DownloadRamp::measure(TimePoint now, ByteCount received) {
  samples_.push_back({now, received});
  while (samples_.size() > 2 && samples_[1].at + kWindow <= now) samples_.pop_front();
  const Duration span = now - samples_.front().at;
  if (span > Duration::zero()) {
    rate_ = static_cast<double>(received - samples_.front().received) / seconds_of(span);
  }
}

bool DownloadRamp::worth_more(ByteCount remaining, double seconds) const {
  return remaining >= from_ && rate_ > 0 && static_cast<double>(remaining) / rate_ >= seconds;
}

void DownloadRamp::try_more(TimePoint now, ByteCount remaining) {
  baseline_ = rate_;
  if (allowed_ >= most_) return settle(allowed_);
  if (allowed_ > 1 && static_cast<double>(remaining) < rate_ * 0.5) return settle(allowed_);
  before_ = allowed_;
  allowed_ = std::min(most_, allowed_ * 2);
  state_ = State::opening;
  since_ = now;
}

void DownloadRamp::settle(unsigned count) {
  allowed_ = count;
  state_ = State::settled;
}

}  // namespace layerd::proxy
