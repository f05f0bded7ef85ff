#include "proxy/peers/share.h"

#include <algorithm>
#include <set>

#include "proxy/peers/message_fields.h"
#include "proxy/peers/unit_search.h"
#include "runtime/log.h"

namespace layerd::peers {

Ticket Share::find(std::uint32_t unit, ByteRange rest, Done<UnitSource> done) {
  // Whatever end the download has for a blob of no known size: the one that givers know.
  rest.end = std::min(rest.end, range_of(core_->name(unit), std::nullopt).end);
  return start_search(core_, unit, rest, std::move(done));
}

ShareCore::ShareCore(SiteParts& parts, BlobName blob, Rights rights, std::optional<ByteCount>)
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
  who_asked_.reset();
  proofs_asked_.reset();
  waiting_.clear();
}

bool ShareCore::want(const UnitName& unit) {
  constexpr std::size_t kMostWanted = 32;
  if (!wanted_ || is_closed_ || unit.whole != is_whole_ || units_.count(unit.unit) != 0) return false;
  if (wanted_units_.size() >= kMostWanted || !wanted_units_.insert(unit.unit).second) return false;
  parts_.loop.post_detached([self = weak_from_this(), number = unit.unit] {
    const auto share = self.lock();
    if (share && !share->is_closed_ && share->wanted_) share->wanted_(number);
  });
  return true;
}

void ShareCore::set_leased(UnitPart& part, bool is_leased) {
  if (part.is_leased == is_leased) return;
  part.is_leased = is_leased;
  is_leased ? ++parts_.leases : --parts_.leases;
  if (is_leased) parts_.metrics.leases_taken.add();
}

void ShareCore::begins(std::uint32_t unit, const std::shared_ptr<UnitStream>& stream, ByteCount total) {
  auto& one = part(unit);
  one.prefer.clear();
  one.source = stream->member();
  one.stream = stream;
  one.began = parts_.now();
  one.began_at = stream->range().first - begin_of(unit);
  if (std::find(one.givers.begin(), one.givers.end(), stream->member()) == one.givers.end())
    one.givers.push_back(stream->member());
  total_ = total;
}

void ShareCore::begins_upstream(std::uint32_t unit) {
  auto& one = part(unit);
  one.source.clear();
  one.stream.reset();
  one.began = parts_.now();
  one.began_at = one.have;
}

void ShareCore::avoid(std::uint32_t unit, const std::string& member) {
  auto& avoid = part(unit).avoid;
  if (std::find(avoid.begin(), avoid.end(), member) != avoid.end()) return;
  if (avoid.size() >= kMostIds) avoid.erase(avoid.begin());
  avoid.push_back(member);
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
  one->have = std::max(one->have, have);
  if (!one->is_leased || parts_.now() - one->told < parts_.settings.alive_every) return;
  one->told = parts_.now();
  parts_.teller.alive(one->coordinator, {name(unit), one->have});
}

void ShareCore::failed(std::uint32_t unit, const Error& why) {
  auto* one = find_part(unit);
  if (one == nullptr) return;
  if (one->source.empty()) return give_up(unit);
  // A lease outlives the member that was to bring the bytes.
  avoid(unit, one->source);
  parts_.acquaintances.fault(one->source, why.message);
  one->source.clear();
  one->stream.reset();
}

void ShareCore::dropped(std::uint32_t unit) {
  give_up(unit);
  units_.erase(unit);
}

std::optional<Digest> ShareCore::expected(std::uint32_t unit, const UnitPart& one) const {
  if (!is_whole_ && unit < proofs_.size()) return proofs_[unit];
  return one.claim;
}

bool ShareCore::arrived(std::uint32_t unit, const Digest& sha256, bool from_upstream) {
  auto& one = part(unit);
  const auto hash = expected(unit, one);
  if (hash && *hash != sha256 && !from_upstream && one.refused != sha256) return refuse(unit, one, sha256);
  if (hash && *hash != sha256) {
    // Upstream, or two members independently, say otherwise: whoever claimed this was wrong.
    if (!prover_.empty()) parts_.acquaintances.fault(prover_, "its hashes of units are not those of others");
    proofs_.clear();
    prover_.clear();
  }
  received_.push_back({unit, sha256, from_upstream ? std::vector<std::string>{} : one.givers});
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
    parts_.acquaintances.fault(giver, "unit " + std::to_string(unit) + " of " + blob_.digest.str() +
                                          " is not what it is said to be");
    LogLine(LogLevel::warn, "wrong_unit")
        .field("member", giver)
        .field("digest", blob_.digest.str())
        .field("unit", std::uint64_t{unit});
  }
  if (refused_.size() < 1'024) refused_.push_back({unit, sha256, std::move(one.givers)});
  one.refused = sha256;
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
  for (const auto& refused : refused_)
    if (refused.givers.size() == 1 && refused.unit < units.size() && units[refused.unit] != refused.sha256)
      parts_.acquaintances.ban(refused.givers.front(), parts_.settings.banned, "it sent wrong bytes",
                               parts_.now());
  refused_.clear();
  received_.clear();
}

void ShareCore::mismatched() {
  proofs_.clear();
  prover_.clear();
  for (auto& [unit, one] : units_) one.claim.reset();
  parts_.coordinator.book().drop_claims(blob_.digest);
  std::map<std::string, unsigned> gave;
  for (const auto& received : received_)
    for (const auto& giver : received.givers) ++gave[giver];
  if (gave.empty()) return;  // upstream's own fault
  parts_.metrics.wrong_blobs.add();
  // Who gave the wrong units shows when the blob is here rightly; until then nobody of them is asked again.
  for (const auto& [giver, units] : gave)
    parts_.acquaintances.ban(giver, parts_.settings.banned,
                             "it gave " + std::to_string(units) + " units of a blob whose digest was wrong",
                             parts_.now());
  constexpr std::size_t kMostSuspects = 32;
  if (parts_.suspects.size() < kMostSuspects) parts_.suspects[blob_.digest] = std::move(received_);
  received_.clear();
  if (parts_.alone.size() < 1'024) parts_.alone.insert(blob_.digest);
}

void acquit(SiteParts& parts, const std::vector<Received>& suspects, const std::vector<Digest>& units) {
  if (units.empty()) return;  // nothing to compare with: suspected they stay
  std::set<std::string> guilty, suspected;
  for (const auto& received : suspects) {
    const bool is_right = received.unit < units.size() && units[received.unit] == received.sha256;
    for (const auto& giver : received.givers) {
      suspected.insert(giver);
      if (!is_right) guilty.insert(giver);
    }
  }
  for (const auto& id : suspected) {
    if (guilty.count(id) == 0) parts.acquaintances.unban(id);
  }
  for (const auto& id : guilty) {
    parts.metrics.wrong_units.add();
    parts.acquaintances.ban(id, parts.settings.banned, "it sent wrong bytes", parts.now());
  }
}

std::vector<std::string> ShareCore::neighbours() const {
  std::vector<std::string> ids;
  for (auto at = received_.rbegin(); at != received_.rend() && ids.size() < kMostSources; ++at)
    for (const auto& giver : at->givers)
      if (std::find(ids.begin(), ids.end(), giver) == ids.end()) ids.push_back(giver);
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
  if (rank >= ranks.size() || keepers_heard_ >= kKeepers) return holders_known();
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
