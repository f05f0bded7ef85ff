#include "proxy/peers/site_parts.h"

#include <algorithm>

#include "proxy/net/address.h"

namespace layerd::peers {

Member SiteParts::member(const std::string& id) const {
  if (const auto* listed = coordinator.ranking().members().find(id)) return *listed;
  Member member;
  member.id = id;
  const auto parts = net::parse_host_port(id, 0);
  if (!parts) return member;
  if (const auto address = net::parse_address(parts->host, parts->port)) member.address = *address;
  return member;
}

std::vector<Member> SiteParts::members(const std::vector<std::string>& ids) const {
  std::vector<Member> members;
  for (const auto& id : ids) members.push_back(member(id));
  return members;
}

bool SiteParts::is_alone() const {
  for (const auto& one : coordinator.ranking().members().all())
    if (one.id != self() && !acquaintances.is_dead(one.id, now())) return false;
  return true;
}

const Member* SiteParts::best_rank(const Digest& digest, std::uint32_t unit) const {
  constexpr std::size_t kFew = 4;
  for (const auto* member : coordinator.ranking().first(digest, unit, kFew))
    if (!acquaintances.is_dead(member->id, now())) return member;
  return nullptr;
}

std::vector<const Member*> SiteParts::keepers(const Digest& digest) const {
  auto ranks = coordinator.ranking().first(digest, kRecords, kMostKeepers);
  std::erase_if(ranks, [this](const Member* member) { return acquaintances.is_dead(member->id, now()); });
  if (ranks.size() > kKeepers) ranks.resize(kKeepers);
  return ranks;
}

void SiteParts::deliver(const std::string& to, Tell tell) {
  if (to == self()) return coordinator.tell(to, tell);
  if (acquaintances.is_dead(to, now())) return;
  constexpr std::size_t kMostSending = 256;
  // What is told is told again, or forgotten in time.
  if (sending.size() + waiting_letters >= kMostSending) return;
  if (tell.have) {
    const auto [queue, is_first] = letters.try_emplace(to);
    if (!is_first) {
      ++waiting_letters;
      return queue->second.push_back(std::move(tell));
    }
  }
  send(to, std::move(tell));
}

void SiteParts::send(const std::string& to, Tell tell) {
  const auto number = next_sending++;
  const bool is_letter = tell.have.has_value();
  sending[number] = wire.tell(member(to), tell, [this, number, to, is_letter](const Result<Ok>&) {
    const auto spent = std::move(sending[number]);
    sending.erase(number);
    if (is_letter) next_letter(to);
  });
}

void SiteParts::next_letter(const std::string& to) {
  const auto queue = letters.find(to);
  if (acquaintances.is_dead(to, now())) {
    waiting_letters -= queue->second.size();
    queue->second.clear();
  }
  if (queue->second.empty()) {
    letters.erase(queue);
    return;
  }
  Tell next = std::move(queue->second.front());
  queue->second.pop_front();
  --waiting_letters;
  send(to, std::move(next));
}

// Members that spoil many blobs shall not get everybody banned at the next one.
void SiteParts::suspect(const Digest& digest, std::vector<Received> received) {
  if (suspects.size() >= Suspected::kMost && !suspects.contains(digest))
    suspects.erase(std::min_element(suspects.begin(), suspects.end(), [](const auto& a, const auto& b) {
      return a.second.since < b.second.since;
    }));
  suspects[digest] = {now(), std::move(received)};
}

}  // namespace layerd::peers
