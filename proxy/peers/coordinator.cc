#include "proxy/peers/coordinator.h"

#include <algorithm>

#include "proxy/peers/message_fields.h"

namespace layerd::peers {

Coordinator::Coordinator(Loop& loop, Shelf& shelf, Acquaintances& acquaintances, const SiteSettings& settings,
                         SiteMetrics& metrics, std::uint64_t seed)
    : loop_(loop),
      shelf_(shelf),
      acquaintances_(acquaintances),
      metrics_(metrics),
      book_(settings.book, seed),
      records_(settings.records),
      random_(seed + 1) {}

// A member with a greater weight than ours that is not dead, as far as we or the asker know.
const Member* Coordinator::better_than_us(const Ask& ask) const {
  const auto& digest = ask.unit.blob.digest;
  const auto key = unit_hash(digest, ask.unit.unit);
  const auto ours = weight(member_hash(self()), key);
  for (std::size_t depth = 4;; depth *= 8) {
    const auto ranks = ranking_->first(digest, ask.unit.unit, depth);
    for (const auto* member : ranks) {
      if (member->id == self() || weight(member_hash(member->id), key) < ours) return nullptr;
      if (std::find(ask.dead.begin(), ask.dead.end(), member->id) != ask.dead.end()) continue;
      if (!acquaintances_.is_dead(member->id, loop_.now())) return member;
    }
    if (ranks.size() < depth) return nullptr;
  }
}

AskAnswer Coordinator::ask(const std::string& from, const Ask& ask) {
  if (from != self() && ask.hops < kMostHops) {
    const auto* better = better_than_us(ask);
    if (better != nullptr && better->id != from) {
      metrics_.redirects.add();
      AskAnswer answer;
      answer.kind = AskAnswer::Kind::redirect;
      answer.member = better->id;
      return answer;
    }
  }
  std::vector<Book::Holder> holders;
  for (const auto& id : records_.holders(ask.unit.blob.digest, loop_.now())) {
    if (holders.size() == kMostHolders) break;
    if (id == from || acquaintances_.is_dead(id, loop_.now())) continue;
    const auto* member = ranking_->members().find(id);
    holders.push_back({id, member == nullptr ? std::string{} : member->zone});
  }
  if (from != self() && pull_ && holders.empty() && book_.is_rootless(ask.unit, loop_.now()) &&
      !contains(ask.avoid, self()) && pull_(ask.unit)) {
    Ask own;
    own.unit = ask.unit;
    const auto* us = ranking_->members().find(self());
    own.zone = us == nullptr ? std::string{} : us->zone;
    book_.ask(self(), own, {}, loop_.now());
  }
  auto answer = book_.ask(from, ask, holders, loop_.now());
  if (answer.kind == AskAnswer::Kind::from) metrics_.referrals.add();
  if (answer.kind == AskAnswer::Kind::fetch) metrics_.leases_given.add();
  return answer;
}

void Coordinator::tell(const std::string& from, const Tell& tell) {
  book_.tell(from, tell, loop_.now());
  if (tell.have) records_.tell(from, *tell.have, loop_.now());
}

WhoAnswer Coordinator::who(const std::string& from, const Who& who) {
  WhoAnswer answer;
  const auto held = shelf_.held(who.blob, {0, 0});
  if (held && held->complete) {
    answer.total = held->total;
    answer.units = shelf_.units(who.blob.digest);
    if (from != self() && !self().empty()) answer.holders.push_back(self());
  }
  auto ids = records_.holders(who.blob.digest, loop_.now());
  std::erase_if(ids, [&](const std::string& id) {
    return id == from || id == self() || acquaintances_.is_dead(id, loop_.now());
  });
  // Any eight of them: who asks at the same moment should not meet at the same ones.
  std::shuffle(ids.begin(), ids.end(), random_);
  for (auto& id : ids)
    if (answer.holders.size() < kMostHolders) answer.holders.push_back(std::move(id));
  return answer;
}

}  // namespace layerd::peers
