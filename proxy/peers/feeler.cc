#include "proxy/peers/feeler.h"

#include <algorithm>

namespace layerd::peers {
namespace {

// A probe must name something, and what is pulled here is nobody's business before it is asked for.
UnitName nothing() {
  static const Digest kOfNothing = digest_of(DigestAlgorithm::sha256, "");
  return {{"layerd.invalid", "greeting", kOfNothing}, 0, false};
}

}  // namespace

void Feeler::wake(const BlobName& blob) {
  blob_ = blob;
  awake_ = parts_.now();
  if (runs_) return;
  runs_ = true;
  timer_ = parts_.loop.after(parts_.settings.feel_every, "peers: feeler", [this] { tick(); });
}

void Feeler::tick() {
  runs_ = false;
  // A pull that began when nobody was alive is not among the shares, and the next one may begin at any time.
  if (parts_.shares.empty() && parts_.now() - awake_ > parts_.settings.feel_on) return;
  runs_ = true;
  timer_ = parts_.loop.after(parts_.settings.feel_every, "peers: feeler", [this] { tick(); });
  const auto id = parts_.acquaintances.next_to_feel(parts_.coordinator.ranking().members(), parts_.now());
  if (!id) return;
  // What it answers is noted by the wire.
  probe_ = parts_.wire.probe(parts_.member(*id), Probe{{blob_, 0, false}}, [](const Result<ProbeAnswer>&) {});
}

// Begins behind ourselves: a site that starts as a whole does not greet the same member at the same time.
void Feeler::list_changed() {
  const auto& list = parts_.coordinator.ranking().members();
  std::erase_if(greeted_, [&list](const std::string& id) { return list.find(id) == nullptr; });
  const auto& all = list.all();
  const auto self =
      std::find_if(all.begin(), all.end(), [this](const auto& one) { return one.id == parts_.self(); });
  const auto first = static_cast<std::size_t>(self - all.begin());
  for (std::size_t i = 1; i <= all.size(); ++i) {
    const auto& id = all[(first + i) % all.size()].id;
    if (is_to_greet(id) && greeted_.insert(id).second) waiting_.push_back({id});
  }
  greet_later();
}

void Feeler::trust_changed() {
  greeted_.clear();
  waiting_.clear();
  list_changed();
}

void Feeler::heard(const std::string& member) {
  if (!is_to_greet(member)) return;
  greeted_.insert(member);
  const bool waits = std::any_of(waiting_.begin(), waiting_.end(),
                                 [&member](const Turn& turn) { return turn.id == member; });
  if (!waits) waiting_.push_back({member});
  greet_later();
}

// While something is pulled whoever matters is known by that.
std::size_t Feeler::look() {
  const TimePoint now = parts_.now();
  const bool may_ask = parts_.settings.greet_every > Duration::zero() && parts_.shares.empty();
  if (!may_ask || parts_.self().empty()) return 0;
  if (looked_ == TimePoint{} || now - looked_ >= parts_.settings.look_every) {
    looked_ = now;
    std::erase_if(waiting_, [this](const Turn& turn) { return turn.is_asked_for || is_stale(turn.id); });
    for (const auto& member : parts_.coordinator.ranking().members().all())
      if (is_stale(member.id)) waiting_.push_front({member.id, true});
    greet_timer_.reset();
    if (!greeting_.held()) greets_ = false;
    greet_later();
  }
  const auto asked_for =
      std::count_if(waiting_.begin(), waiting_.end(), [](const Turn& turn) { return turn.is_asked_for; });
  return static_cast<std::size_t>(asked_for) + (greeting_.held() ? 1 : 0);
}

bool Feeler::is_stale(const std::string& member) const {
  if (member == parts_.self()) return false;
  const auto& all = parts_.acquaintances.all();
  const auto at = all.find(member);
  if (at == all.end() || at->second.spoken == TimePoint{}) return true;
  const auto& one = at->second;
  const bool is_known = one.latency && !one.unmet && !one.refuses && parts_.now() >= one.dead_until;
  return !is_known || parts_.now() - one.spoken > parts_.settings.look_every;
}

// One that never answered, and is not left alone.
bool Feeler::is_to_greet(const std::string& member) const {
  if (member == parts_.self() || parts_.coordinator.ranking().members().find(member) == nullptr) return false;
  const auto& all = parts_.acquaintances.all();
  const auto at = all.find(member);
  return at == all.end() || (!at->second.latency && parts_.now() >= at->second.dead_until);
}

void Feeler::greet_later() {
  if (greets_ || waiting_.empty() || parts_.self().empty()) return;
  if (parts_.settings.greet_every == Duration::zero()) return;
  greets_ = true;
  const Duration pause =
      waiting_.front().is_asked_for ? Duration::zero() : Duration(parts_.settings.greet_every);
  greet_timer_ = parts_.loop.after(pause, "peers: greetings", [this] { greet(); });
}

void Feeler::greet() {
  greets_ = false;
  if (!parts_.shares.empty()) {  // whoever is asked for a pull is known by that
    std::erase_if(waiting_, [](const Turn& turn) { return turn.is_asked_for; });
    return greet_later();
  }
  const auto& list = parts_.coordinator.ranking().members();
  std::erase_if(waiting_, [&](const Turn& turn) {
    return turn.is_asked_for ? list.find(turn.id) == nullptr : !is_to_greet(turn.id);
  });
  if (waiting_.empty()) return;
  const std::string id = std::move(waiting_.front().id);
  waiting_.pop_front();
  greets_ = true;
  greeting_ = parts_.wire.greet(parts_.member(id), Probe{nothing()}, [this](const Result<ProbeAnswer>&) {
    greeting_.reset();
    greets_ = false;
    greet_later();
  });
}

}  // namespace layerd::peers
