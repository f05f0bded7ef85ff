#include "proxy/upstream/pull_limits.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace layerd::upstream {
namespace {

// A client may name any host in ns, and each row has its gauges for good: the first ones stay.
constexpr std::size_t kMostEndpoints = 64;

std::int64_t gauge_value(std::uint64_t value) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(value, kMost));
}

}  // namespace

void PullLimits::note(const std::string& endpoint, std::string asked_as, const http::Headers& headers) {
  const auto limit = headers.get("RateLimit-Limit"), remaining = headers.get("RateLimit-Remaining");
  if (!limit || !remaining) return;
  const auto said = registry::read_pull_limit(*limit, *remaining);
  if (!said || (all_.size() >= kMostEndpoints && !all_.contains(endpoint))) return;
  all_[endpoint] = {*said, loop_.now(), std::move(asked_as)};
  show(endpoint, *said);
}

void PullLimits::show(const std::string& endpoint, const registry::PullLimit& limit) {
  const Metrics::Labels labels{{"endpoint", endpoint}};
  metrics_
      .gauge("layerd_upstream_pull_limit", "Pulls that a registry allows in its window of time, as it said.",
             labels)
      .set(gauge_value(limit.most));
  metrics_
      .gauge("layerd_upstream_pulls_left", "Pulls that a registry said are left in its window of time.",
             labels)
      .set(gauge_value(limit.left));
}

std::optional<PullLimits::Known> PullLimits::of(const std::string& endpoint) const {
  const auto found = all_.find(endpoint);
  return found == all_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace layerd::upstream
