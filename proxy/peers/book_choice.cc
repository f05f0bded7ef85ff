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
    return other.complete && !other.peer->gone && !contains(ask.avoid, other.peer->id);
  });
  if (unit.leases.empty() && !has_complete) return lease(unit, asker, now);
  // Who will not have the root, nor anybody it feeds through others, needs another root.
  const bool root_is_avoided = !unit.leases.empty() && contains(ask.avoid, unit.leases.front().peer->id);
  auto found = sources(unit, asker, ask, root_is_avoided);
  if (found.empty()) return lease(unit, asker, now);
  asker.apart = asker.apart || root_is_avoided;
  return refer(asker, draw(std::move(found)));
}

// Those who have the unit, or are receiving it, and are not refused by the asker.
std::vector<Book::Asker*> Book::sources(Unit& unit, const Asker& asker, const Ask& ask, bool only_apart) {
  std::vector<Asker*> found;
  for (auto& other : unit.askers) {
    if (&other == &asker || other.peer->gone || contains(ask.avoid, other.peer->id)) continue;
    if (!other.complete && (!other.receiving || (only_apart && !other.apart))) continue;
    found.push_back(&other);
  }
  const auto is_near = [&ask](const Asker* other) { return other->peer->zone == ask.zone; };
  prefer(found, [&](const Asker* other) { return is_near(other) && other->complaints == 0; });
  prefer(found, [](const Asker* other) { return other->complaints == 0; });
  prefer(found, is_near);
  // Who asks again has waited long enough: nothing that is itself still waiting, if there is better.
  if (ask.have > 0 || !ask.avoid.empty()) prefer(found, [](const Asker* other) { return other->complete; });
  // Not those who were sent to the asker themselves.
  prefer(found, [&asker](const Asker* other) {
    return other->complete ||
           std::find(other->given.begin(), other->given.end(), &asker) == other->given.end();
  });
  prefer(found, [this](const Asker* other) { return other->children < settings_.children - 0.5; });
  return found;
}

// At most four, each free slot with the same chance; the least busy first. Always the least busy of all
// would make a chain of them.
std::vector<Book::Asker*> Book::draw(std::vector<Asker*> candidates) {
  const auto room = [this](const Asker* asker) {
    return std::max(0.1, settings_.children - asker->children);
  };
  double all = 0;
  for (const auto* candidate : candidates) all += room(candidate);
  std::vector<Asker*> drawn;
  while (drawn.size() < kMostSources && !candidates.empty()) {
    double at = std::uniform_real_distribution<double>(0, all)(random_);
    std::size_t i = 0;
    while (i + 1 < candidates.size() && (at -= room(candidates[i])) > 0) ++i;
    all -= room(candidates[i]);
    drawn.push_back(candidates[i]);
    candidates[i] = candidates.back();
    candidates.pop_back();
  }
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
