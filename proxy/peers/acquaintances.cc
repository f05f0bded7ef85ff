#include "proxy/peers/acquaintances.h"

#include <algorithm>

#include "runtime/log.h"

namespace layerd::peers {

bool means_dead(const Error& error) {
  return error.code == Errc::upstream_unreachable || error.code == Errc::upstream_timeout;
}

bool Acquaintances::is_dead(const std::string& id, TimePoint now) const {
  const auto found = all_.find(id);
  return found != all_.end() && now < found->second.dead_until;
}

bool Acquaintances::is_banned(const std::string& id, TimePoint now) const {
  const auto found = all_.find(id);
  return found != all_.end() && now < found->second.banned_until;
}

void Acquaintances::answered(const std::string& id, std::optional<Duration> latency, TimePoint now) {
  auto& one = at(id);
  if (latency) one.latency = latency;
  one.spoken = now;
  one.dead_until = {};
  one.dead_next = {};
}

// It is there after all. That it can be connected to is not said: its next failure counts as a further one,
// and one that speaks all the time is tried no more often for that.
void Acquaintances::spoke(const std::string& id, TimePoint now) {
  auto& one = at(id);
  one.spoken = now;
  if (now >= one.dead_until) return;
  if (one.revived != TimePoint{} && now - one.revived < settings_.dead_first) return;
  one.revived = now;
  one.dead_until = {};
}

bool Acquaintances::failed(const std::string& id, const Error& why, TimePoint now) {
  fault(id, why.message);
  if (!means_dead(why)) return false;
  auto& one = at(id);
  if (now < one.dead_until) return false;
  if (one.dead_next == Duration::zero()) one.dead_next = settings_.dead_first;
  one.dead_until = now + one.dead_next;
  one.dead_next = std::min(one.dead_next * 2, settings_.dead_most);
  metrics_.dead_members.add();
  LogLine(LogLevel::info, "member_dead").field("member", id).field("err", one.last_fault);
  return true;
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

void Acquaintances::fault(const std::string& id, std::string_view what) {
  auto& one = at(id);
  ++one.faults;
  one.last_fault = printable(what);
}

// Ids are what others say: beyond a number those go that gave and took nothing and did nothing that counts.
Acquaintance& Acquaintances::at(const std::string& id) {
  constexpr std::size_t kMost = 8'192;
  if (all_.size() >= kMost && !all_.contains(id)) {
    std::erase_if(all_, [](const auto& entry) {
      const auto& one = entry.second;
      return one.bytes_in == 0 && one.bytes_out == 0 && one.banned_until == TimePoint{};
    });
    if (all_.size() >= kMost) all_.erase(all_.begin());
  }
  return all_[id];
}

// Who was neither heard of nor is remembered for a fault is forgotten: ids come from others, too.
void Acquaintances::sweep(TimePoint now) {
  constexpr std::size_t kMost = 4'096;
  if (all_.size() <= kMost) return;
  std::erase_if(all_, [now](const auto& entry) {
    const auto& one = entry.second;
    return now >= one.banned_until && now >= one.dead_until && now - one.spoken > std::chrono::minutes(10);
  });
}

}  // namespace layerd::peers
