#include "proxy/upstream/refusals.h"

#include <algorithm>
#include <utility>

namespace layerd::upstream {
namespace {
constexpr std::size_t kMostRefusals = 1024;
}  // namespace

std::optional<Error> Refusals::holding(const std::string& key, TimePoint now) const {
  const auto found = all_.find(key);
  if (found == all_.end() || now >= found->second.until) return std::nullopt;
  return found->second.why;
}

void Refusals::add(const std::string& key, TimePoint now, Error why) {
  make_room(now);
  auto& refusal = all_[key];
  refusal.wait = refusal.wait == Duration::zero() ? first_ : std::min(refusal.wait * 2, most_);
  refusal.until = now + refusal.wait;
  refusal.why = std::move(why);
}

void Refusals::add_until(const std::string& key, TimePoint now, TimePoint until, Error why) {
  make_room(now);
  all_[key] = Refusal{until, Duration::zero(), std::move(why)};
}

// Forgets what holds no longer; when that is not enough, what ends first.
void Refusals::make_room(TimePoint now) {
  if (all_.size() < kMostRefusals) return;
  std::erase_if(all_, [now](const auto& entry) { return now >= entry.second.until; });
  if (all_.size() < kMostRefusals) return;
  all_.erase(std::min_element(all_.begin(), all_.end(),
                              [](const auto& a, const auto& b) { return a.second.until < b.second.until; }));
}

}  // namespace layerd::upstream
