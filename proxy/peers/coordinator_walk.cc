// The walk to whoever coordinates a unit: the ranks in order without those that are dead, redirects followed.
// Where the best one turns out to be dead, many of the next ones may be as well: they are then looked for at
// the same time, so that each of the three tries costs one time-out however many of the list do not exist.
#include <algorithm>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/probe_round.h"
#include "proxy/peers/unit_search.h"

namespace layerd::peers {
namespace {

class Walk final : public Pending<Directed> {
 public:
  Walk(SiteParts& parts, Ask ask, Done<Directed> done)
      : Pending(std::move(done)), parts_(parts), ask_(std::move(ask)) {}
  void begin() {
    pending_ = parts_.loop.post([this] { next(); });
  }

 private:
  void on_cancel() noexcept override { pending_.reset(); }

  // The best member that is neither dead nor was tried; those before it are named as dead in the ask.
  const Member* best() {
    const auto& ranking = parts_.coordinator.ranking();
    for (std::size_t depth = 4;; depth *= 8) {
      ask_.dead.clear();
      const auto ranks = ranking.first(ask_.unit.blob.digest, ask_.unit.unit, depth);
      for (const auto* member : ranks) {
        if (!is_tried(member->id) && !parts_.acquaintances.is_dead(member->id, parts_.now())) return member;
        if (ask_.dead.size() < kMostIds) ask_.dead.push_back(member->id);
      }
      if (ranks.size() < depth) return nullptr;
    }
  }

  void next() {
    const auto* member = asks_ < parts_.settings.coordinators ? best() : nullptr;
    if (member == nullptr) return answer(Error{Errc::upstream_unreachable, "nobody coordinates this unit"});
    ++asks_;
    ask_.hops = 0;
    ask(member->id);
  }

  // The next ranks that are not known to be dead, us among them at most as the last.
  std::vector<Member> unknown_ranks(std::size_t most) const {
    std::vector<Member> unknown;
    for (const auto* member :
         parts_.coordinator.ranking().first(ask_.unit.blob.digest, ask_.unit.unit, 4 * most)) {
      if (member->id == parts_.self() || unknown.size() == most) break;
      if (!is_tried(member->id) && !parts_.acquaintances.is_dead(member->id, parts_.now()))
        unknown.push_back(*member);
    }
    return unknown;
  }
  bool is_tried(const std::string& id) const { return contains(tried_, id); }

  void look_around() {
    const auto members = unknown_ranks(asks_ == 1 ? kFewRanks : kManyRanks);
    if (members.size() < 2 || asks_ >= parts_.settings.coordinators) return next();
    pending_ = probe_all(parts_.loop, parts_.wire, ask_.unit, members, parts_.settings.probe_wait,
                         [this, members](Result<std::vector<Candidate>> answered) {
                           for (const auto& member : members)
                             if (!has_answered(*answered, member.id)) tried_.push_back(member.id);
                           next();
                         });
  }
  static bool has_answered(const std::vector<Candidate>& answered, const std::string& id) {
    return std::any_of(answered.begin(), answered.end(), [&](const Candidate& one) { return one.id == id; });
  }

  void ask(const std::string& id) {
    asked_ = id;
    if (id == parts_.self()) return end(parts_.coordinator.ask(id, ask_));
    pending_ = parts_.wire.ask(parts_.member(id), ask_, [this](Result<AskAnswer> answered) {
      if (!answered) {
        tried_.push_back(asked_);
        return means_dead(answered.error()) ? look_around() : next();
      }
      if (answered->kind == AskAnswer::Kind::redirect) return redirected(answered->member);
      end(*std::move(answered));
    });
  }

  // Who knows a better one sends us there; one that we know to be dead makes him accept.
  void redirected(const std::string& to) {
    const bool is_dead = is_tried(to) || parts_.acquaintances.is_dead(to, parts_.now());
    if (ask_.hops >= kMostHops || (is_dead && ask_.dead.size() >= kMostIds)) {
      tried_.push_back(asked_);
      return next();
    }
    ++ask_.hops;
    if (!is_dead) return ask(to);
    ask_.dead.push_back(to);
    ask(std::string(asked_));
  }

  void end(AskAnswer answered) {
    const bool is_new = std::any_of(ask_.dead.begin(), ask_.dead.end(), [this](const std::string& id) {
      return is_tried(id) || parts_.acquaintances.died_lately(id, parts_.now());
    });
    answer(Directed{std::move(answered), asked_, is_new});
  }

  static constexpr std::size_t kFewRanks = 8, kManyRanks = 32;

  SiteParts& parts_;
  Ask ask_;
  unsigned asks_ = 0;
  std::string asked_;
  std::vector<std::string> tried_;
  Ticket pending_;
};

}  // namespace

Ticket ask_coordinator(SiteParts& parts, Ask ask, Done<Directed> done) {
  ask.load = parts.uploads.running();
  ask.zone = parts.zone();
  auto walk = std::make_shared<Walk>(parts, std::move(ask), std::move(done));
  walk->begin();
  return Ticket(std::move(walk));
}

}  // namespace layerd::peers
