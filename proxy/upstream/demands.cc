#include "proxy/upstream/demands.h"

#include <algorithm>
#include <utility>

namespace layerd::upstream {
namespace {

constexpr std::size_t kMostDemands = 4096;

std::string key_of(const registry::Endpoint& endpoint) {
  return endpoint.base.str() + "\n" + endpoint.repository;
}

}  // namespace

std::optional<Demand> read_demand(const http::Headers& headers) {
  const auto challenges = registry::parse_challenges(headers.get_all("WWW-Authenticate"));
  auto choice = registry::choose_challenge(challenges);
  if (!choice) return std::nullopt;
  const bool takes_basic = std::any_of(challenges.begin(), challenges.end(),
                                       [](const auto& challenge) { return challenge.scheme == "basic"; });
  return Demand{std::move(*choice), takes_basic};
}

const Demand* Demands::find(const registry::Endpoint& endpoint) const {
  const auto found = all_.find(key_of(endpoint));
  return found == all_.end() ? nullptr : &found->second;
}

// A demand forgotten costs one refused request; which one goes is not worth keeping count of.
void Demands::remember(const registry::Endpoint& endpoint, Demand demand) {
  if (all_.size() >= kMostDemands) all_.erase(all_.begin());
  all_[key_of(endpoint)] = std::move(demand);
}

void Demands::forget(const registry::Endpoint& endpoint) { all_.erase(key_of(endpoint)); }

}  // namespace layerd::upstream
