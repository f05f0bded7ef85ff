#include "proxy/upstream/endpoint_health.h"

#include <algorithm>
#include <utility>

#include "runtime/log.h"

namespace layerd::upstream {
namespace {

constexpr std::size_t kMostEndpoints = 1024;
constexpr double kLatencyWeight = 0.2;  // of the newest

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

std::string_view name_of(EndpointState state) {
  switch (state) {
    case EndpointState::well:
      return "well";
    case EndpointState::failing:
      return "failing";
    case EndpointState::open:
      return "open";
    case EndpointState::probing:
      return "probing";
  }
  return "unknown";
}

EndpointHealth::Attempt::Attempt(Attempt&& other) noexcept
    : health_(std::exchange(other.health_, nullptr)),
      endpoint_(std::move(other.endpoint_)),
      began_(other.began_),
      is_probe_(other.is_probe_) {}

EndpointHealth::Attempt& EndpointHealth::Attempt::operator=(Attempt&& other) noexcept {
  if (this == &other) return *this;
  Attempt ended(std::move(*this));
  health_ = std::exchange(other.health_, nullptr);
  endpoint_ = std::move(other.endpoint_);
  began_ = other.began_;
  is_probe_ = other.is_probe_;
  return *this;
}

EndpointHealth::Attempt::~Attempt() {
  if (health_ == nullptr || !is_probe_) return;
  const auto entry = health_->entries_.find(endpoint_);
  if (entry != health_->entries_.end()) entry->second.is_probed = false;
}

void EndpointHealth::Attempt::answered() {
  if (health_ == nullptr) return;
  auto& health = *std::exchange(health_, nullptr);
  auto& entry = health.entries_[endpoint_];
  const auto now = health.loop_.now();
  if (health.is_tripped(entry))
    LogLine(LogLevel::info, "endpoint").field("endpoint", endpoint_).field("state", "well");
  const double latency = seconds(now - began_);
  entry.latency_seconds = entry.last_success
                              ? entry.latency_seconds + kLatencyWeight * (latency - entry.latency_seconds)
                              : latency;
  entry.last_success = entry.last_use = now;
  entry.failures = 0;
  entry.is_probed = false;
  entry.open_for = Duration::zero();
}

void EndpointHealth::Attempt::failed(const Error& error) {
  if (health_ == nullptr) return;
  auto& health = *std::exchange(health_, nullptr);
  auto& entry = health.entries_[endpoint_];
  const auto now = health.loop_.now();
  entry.last_failure = entry.last_use = now;
  entry.last_error = error;
  const bool was_tripped = health.is_tripped(entry);
  ++entry.failures;
  if (is_probe_) entry.is_probed = false;
  if (!health.is_tripped(entry)) return;
  // Requests that were already under way when it tripped say nothing new.
  if (was_tripped && !is_probe_ && now < entry.open_until) return;
  entry.open_for = was_tripped ? std::min(entry.open_for * 2, health.settings_.breaker_most)
                               : health.settings_.breaker_first;
  entry.open_until = now + entry.open_for;
  if (!was_tripped)
    LogLine(LogLevel::warn, "endpoint")
        .field("endpoint", endpoint_)
        .field("state", "open")
        .field("err", error.message);
}

bool EndpointHealth::is_usable(const std::string& endpoint) const {
  const auto found = entries_.find(endpoint);
  if (found == entries_.end()) return true;
  const auto state = state_of(found->second);
  if (state == EndpointState::open) return loop_.now() >= found->second.open_until;
  return state != EndpointState::probing;
}

std::optional<Error> EndpointHealth::fresh_failure(const std::string& endpoint) const {
  const auto found = entries_.find(endpoint);
  if (found == entries_.end() || !is_tripped(found->second)) return std::nullopt;
  if (loop_.now() - *found->second.last_failure >= settings_.fail_fast) return std::nullopt;
  return found->second.last_error;
}

Error EndpointHealth::last_failure(const std::string& endpoint) const {
  const auto found = entries_.find(endpoint);
  if (found == entries_.end() || !found->second.last_failure)
    return Error{Errc::upstream_unreachable, endpoint + " is being left alone for a moment"};
  return found->second.last_error;
}

void EndpointHealth::give_another_chance() {
  for (auto& [name, entry] : entries_) {
    if (!is_tripped(entry)) continue;
    entry.failures = settings_.breaker_failures - 1;
    entry.open_until = {};
  }
}

EndpointHealth::Attempt EndpointHealth::begin(const std::string& endpoint) {
  LAYERD_ON_LOOP(loop_);
  make_room();
  auto& entry = entries_[endpoint];
  entry.last_use = loop_.now();
  Attempt attempt;
  attempt.health_ = this;
  attempt.endpoint_ = endpoint;
  attempt.began_ = loop_.now();
  attempt.is_probe_ = is_tripped(entry) && !entry.is_probed;
  if (attempt.is_probe_) entry.is_probed = true;
  return attempt;
}

EndpointState EndpointHealth::state_of(const Entry& entry) const {
  if (entry.failures == 0) return EndpointState::well;
  if (!is_tripped(entry)) return EndpointState::failing;
  return entry.is_probed ? EndpointState::probing : EndpointState::open;
}

std::vector<EndpointReport> EndpointHealth::report() const {
  std::vector<EndpointReport> rows;
  const auto now = loop_.now();
  const auto age = [now](const std::optional<TimePoint>& at) {
    return at ? std::optional<double>(seconds(now - *at)) : std::nullopt;
  };
  for (const auto& [endpoint, entry] : entries_)
    rows.push_back({endpoint, state_of(entry), entry.failures, entry.last_error.message,
                    age(entry.last_success), age(entry.last_failure), entry.latency_seconds});
  return rows;
}

// Names come from outside: the table is bounded, what was not used for longest goes.
void EndpointHealth::make_room() {
  if (entries_.size() < kMostEndpoints) return;
  entries_.erase(std::min_element(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
    return a.second.last_use < b.second.last_use;
  }));
}

}  // namespace layerd::upstream
