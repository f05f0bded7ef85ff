// Who is sent to whom: the referral rules of a Book (docs/peers.md "Referral").
#include <algorithm>

#include "proxy/peers/book_entries.h"
#include "proxy/peers/message_fields.h"

namespace layerd::peers {
namespace {

// Keeps those that fulfil `is_better`, if there are any.
template <class Asker, class Test>
void prefer(std::vector<Asker*>& askers, Test is_better) {
  if (std::any_of(askers.begin(), askers.end(), is_better))
    std::erase_if(askers, [&](Asker* asker) { return !is_better(asker); });
}

}  // namespace

AskAnswer Book::choose(Unit& unit, Asker& asker, const Ask& ask, TimePoint now) {
  // Without a root there is nothing to be passed on: those who wait would wait for each other.
  const bool has_complete = std::any_of(unit.askers.begin(), unit.askers.end(), [&](const Asker& other) {
    return other.complete && !other.peer->gone && !is_avoided(*other.peer);
  });
  if (unit.leases.empty() && !has_complete) return lease(unit, asker, now);
  // Who needs the hash gets it of who fetches the unit; if nobody does, or two who did disagreed, or the
  // asker believes none of those who did, it fetches it itself.
  const auto claimer = unit.claim ? unit.claim->by_other_than(ask.avoid) : std::string{};
  if (ask.needs_claim && (!unit.claim || contains(ask.avoid, claimer))) {
    if (unit.leases.empty() || unit.disputed) return lease(unit, asker, now);
    AskAnswer wait;
    wait.wait = settings_.busy;
    return wait;
  }
  // Who will not have the root, nor anybody it feeds through others, needs another root.
  const bool root_is_avoided = !unit.leases.empty() && is_avoided(*unit.leases.front().peer);
  auto found = sources(unit, asker, ask, root_is_avoided);
  if (found.empty()) return lease(unit, asker, now);
  asker.apart = asker.apart || root_is_avoided;
  return refer(asker, draw(std::move(found), asker, ask));
}

// Those who have the unit, or are receiving it, and are not refused by the asker.
std::vector<Book::Asker*> Book::sources(Unit& unit, const Asker& asker, const Ask& ask, bool only_apart) {
  std::vector<Asker*> found;
  for (auto& other : unit.askers) {
    if (&other == &asker || other.peer->gone || is_avoided(*other.peer)) continue;
    if (!other.complete && (!other.receiving || (only_apart && !other.apart))) continue;
    found.push_back(&other);
  }
  const auto is_near = [&ask](const Asker* other) { return other->peer->zone == ask.zone; };
  // Those of a zone get the unit of each other, but for one who has it, fetches it, or takes it from another
  // zone. Without that one, because the asker is it or will not have it, they would wait for each other.
  const auto brings_it = [&](const Asker* other) {
    if (other->complete || unit.lease_of(*other->peer) != nullptr) return true;
    return std::any_of(other->given.begin(), other->given.end(),
                       [&](const Asker* source) { return source->peer->zone != ask.zone; });
  };
  if (std::any_of(found.begin(), found.end(), [&](auto* one) { return is_near(one) && brings_it(one); }))
    prefer(found, is_near);
  else
    prefer(found, [&](const Asker* other) { return !is_near(other); });
  return found;
}

// At most four, the least busy first. Those of a better rank come before those of a worse one; within one
// each free slot has the same chance: always the least busy of all would make a chain of them.
std::vector<Book::Asker*> Book::draw(std::vector<Asker*> candidates, const Asker& asker, const Ask& ask) {
  const auto room = [this](const Asker* one) { return std::max(0.1, settings_.children - one->children); };
  const auto has_slot = [this](const Asker* one) { return one->children < settings_.children - 0.5; };
  const auto rank = [&](const Asker* one) {
    const bool is_fed_by_asker =  // as far as it did what it was told
        !one->complete && std::find(one->given.begin(), one->given.end(), &asker) != one->given.end();
    return (has_slot(one) ? 0 : 4) + (one->complaints > 0 ? 2 : 0) + is_fed_by_asker;
  };
  const auto draw_from = [this, room](std::vector<Asker*> pool, std::size_t most,
                                      std::vector<Asker*>& drawn) {
    double all = 0;
    for (auto* one : pool) all += room(one);
    for (; most > 0 && !pool.empty(); --most) {
      double at = std::uniform_real_distribution<double>(0, all)(random_);
      std::size_t i = 0;
      while (i + 1 < pool.size() && (at -= room(pool[i])) > 0) ++i;
      all -= room(pool[i]);
      drawn.push_back(pool[i]);
      pool[i] = pool.back();
      pool.pop_back();
    }
  };
  std::vector<Asker*> drawn;
  const auto pool_of = [&](int wanted, bool only_complete) {
    std::vector<Asker*> pool;
    for (auto* one : candidates)
      if (rank(one) == wanted && (one->complete || !only_complete) &&
          std::find(drawn.begin(), drawn.end(), one) == drawn.end())
        pool.push_back(one);
    return pool;
  };
  // Who asks again has waited long enough: half of the named ones have all of it, if there are such.
  if (ask.have > 0 || !ask.avoid.empty()) draw_from(pool_of(0, true), kMostSources / 2, drawn);
  for (int best = 0; best < 8 && drawn.size() < kMostSources; ++best)
    if (drawn.empty() || (best & 2) == 0)  // who failed somebody is not named while there are others
      draw_from(pool_of(best, false), kMostSources - drawn.size(), drawn);
  std::stable_sort(drawn.begin(), drawn.end(), [](const Asker* a, const Asker* b) {
    return a->peer->load + a->peer->given < b->peer->load + b->peer->given;
  });
  return drawn;
}

AskAnswer Book::refer(Asker& asker, std::vector<Asker*> sources) {
  AskAnswer answer;
  answer.kind = AskAnswer::Kind::from;
  for (Asker* source : sources) {
    source->children += 1.0 / static_cast<double>(sources.size());
    source->peer->given += 1.0 / static_cast<double>(sources.size());
    answer.sources.push_back(source->peer->id);
  }
  asker.given = std::move(sources);
  asker.receiving = true;
  return answer;
}

AskAnswer Book::lease(Unit& unit, Asker& asker, TimePoint now) {
  AskAnswer answer;
  answer.wait = settings_.busy;
  if (unit.leases.size() >= settings_.leases || asker.peer->leases >= settings_.leases_per_peer)
    return answer;
  asker.apart = !unit.leases.empty();
  asker.receiving = true;
  unit.leases.push_back({asker.peer, now, asker.have});
  ++asker.peer->leases;
  answer.kind = AskAnswer::Kind::fetch;
  answer.lease = settings_.lease;
  return answer;
}

}  // namespace layerd::peers
