#include "proxy/peers/book.h"

#include <algorithm>

#include "proxy/peers/book_entries.h"

namespace layerd::peers {
namespace {

std::uint64_t sum_of(const Digest& sha256) {
  std::uint64_t sum = 0;
  for (const char byte : sha256.raw().substr(0, 8)) sum = sum << 8 | static_cast<unsigned char>(byte);
  return sum | 1;
}

// What a node may do of whom nothing is kept: the site pays a copy, the node pays nothing.
AskAnswer unrecorded_lease(Duration lease) {
  AskAnswer answer;
  answer.kind = AskAnswer::Kind::fetch;
  answer.lease = lease;
  return answer;
}

}  // namespace

Book::Book(BookSettings settings, std::uint64_t seed) : settings_(settings), random_(seed) {}
Book::~Book() = default;

AskAnswer Book::ask(const std::string& from, const Ask& ask, const std::vector<Holder>& holders,
                    TimePoint now) {
  AskAnswer answer;
  answer.whole = is_whole(ask.unit.blob.digest, now);
  answer.wait = settings_.busy;
  if (!may_speak(from, now)) return answer;
  if (answer.whole && !ask.unit.whole) return answer.wait = {}, answer;
  Peer* peer = this->peer(from, now);
  Unit* unit = peer == nullptr ? nullptr : open(ask.unit, *peer, now);
  Asker* asker = unit == nullptr ? nullptr : admit(*unit, *peer);
  if (asker == nullptr) return unrecorded_lease(settings_.lease);
  for (const auto& holder : holders) {
    Peer* other = this->peer(holder.id, now);
    Asker* source = other == nullptr || other == peer ? nullptr : admit(*unit, *other);
    if (source == nullptr) continue;
    if (other->zone.empty()) other->zone = holder.zone;
    source->complete = true;
  }
  mark_avoided(ask);
  note(*unit, *asker, ask);
  expire_leases(*unit, now);
  const bool whole = answer.whole;
  answer = choose(*unit, *asker, ask, now);
  answer.whole = whole;
  if (!unit->claim) return answer;
  answer.claim = unit->claim->sha256;
  answer.is_proved = unit->claim->is_proved();
  answer.claimed_by = unit->claim->by_other_than(ask.avoid);
  const auto sum = sum_of(*answer.claim);
  for (const auto& id : ask.about) {
    const auto at = peers_.find(id);
    const Asker* other = at == peers_.end() ? nullptr : unit->find(*at->second);
    if (other != nullptr && other->sum == sum) answer.agree.push_back(id);
  }
  return answer;
}

bool Book::is_rootless(const UnitName& name, TimePoint now) {
  Unit* unit = find(name, now);
  if (unit == nullptr) return true;
  expire_leases(*unit, now);
  return unit->leases.empty() &&
         std::none_of(unit->askers.begin(), unit->askers.end(),
                      [](const Asker& asker) { return asker.complete && !asker.peer->gone; });
}

void Book::tell(const std::string& from, const Tell& tell, TimePoint now) {
  if (!may_speak(from, now)) return;
  Peer* peer = this->peer(from, now);
  if (peer == nullptr) return;
  for (const auto& gave_up : tell.gave_up) {
    Unit* unit = find(gave_up.unit, now);
    if (unit == nullptr) continue;
    // Only who was told to fetch it can know how upstream answers.
    if (gave_up.whole_only && unit->lease_of(*peer) != nullptr) whole_only(gave_up.unit.blob.digest, now);
    end_lease(*unit, *peer);
    auto* asker = unit->find(*peer);
    if (asker == nullptr) continue;
    asker->receiving = false;
    release_given(*asker);
  }
  for (const auto& alive : tell.alive) {
    Unit* unit = find(alive.unit, now);
    auto* asker = unit == nullptr ? nullptr : unit->find(*peer);
    if (asker == nullptr) continue;
    asker->have = std::max(asker->have, alive.have);
    asker->receiving = !asker->complete;
    auto* lease = unit->lease_of(*peer);
    if (lease == nullptr || alive.have <= lease->have) continue;
    lease->have = alive.have;
    lease->alive = now;
  }
  for (const auto& done : tell.done) this->done(*peer, done, now);
}

void Book::done(Peer& peer, const Tell::Done& done, TimePoint now) {
  Unit* unit = open(done.unit, peer, now);
  Asker* asker = unit == nullptr ? nullptr : admit(*unit, peer);
  if (asker == nullptr) return;
  asker->complete = true;
  asker->sum = sum_of(done.sha256);
  asker->receiving = false;
  end_lease(*unit, peer);
  release_given(*asker);
  claim(*unit, *asker, done);
}

// What upstream gave to two nodes must be the same; if it is not, neither counts.
void Book::claim(Unit& unit, Asker& asker, const Tell::Done& done) {
  const bool agrees = unit.claim && unit.claim->sha256 == done.sha256;
  if (unit.claim && (unit.claim->is_proved() || !done.from_upstream)) {
    if (!agrees) asker.complete = false;  // it has something else, which nobody wants
    return;
  }
  if (!done.from_upstream || unit.disputed) return;
  if (agrees) {
    auto& by = unit.claim->by;
    if (by.size() < kMostSources && !contains(by, asker.peer->id)) by.push_back(asker.peer->id);
    return;
  }
  if (!unit.claim) return set_claim(unit, done.sha256, {asker.peer->id});
  unit.claim.reset();
  unit.disputed = true;
}

// Nobody is sent to those who have something else.
// by: who says so; empty: it is proved.
void Book::set_claim(Unit& unit, const Digest& sha256, std::vector<std::string> by) {
  unit.claim = Unit::Claim{sha256, std::move(by)};
  const auto sum = sum_of(sha256);
  for (auto& asker : unit.askers)
    if (asker.complete && asker.sum != 0 && asker.sum != sum) asker.complete = false;
}

void Book::prove(const Digest& digest, const std::vector<Digest>& units) {
  for (std::uint32_t i = 0; i < units.size(); ++i) {
    const auto at = units_.find(Key{digest, i, false});
    if (at != units_.end()) set_claim(*at->second, units[i], {});
  }
}

void Book::drop_claims(const Digest& digest) {
  for (auto& [key, unit] : units_) {
    if (key.digest != digest || !unit->claim) continue;
    unit->claim.reset();
    unit->disputed = true;
  }
}

void Book::gone(const std::string& member) {
  const auto at = peers_.find(member);
  if (at == peers_.end() || at->second->gone) return;
  at->second->gone = true;
  if (at->second->leases == 0) return;
  for (auto& [key, unit] : units_) end_lease(*unit, *at->second);
}

void Book::whole_only(const Digest& digest, TimePoint now) {
  if (whole_.size() < settings_.units || whole_.count(digest) != 0) whole_[digest] = now;
}

bool Book::is_whole(const Digest& digest, TimePoint now) const {
  const auto at = whole_.find(digest);
  return at != whole_.end() && now - at->second < settings_.forget;
}

bool Book::may_speak(const std::string& from, TimePoint now) {
  Peer* peer = this->peer(from, now);
  if (peer == nullptr) return true;  // bounded by what happens to those nothing is kept of
  const std::chrono::duration<double> passed = now - peer->refilled;
  peer->words = std::min(settings_.burst, peer->words + passed.count() * settings_.asks_per_second);
  peer->refilled = now;
  if (peer->words < 1) return false;
  peer->words -= 1;
  return true;
}

Book::Peer* Book::peer(const std::string& id, TimePoint now) {
  auto at = peers_.find(id);
  if (at == peers_.end()) {
    if (peers_.size() >= settings_.peers) return nullptr;
    at = peers_.emplace(id, std::make_unique<Peer>()).first;
    at->second->id = id;
    at->second->words = settings_.burst;
    at->second->refilled = now;
  }
  return at->second.get();
}

Book::Unit* Book::find(const UnitName& name, TimePoint now) {
  const auto at = units_.find(key_of(name));
  if (at == units_.end()) return nullptr;
  auto& unit = *at->second;
  unit.touched = now;
  order_.splice(order_.end(), order_, unit.order);
  return &unit;
}

Book::Unit* Book::open(const UnitName& name, const Peer& peer, TimePoint now) {
  if (Unit* unit = find(name, now)) return unit;
  if (peer.units >= settings_.units_per_peer) return nullptr;
  if (units_.size() >= settings_.units) forget(units_.find(order_.front()));
  const Key key = key_of(name);
  auto& unit = units_[key] = std::make_unique<Unit>();
  unit->key = key;
  unit->touched = now;
  unit->order = order_.insert(order_.end(), key);
  return unit.get();
}

Book::Asker* Book::admit(Unit& unit, Peer& peer) {
  if (Asker* asker = unit.find(peer)) return asker;
  if (peer.units >= settings_.units_per_peer) return nullptr;
  while (askers_ >= settings_.askers && order_.front() != unit.key) forget(units_.find(order_.front()));
  if (askers_ >= settings_.askers) return nullptr;
  ++peer.units;
  ++askers_;
  auto& asker = unit.askers.emplace_back();
  asker.peer = &peer;
  return &asker;
}

// What an ask says of the asker and of those it does not want.
void Book::note(Unit& unit, Asker& asker, const Ask& ask) {
  auto& peer = *asker.peer;
  peer.gone = false;
  peer.zone = ask.zone;
  peer.load = ask.load;
  peer.given = 0;
  asker.have = ask.have;
  asker.complete = false;
  asker.receiving = false;
  end_lease(unit, peer);  // who fetches does not ask
  release_given(asker);
  for (Asker* other : asker.avoids) --other->complaints;
  asker.avoids.clear();
  if (ask.avoid.empty()) return;
  for (auto& other : unit.askers) {
    if (&other == &asker || !is_avoided(*other.peer)) continue;
    ++other.complaints;
    asker.avoids.push_back(&other);
  }
}

// Looked up once: a unit may have thousands of askers, each of whom would be compared with each of these.
void Book::mark_avoided(const Ask& ask) {
  ++mark_;
  for (const auto& id : ask.avoid) {
    const auto at = peers_.find(id);
    if (at != peers_.end()) at->second->avoided = mark_;
  }
}

bool Book::is_avoided(const Peer& peer) const { return peer.avoided == mark_; }

void Book::release_given(Asker& asker) {
  for (Asker* source : asker.given)
    source->children = std::max(0.0, source->children - 1.0 / static_cast<double>(asker.given.size()));
  asker.given.clear();
}

void Book::expire_leases(Unit& unit, TimePoint now) {
  for (std::size_t i = unit.leases.size(); i-- > 0;) {
    if (now - unit.leases[i].alive < settings_.lease) continue;
    Peer& peer = *unit.leases[i].peer;
    end_lease(unit, peer);
    if (auto* asker = unit.find(peer)) asker->receiving = false;
  }
}

void Book::end_lease(Unit& unit, const Peer& peer) {
  const auto at = std::find_if(unit.leases.begin(), unit.leases.end(),
                               [&peer](const Unit::Lease& lease) { return lease.peer == &peer; });
  if (at == unit.leases.end()) return;
  --at->peer->leases;
  unit.leases.erase(at);
}

void Book::sweep(TimePoint now) {
  while (!order_.empty()) {
    const auto at = units_.find(order_.front());
    if (now - at->second->touched < settings_.forget) break;
    forget(at);
  }
  std::erase_if(whole_, [&](const auto& entry) { return now - entry.second >= settings_.forget; });
  std::erase_if(peers_, [&](const auto& entry) {
    return entry.second->units == 0 && now - entry.second->refilled >= settings_.forget;
  });
}

void Book::forget(Units::iterator at) {
  auto& unit = *at->second;
  for (auto& lease : unit.leases) --lease.peer->leases;
  for (auto& asker : unit.askers) --asker.peer->units;
  askers_ -= unit.askers.size();
  order_.erase(unit.order);
  units_.erase(at);
}

std::size_t Book::leases() const {
  std::size_t count = 0;
  for (const auto& [id, peer] : peers_) count += peer->leases;
  return count;
}

}  // namespace layerd::peers
