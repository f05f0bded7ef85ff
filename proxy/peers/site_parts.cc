#include "proxy/peers/site_parts.h"

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
  if (sending.size() >= kMostSending) return;  // what is told is told again, or forgotten in time
  const auto number = next_sending++;
  sending[number] = wire.tell(member(to), tell, [this, number](const Result<Ok>&) { sending.erase(number); });
}

}  // namespace layerd::peers
