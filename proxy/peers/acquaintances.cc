#include "proxy/peers/acquaintances.h"

#include <algorithm>

#include "runtime/log.h"

namespace layerd::peers {

bool means_dead(const Error& error) {
  return error.code == Errc::upstream_unreachable || error.code == Errc::upstream_timeout;
}

bool means_refused(const Error& error) {
  return (error.code == Errc::denied && error.diagnosis.starts_with("peer_")) ||
         error.diagnosis == "peer_version";
}

bool Acquaintances::is_dead(const std::string& id, TimePoint now) const {
  const auto found = all_.find(id);
  return found != all_.end() && now < found->second.dead_until;
}

bool Acquaintances::returned_since(const std::string& id, TimePoint then) const {
  const auto at = all_.find(id);
  return at != all_.end() && at->second.returned > then;
}

bool Acquaintances::died_lately(const std::string& id, TimePoint now) const {
  const auto at = all_.find(id);
  return at != all_.end() && at->second.died != TimePoint{} &&
         now - at->second.died < std::chrono::minutes(1);
}

bool Acquaintances::is_banned(const std::string& id, TimePoint now) const {
  const auto found = all_.find(id);
  return found != all_.end() && now < found->second.banned_until;
}

void Acquaintances::answered(const std::string& id, std::optional<Duration> latency, TimePoint now) {
  auto& one = at(id);
  if (latency) one.latency = latency;
  one.spoken = now;
  if (now < one.dead_until) revive(one, now);
  one.dead_next = {};
  one.misses = 0;
  one.unmet = false;
  one.refuses = false;
}

// It is there after all. That it can be connected to is not said: its next failure counts as a further one,
// and one that speaks all the time is tried no more often for that.
void Acquaintances::spoke(const std::string& id, TimePoint now) {
  auto& one = at(id);
  one.spoken = now;
  if (now >= one.dead_until) return;
  if (one.revived != TimePoint{} && now - one.revived < settings_.dead_first) return;
  one.revived = now;
  revive(one, now);
}

void Acquaintances::revive(Acquaintance& one, TimePoint now) {
  one.dead_until = {};
  one.returned = last_return_ = now;
  for (auto& [id, other] : all_) {
    const auto apart = other.died > one.died ? other.died - one.died : one.died - other.died;
    const bool is_heard = other.spoken != TimePoint{} && !other.refuses;
    if (now >= other.dead_until || !is_heard || apart > settings_.outage) continue;
    other.dead_until = {};
    other.returned = now;
  }
}

std::optional<std::string> Acquaintances::next_to_feel(const MemberList& members, TimePoint now) {
  // One whose time is nearly over is found out by the next who asks it.
  constexpr Duration kEnough = std::chrono::seconds(2);
  const auto rank = [](const Acquaintance& one) { return std::pair(one.spoken == TimePoint{}, one.felt); };
  decltype(all_)::value_type* best = nullptr;
  for (auto& entry : all_) {
    const auto& one = entry.second;
    if (now + kEnough >= one.dead_until || one.refuses || members.find(entry.first) == nullptr) continue;
    if (best == nullptr || rank(one) < rank(best->second)) best = &entry;
  }
  if (best == nullptr) return std::nullopt;
  best->second.felt = now;
  return best->first;
}

bool Acquaintances::failed(const std::string& id, const Error& why, TimePoint now) {
  fault(id, why.message);
  const bool refuses = means_refused(why);
  if (!means_dead(why) && !refuses) return false;
  auto& one = at(id);
  if (now < one.dead_until) return false;
  const bool is_heard = one.spoken != TimePoint{} && now - one.spoken < settings_.heard;
  if (!refuses && is_heard && ++one.misses <= settings_.misses) return false;
  one.refuses = refuses;
  if (one.dead_next == Duration::zero()) one.dead_next = settings_.dead_first;
  one.died = now;
  one.dead_until = now + one.dead_next;
  one.dead_next = std::min(one.dead_next * 2, settings_.dead_most);
  metrics_.dead_members.add();
  LogLine(LogLevel::info, refuses ? "member_refuses" : "member_dead")
      .field("member", id)
      .field("err", one.last_fault);
  return true;
}

void Acquaintances::greeted_in_vain(const std::string& id, const Error& why) {
  fault(id, why.message);
  at(id).unmet = true;
}

void Acquaintances::trust_changed() {
  for (auto& [id, one] : all_) {
    if (!one.refuses) continue;
    one.dead_until = {};
    one.dead_next = {};
    one.refuses = false;
  }
}

void Acquaintances::ban(const std::string& id, Duration how_long, std::string_view why, TimePoint now) {
  auto& one = at(id);
  one.banned_until = std::max(one.banned_until, now + how_long);
  fault(id, why);
  LogLine(LogLevel::warn, "member_avoided")
      .field("member", id)
      .field("seconds", std::int64_t{std::chrono::duration_cast<std::chrono::seconds>(how_long).count()})
      .field("why", one.last_fault);
}

void Acquaintances::unban(const std::string& id) {
  const auto found = all_.find(id);
  if (found != all_.end()) found->second.banned_until = {};
}

void Acquaintances::suspect(const std::string& id, Duration how_long, TimePoint now) {
  ban(id, how_long, "wrong bytes came from it or through it", now);
  ++at(id).suspicions;
}

std::uint64_t Acquaintances::suspicions(const std::string& id) const {
  const auto found = all_.find(id);
  return found == all_.end() ? 0 : found->second.suspicions;
}

void Acquaintances::fault(const std::string& id, std::string_view what) {
  auto& one = at(id);
  ++one.faults;
  one.last_fault = printable(what);
}

void Acquaintances::wrong_unit(const std::string& id) {
  ++at(id).wrong_units;
  metrics_.wrong_unit_of(printable(id));
}

// Ids are what others say: beyond a number those go that gave and took nothing and did nothing that counts.
Acquaintance& Acquaintances::at(const std::string& id) {
  constexpr std::size_t kMost = 8'192;
  if (all_.size() >= kMost && !all_.contains(id)) {
    std::erase_if(all_, [](const auto& entry) {
      const auto& one = entry.second;
      return one.bytes_in + one.bytes_out + one.suspicions + one.wrong_units == 0 &&
             one.banned_until == TimePoint{};
    });
    if (all_.size() >= kMost) all_.erase(all_.begin());
  }
  return all_[id];
}

}  // namespace layerd::peers
