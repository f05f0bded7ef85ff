#include "proxy/peers/share.h"

#include <algorithm>
#include <set>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/recheck.h"
#include "proxy/peers/rejoin.h"
#include "proxy/peers/unit_search.h"
#include "runtime/log.h"

namespace layerd::peers {

Ticket Share::find(std::uint32_t unit, ByteRange rest, Done<UnitSource> done) {
  // Whatever end the download has for a blob of no known size: the one that givers know.
  rest.end = std::min(rest.end, range_of(core_->name(unit), std::nullopt).end);
  return start_search(core_, unit, rest, std::move(done));
}

ShareCore::ShareCore(SiteParts& parts, BlobName blob, Rights rights)
    : parts_(parts), blob_(std::move(blob)), rights_(rights) {
  parts_.shares.insert(this);
}

ShareCore::~ShareCore() { parts_.shares.erase(this); }

UnitPart* ShareCore::find_part(std::uint32_t unit) {
  const auto at = units_.find(unit);
  return at == units_.end() ? nullptr : &at->second;
}

void ShareCore::close() {
  is_closed_ = true;
  while (!units_.empty()) dropped(units_.begin()->first);
  wanted_ = nullptr;
  taken_ = nullptr;
  who_asked_.reset();
  proofs_asked_.reset();
  waiting_.clear();
}

bool ShareCore::want(const UnitName& unit) {
  constexpr std::size_t kMostWanted = 32;
  if (!wanted_ || is_closed_ || unit.whole != is_whole_ || units_.count(unit.unit) != 0) return false;
  if (!total_ || begin_of(unit.unit) >= *total_) return false;  // nor does the download know of it
  if (wanted_units_.size() >= kMostWanted || !wanted_units_.insert(unit.unit).second) return false;
  parts_.loop.post_detached([self = weak_from_this(), number = unit.unit] {
    const auto share = self.lock();
    if (!share || share->is_closed_ || !share->wanted_) return;
    share->wanted_(number);
    if (share->units_.count(number) == 0) share->wanted_units_.erase(number);  // it is here, or coming
  });
  return true;
}

void ShareCore::taken(const UnitName& unit, const std::string& by) {
  auto* one = find_part(unit.unit);
  if (one == nullptr || !taken_ || unit.whole || is_whole_ || one->was_taken) return;
  if (!is_ours(*one) || !parts_.is_source(by) || contains(one->avoid, by)) return;
  one->was_taken = true;
  yield(unit.unit, *one, by);
}

void ShareCore::yield(std::uint32_t unit, UnitPart& one, const std::string& to) {
  if (!taken_) return;
  one.taker = to;
  parts_.loop.post_detached([self = weak_from_this(), unit] {
    const auto share = self.lock();
    if (share && !share->is_closed_ && share->taken_) share->taken_(unit);
  });
}

void ShareCore::handed_over(std::uint32_t unit) {
  auto* one = find_part(unit);
  if (one == nullptr) return;
  if (!one->coordinator.empty()) parts_.teller.gave_up(one->coordinator, {name(unit), false});
  set_leased(*one, false);
  one->turn.reset();
  one->prefer = std::move(one->taker);
  one->taker.clear();
}

// Who coordinates the unit could not be reached when we began to fetch it, or lost sight of us since, and is
// there now: others may have been sent upstream as well.
void ShareCore::rejoin(std::uint32_t unit, UnitPart& one) {
  const auto since = std::max(one.began, one.rejoined);
  if (!is_ours(one) || is_whole_ || !parts_.acquaintances.anybody_returned_since(since)) return;
  const auto* best = parts_.best_rank(blob_.digest, unit);
  if (best == nullptr || !parts_.acquaintances.returned_since(best->id, since)) return;
  one.rejoined = parts_.now();
  one.rejoining = start_rejoin(shared_from_this(), unit);
}

void ShareCore::set_leased(UnitPart& part, bool is_leased) {
  if (part.is_leased == is_leased) return;
  part.is_leased = is_leased;
  parts_.ask_turns.leased(is_leased);
  if (is_leased) parts_.metrics.leases_taken.add();
}

void ShareCore::begins(std::uint32_t unit, const std::shared_ptr<UnitStream>& stream) {
  auto& one = part(unit);
  one.prefer.clear();
  one.source = stream->member();
  one.stream = stream;
  one.began = parts_.now();
  one.began_at = stream->range().first - begin_of(unit);
  if (!contains(one.givers, stream->member())) one.givers.push_back(stream->member());
  note_chain(one);
  settled(unit, one);
}

void ShareCore::settled(std::uint32_t unit, UnitPart& one) {
  one.is_sought = false;
  parts_.uploads.settled(key_of(name(unit)));
}

void ShareCore::begins_upstream(std::uint32_t unit) {
  auto& one = part(unit);
  one.source.clear();
  one.stream.reset();
  one.began = parts_.now();
  one.began_at = one.have;
  settled(unit, one);
}

// The path of a stream changes while it runs: noted when it begins and when it ends.
void ShareCore::note_chain(UnitPart& one) const {
  const auto stream = one.stream.lock();
  if (!stream) return;
  for (const auto& id : stream->path())
    if (one.chain.size() < 2 * kMostIds && id != parts_.self() && !contains(one.chain, id))
      one.chain.push_back(id);
}

bool ShareCore::is_tainted(std::uint32_t unit, const std::string& member,
                           const std::vector<std::string>& path) {
  const auto& wrong = part(unit).wrong;
  const auto is_bad = [&](const std::string& id) {
    return contains(wrong, id) || parts_.acquaintances.is_banned(id, parts_.now());
  };
  return is_bad(member) || std::any_of(path.begin(), path.end(), is_bad);
}

bool ShareCore::is_suspect(std::uint32_t unit, const std::string& member) const {
  const auto suspects = parts_.suspects.find(blob_.digest);
  if (suspects == parts_.suspects.end()) return false;
  const auto& all = suspects->second.received;
  return std::any_of(all.begin(), all.end(), [&](const Received& received) {
    return received.unit == unit && received.is_open && contains(received.chain, member);
  });
}

void ShareCore::avoid(std::uint32_t unit, const std::string& member) {
  auto& avoid = part(unit).avoid;
  if (std::find(avoid.begin(), avoid.end(), member) != avoid.end()) return;
  if (avoid.size() >= kMostIds) avoid.erase(avoid.begin());
  avoid.push_back(member);
}

std::vector<std::string> ShareCore::avoided(std::uint32_t unit) {
  const auto& one = part(unit);
  auto ids = one.avoid;
  if (!one.left.empty() && ids.size() < kMostIds && !contains(ids, one.left)) ids.push_back(one.left);
  return ids;
}

void ShareCore::give_up(std::uint32_t unit, bool whole_only) {
  auto* one = find_part(unit);
  if (one == nullptr) return;
  if (!one->coordinator.empty()) parts_.teller.gave_up(one->coordinator, {name(unit), whole_only});
  one->coordinator.clear();
  set_leased(*one, false);
  one->turn.reset();
}

void ShareCore::progress(std::uint32_t unit, ByteCount have) {
  auto* one = find_part(unit);
  if (one == nullptr) return;
  const ByteCount more = have - std::min(have, one->have);
  one->have += more;
  if (one->source.empty()) {
    parts_.metrics.bytes_from_upstream.add(more);
    parts_.speeds.received(more, parts_.now());
    const std::chrono::duration<double> age = parts_.now() - one->began;
    if (one->began != TimePoint{} && age.count() > 1 && one->have > one->began_at)
      parts_.speeds.upstream(static_cast<double>(one->have - one->began_at) / age.count(), parts_.now());
  }
  rejoin(unit, *one);
  if (!one->is_leased || parts_.now() - one->told < parts_.settings.alive_every) return;
  one->told = parts_.now();
  parts_.teller.alive(one->coordinator, {name(unit), one->have});
}

void ShareCore::failed(std::uint32_t unit, const Error& why) {
  auto* one = find_part(unit);
  if (one == nullptr) return;
  if (one->source.empty()) {
    // Without upstream it is worth more questions: who told the keepers may have known others as dead.
    if (who_ == Who::known && holders_.empty()) {
      who_ = Who::unasked;
      keepers_heard_ = 0;
      keepers_wanted_ = kMostKeepers;
    }
    return give_up(unit);
  }
  note_chain(*one);
  // A lease outlives the member that was to bring the bytes.
  if (one->source != one->left) {
    avoid(unit, one->source);
    parts_.acquaintances.fault(one->source, why.message);
  }
  one->source.clear();
  one->stream.reset();
}

void ShareCore::dropped(std::uint32_t unit) {
  give_up(unit);
  units_.erase(unit);
  parts_.uploads.settled(key_of(name(unit)));
}

std::optional<Digest> ShareCore::expected(std::uint32_t unit, const UnitPart& one) const {
  if (!is_whole_ && unit < proofs_.size()) return proofs_[unit];
  return one.claim;
}

bool ShareCore::arrived(std::uint32_t unit, const Digest& sha256, bool from_upstream) {
  auto& one = part(unit);
  note_chain(one);
  const auto hash = expected(unit, one);
  // The same from another member says nothing: it may have it from the first. Upstream decides.
  if (hash && *hash != sha256 && !from_upstream) return refuse(unit, one, sha256);
  if (hash && *hash != sha256) {
    // Upstream says otherwise: whoever claimed this was wrong.
    if (!prover_.empty()) parts_.acquaintances.fault(prover_, "its hashes of units are not those of others");
    proofs_.clear();
    prover_.clear();
  }
  received_.push_back({unit, sha256, from_upstream ? std::vector<std::string>{} : one.chain});
  (from_upstream ? parts_.metrics.units_from_upstream : parts_.metrics.units_from_members).add();
  const auto range = range_of(name(unit), total_);
  const std::chrono::duration<double> took = parts_.now() - one.began;
  if (one.began != TimePoint{} && total_ && range.size() > one.began_at)
    parts_.speeds.note(static_cast<double>(range.size() - one.began_at) / std::max(took.count(), 1e-3));
  if (!one.coordinator.empty()) parts_.teller.done(one.coordinator, {name(unit), sha256, from_upstream});
  set_leased(one, false);
  units_.erase(unit);
  wanted_units_.erase(unit);
  return true;
}

// Thrown away on somebody's word. Who was wrong shows when the whole blob has been verified.
bool ShareCore::refuse(std::uint32_t unit, UnitPart& one, const Digest& sha256) {
  parts_.metrics.wrong_units.add();
  for (const auto& giver : one.givers) {
    avoid(unit, giver);
    parts_.acquaintances.wrong_unit(giver);
    parts_.acquaintances.fault(giver, "unit " + std::to_string(unit) + " of " + blob_.digest.str() +
                                          " is not what it is said to be");
    LogLine(LogLevel::warn, "wrong_unit")
        .field("member", giver)
        .field("digest", blob_.digest.str())
        .field("unit", std::uint64_t{unit});
  }
  if (refused_.size() < 1'024) refused_.push_back({unit, sha256, one.chain});
  ++one.refusals;
  for (const auto& id : one.chain)
    if (one.wrong.size() < 2 * kMostIds && !contains(one.wrong, id)) one.wrong.push_back(id);
  one.chain.clear();
  one.givers.clear();
  one.source.clear();
  one.stream.reset();
  one.have = 0;
  give_up(unit);
  return false;
}

void ShareCore::turn_whole() {
  if (is_whole_) return;
  while (!units_.empty()) dropped(units_.begin()->first);
  is_whole_ = true;
}

void ShareCore::whole_only() {
  if (is_whole_) return;
  for (auto& [unit, one] : units_)
    if (one.is_leased) give_up(unit, true);
  // Whoever coordinates the whole blob hears it when we ask; if that is us, now.
  parts_.coordinator.book().whole_only(blob_.digest, parts_.now());
  turn_whole();
}

void ShareCore::verified(const std::vector<Digest>& units) {
  parts_.coordinator.book().prove(blob_.digest, units);
  settle_single(units);
  std::erase_if(refused_, [&units](const Received& one) {
    return one.unit >= units.size() || units[one.unit] == one.sha256;
  });
  const auto blame = blamed(std::move(refused_), parts_.acquaintances);
  if (blame.guilty.size() == 1 && blame.suspects.empty())  // else it may be any of them
    parts_.acquaintances.ban(*blame.guilty.begin(), parts_.settings.banned, "it sent wrong bytes",
                             parts_.now());
  refused_.clear();
  received_.clear();
}

// A blob of one unit is compared by its own digest and never arrives as a unit: who asks now is sent to us.
void ShareCore::settle_single(const std::vector<Digest>& units) {
  for (auto& [unit, one] : units_) {
    set_leased(one, false);
    const bool has_hash = unit < units.size() && !is_whole_;
    if (!one.coordinator.empty() && has_hash)
      parts_.teller.done(one.coordinator, {name(unit), units[unit], one.chain.empty()});
    one.coordinator.clear();
  }
}

void ShareCore::mismatched() {
  proofs_.clear();
  prover_.clear();
  for (auto& [unit, one] : units_) {
    one.claim.reset();
    note_chain(one);
    if (!one.chain.empty()) received_.push_back({unit, Digest(), one.chain});
  }
  std::map<std::string, unsigned> gave;
  for (const auto& received : received_)
    for (const auto& giver : received.chain) ++gave[giver];
  if (gave.empty()) return;  // upstream's own fault
  parts_.metrics.wrong_blobs.add();
  // The first time it is asked which units differ from what upstream gave to others; those are fetched again.
  const bool is_first = parts_.suspects.count(blob_.digest) == 0;
  if (is_first && !is_whole_) {
    parts_.rechecks[blob_.digest] = start_recheck(parts_, blob_, received_);
    parts_.suspect(blob_.digest, std::move(received_));
    received_.clear();
    return;
  }
  // Who gave the wrong units shows when the blob is here rightly; until then nobody of them is asked again.
  parts_.coordinator.book().drop_claims(blob_.digest);
  for (const auto& [giver, units] : gave)
    parts_.acquaintances.ban(giver, parts_.settings.banned,
                             "it gave " + std::to_string(units) + " units of a blob whose digest was wrong",
                             parts_.now());
  parts_.suspect(blob_.digest, std::move(received_));
  received_.clear();
  if (parts_.alone.size() < 1'024) parts_.alone.insert(blob_.digest);
}

void acquit(SiteParts& parts, const std::vector<Received>& suspects, const std::vector<Digest>& units) {
  if (units.empty()) return;  // nothing to compare with: suspected they stay
  std::set<std::string> suspected;
  std::vector<Received> wrong;
  for (const auto& received : suspects) {
    const bool is_right = received.unit < units.size() && units[received.unit] == received.sha256;
    suspected.insert(received.chain.begin(), received.chain.end());
    if (!is_right) wrong.push_back(received);
  }
  const auto blame = blamed(std::move(wrong), parts.acquaintances);
  for (const auto& id : suspected) parts.acquaintances.unban(id);
  parts.metrics.wrong_units.add(blame.guilty.size() + blame.suspects.size());
  for (const auto* these : {&blame.guilty, &blame.suspects})
    for (const auto& id : *these) parts.acquaintances.wrong_unit(id);
  avoid_blamed(parts, blame);
}

std::vector<std::string> ShareCore::neighbours() const {
  std::vector<std::string> ids;
  for (auto at = received_.rbegin(); at != received_.rend(); ++at)
    for (const auto& giver : at->chain)
      if (ids.size() < kMostSources && !contains(ids, giver)) ids.push_back(giver);
  return ids;
}

// ---- who holds it
// -------------------------------------------------------------------------------------------

Ticket ShareCore::learn_holders(Done<Ok> done) {
  auto pending = std::make_shared<Pending<Ok>>(std::move(done));
  waiting_.push_back(pending);
  if (who_ == Who::unasked) {
    who_ = Who::asking;
    who_asked_ = parts_.loop.post([this] { ask_who(0); });
  } else if (who_ == Who::known) {
    who_asked_ = parts_.loop.post([this] { holders_known(); });
  }
  return Ticket(std::move(pending));
}

// The first two ranks of the blob keep its records. Where one of them is dead the next rank is asked: it may
// hold the blob, or have been told instead.
void ShareCore::ask_who(std::size_t rank) {
  const auto ranks = parts_.coordinator.ranking().first(blob_.digest, kRecords, kMostKeepers);
  if (rank >= ranks.size() || keepers_heard_ >= keepers_wanted_) return holders_known();
  const auto& id = ranks[rank]->id;
  const peers::Who who{blob_};
  if (id == parts_.self()) return on_who(rank, parts_.coordinator.who(id, who));
  if (parts_.acquaintances.is_dead(id, parts_.now())) return ask_who(rank + 1);
  who_asked_ = parts_.wire.who(*ranks[rank], who, [this, rank](const Result<WhoAnswer>& answer) {
    answer ? on_who(rank, *answer) : ask_who(rank + 1);
  });
}

void ShareCore::on_who(std::size_t rank, const WhoAnswer& answer) {
  holders_ = answer.holders;
  std::erase_if(holders_, [this](const std::string& id) { return !parts_.is_source(id); });
  ++keepers_heard_;
  if (holders_.empty()) return ask_who(rank + 1);
  if (!answer.units.empty() && answer.total && answer.units.size() == (*answer.total + kUnit - 1) / kUnit) {
    proofs_ = answer.units;
    const auto ranks = parts_.coordinator.ranking().first(blob_.digest, kRecords, kMostKeepers);
    prover_ = rank < ranks.size() ? ranks[rank]->id : std::string{};
  } else {
    ask_proofs();
  }
  holders_known();
}

// A holder knows the hashes of the units. Nobody waits for them.
void ShareCore::ask_proofs() {
  const auto& holder = holders_.front();
  proofs_asked_ = parts_.wire.who(parts_.member(holder), peers::Who{blob_},
                                  [this, holder](const Result<WhoAnswer>& answer) {
                                    if (!answer || answer->units.empty() || !answer->total) return;
                                    if (answer->units.size() != (*answer->total + kUnit - 1) / kUnit) return;
                                    proofs_ = answer->units;
                                    prover_ = holder;
                                  });
}

void ShareCore::holders_known() {
  who_ = Who::known;
  auto waiting = std::move(waiting_);
  waiting_.clear();
  const auto self = shared_from_this();  // the last of them may let go of us
  for (const auto& one : waiting) one->answer(Ok{});
}

}  // namespace layerd::peers
