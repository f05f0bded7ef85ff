#include "runtime/rate_limit.h"

#include <algorithm>
#include <cmath>

namespace layerd {
namespace {

constexpr double kSharesPerSecond = 10;
constexpr double kLeastShare = 4.0 * 1024, kMostShare = 64.0 * 1024;
// What may be saved up while nobody reads: so much time's worth, at least a share.
constexpr double kBurstSeconds = 0.1;

}  // namespace

struct RateLimit::Waiter final : Pending<std::size_t> {
  Waiter(Done<std::size_t> done, std::size_t most_) : Pending(std::move(done)), most(most_) {}
  const std::size_t most;
};

std::size_t RateLimit::share() const {
  return static_cast<std::size_t>(
      std::clamp(static_cast<double>(rate_) / kSharesPerSecond, kLeastShare, kMostShare));
}

void RateLimit::set(ByteCount rate) {
  refill();
  rate_ = rate;
  tokens_ = std::min(tokens_, static_cast<double>(share()));
  if (!line_.empty()) turn_ = loop_.post([this] { serve(); });
}

void RateLimit::refill() {
  const TimePoint now = loop_.now();
  const double passed = std::chrono::duration<double>(now - std::exchange(filled_, now)).count();
  const double most = std::max(static_cast<double>(rate_) * kBurstSeconds, static_cast<double>(share()));
  tokens_ = std::min(most, tokens_ + std::min(passed, 1.0) * static_cast<double>(rate_));
}

Ticket RateLimit::take(std::size_t reader, std::size_t most, Done<std::size_t> done) {
  LAYERD_ON_LOOP(loop_);
  auto waiter = std::make_shared<Waiter>(std::move(done), std::max<std::size_t>(most, 1));
  auto place =
      std::find_if(line_.begin(), line_.end(), [reader](const Place& one) { return one.reader == reader; });
  if (place == line_.end()) place = line_.insert(line_.end(), Place{reader, {}});
  place->waiters.push_back(waiter);
  if (!turn_.held()) turn_ = loop_.post([this] { serve(); });
  return Ticket(std::move(waiter));
}

void RateLimit::give_back(std::size_t bytes) { tokens_ += static_cast<double>(bytes); }

std::size_t RateLimit::waiting() const {
  std::size_t count = 0;
  for (const Place& place : line_) count += place.waiters.size();
  return count;
}

// The first who still waits; null: nobody does.
std::shared_ptr<RateLimit::Waiter> RateLimit::next() {
  while (!line_.empty()) {
    auto& waiters = line_.front().waiters;
    while (!waiters.empty() && !waiters.front()->wanted()) waiters.pop_front();
    if (!waiters.empty()) return waiters.front();
    line_.pop_front();
  }
  return nullptr;
}

// Grants go out posted: nobody is called from in here. What is granted to somebody who is gone by then
// is lost, a share at most.
void RateLimit::serve() {
  turn_.reset();
  refill();
  while (const auto waiter = next()) {
    const std::size_t granted = is_on() ? std::min(waiter->most, share()) : waiter->most;
    const double missing = static_cast<double>(granted) - tokens_;
    if (is_on() && missing > 0) {
      const auto wait = std::chrono::duration<double>(missing / static_cast<double>(rate_));
      turn_ =
          loop_.after(std::chrono::ceil<std::chrono::milliseconds>(wait), "rate limit", [this] { serve(); });
      return;
    }
    if (is_on()) tokens_ -= static_cast<double>(granted);
    // Its turn is over; others of the same reader come after everybody else.
    line_.front().waiters.pop_front();
    line_.splice(line_.end(), line_, line_.begin());
    loop_.post_detached([waiter, granted] { waiter->answer(granted); });
  }
}

}  // namespace layerd
