#include "proxy/peers/site.h"

#include <algorithm>

#include "proxy/peers/announcer.h"
#include "proxy/peers/feeler.h"
#include "proxy/peers/share.h"
#include "proxy/peers/watchdog.h"

namespace layerd::peers {

Site::Site(Loop& loop, Wire& wire, Shelf& shelf, Metrics& metrics, SiteSettings settings,
           SharePolicy may_share, std::uint64_t seed)
    : parts_(std::make_unique<SiteParts>(loop, wire, shelf, metrics, std::move(settings),
                                         std::move(may_share), seed)),
      watchdog_(std::make_unique<Watchdog>(*parts_)),
      announcer_(std::make_unique<Announcer>(*parts_)),
      feeler_(std::make_unique<Feeler>(*parts_)) {
  parts_->coordinator.set_pull([parts = parts_.get()](const UnitName& unit) {
    for (auto* share : parts->shares)
      if (share->blob().digest == unit.blob.digest && share->want(unit)) return true;
    return false;
  });
  parts_->uploads.set_sought([parts = parts_.get()](const UnitKey& key) {
    for (auto* share : parts->shares) {
      if (share->blob().digest != key.digest || share->is_whole() != key.whole) continue;
      const auto* part = share->find_part(key.unit);
      if (part != nullptr && part->is_sought) return true;
    }
    return false;
  });
  sweep();
}

Site::~Site() = default;

void Site::sweep() {
  parts_->coordinator.book().sweep(parts_->now());
  parts_->coordinator.records().sweep(parts_->now());
  sweep_ = parts_->loop.after(std::chrono::minutes(1), "peers: sweep", [this] { sweep(); });
}

void Site::set_members(MemberListPtr members) {
  parts_->coordinator.set_ranking(std::make_shared<const Ranking>(std::move(members)));
  announcer_->list_changed();
  feeler_->list_changed();
}

void Site::trust_changed() {
  parts_->acquaintances.trust_changed();
  feeler_->trust_changed();
}

std::size_t Site::look() { return feeler_->look(); }

void Site::spoke(const std::string& member) {
  parts_->acquaintances.spoke(member, parts_->now());
  feeler_->heard(member);
}

bool Site::shares(const std::string& registry, const std::string& repository) const {
  return parts_->may_share(registry, repository) && !parts_->is_alone();
}

std::unique_ptr<BlobShare> Site::begin(const BlobName& blob, Rights rights) {
  if (!parts_->may_share(blob.registry, blob.repository)) return nullptr;
  feeler_->wake(blob);
  if (parts_->is_alone()) return nullptr;
  if (parts_->alone.erase(blob.digest) > 0) return nullptr;  // members spoiled the attempt before
  return std::make_unique<Share>(std::make_shared<ShareCore>(*parts_, blob, rights));
}

void Site::stored(const Digest& digest) {
  parts_->alone.erase(digest);
  const auto at = parts_->suspects.find(digest);
  if (at != parts_->suspects.end()) {
    const auto suspects = std::move(at->second.received);
    parts_->suspects.erase(at);
    acquit(*parts_, suspects, parts_->shelf.units(digest));
  }
  announcer_->stored(digest);
}

void Site::removed(const Digest& digest) { announcer_->removed(digest); }

AskAnswer Site::on_ask(const std::string& from, const Ask& ask) {
  spoke(from);
  return parts_->coordinator.ask(from, ask);
}

bool Site::may_ask(const std::string& from) {
  return parts_->coordinator.book().may_speak(from, parts_->now());
}

ProbeAnswer Site::on_probe(const std::string& from, const Probe& probe) {
  spoke(from);
  return parts_->uploads.probe(probe);
}

WhoAnswer Site::on_who(const std::string& from, const Who& who) {
  spoke(from);
  if (!parts_->may_share(who.blob.registry, who.blob.repository)) return {};
  return parts_->coordinator.who(from, who);
}

RecallAnswer Site::on_recall(const std::string& from, const Recall& recall) {
  spoke(from);
  if (!parts_->may_share(recall.registry, recall.repository)) return {};
  return parts_->shelf.recall(recall);
}

void Site::on_tell(const std::string& from, const Tell& tell) {
  spoke(from);
  parts_->coordinator.tell(from, tell);
  for (const auto& taken : tell.taken)
    for (auto* share : parts_->shares)
      if (share->blob().digest == taken.unit.blob.digest) share->taken(taken.unit, from);
}

Ticket Site::on_get(const std::string& from, const UnitGet& get, Done<std::unique_ptr<Upload>> done) {
  spoke(from);
  return parts_->uploads.open(from, get, std::move(done));
}

namespace {

SiteSnapshot::MemberRow row_of(const SiteParts& parts, const std::string& id) {
  SiteSnapshot::MemberRow row;
  row.id = id;
  row.is_self = id == parts.self();
  if (const auto* listed = parts.coordinator.ranking().members().find(id)) {
    row.is_listed = true;
    row.zone = listed->zone;
    row.name = listed->name;
  }
  const auto& all = parts.acquaintances.all();
  const auto at = all.find(id);
  if (at == all.end()) return row;
  const auto& one = at->second;
  const auto now = parts.now();
  row.is_dead = now < one.dead_until || one.unmet;
  row.refuses = one.refuses;
  row.failed_last = one.dead_next > Duration::zero() || one.unmet;
  row.dead_for = std::max(one.dead_until - now, Duration::zero());
  row.banned_for = std::max(one.banned_until - now, Duration::zero());
  row.latency = one.latency;
  row.bytes_in = one.bytes_in;
  row.bytes_out = one.bytes_out;
  row.faults = one.faults;
  row.wrong_units = one.wrong_units;
  row.last_fault = one.last_fault;
  return row;
}

SiteSnapshot::BlobRow row_of(const ShareCore& share) {
  SiteSnapshot::BlobRow row{share.blob(), share.is_whole(), {}};
  for (const auto& [unit, part] : share.units()) {
    row.units.push_back(
        {unit, ShareCore::is_ours(part) ? "upstream" : part.source, part.is_leased, part.have});
  }
  return row;
}

}  // namespace

SiteSnapshot Site::snapshot() const {
  SiteSnapshot snapshot;
  for (const auto& member : parts_->coordinator.ranking().members().all())
    snapshot.members.push_back(row_of(*parts_, member.id));
  for (const auto& [id, one] : parts_->acquaintances.all()) {
    const bool is_worth_it =
        one.bytes_in + one.bytes_out + one.wrong_units > 0 || one.banned_until > parts_->now();
    if (is_worth_it && parts_->coordinator.ranking().members().find(id) == nullptr)
      snapshot.members.push_back(row_of(*parts_, id));
  }
  for (const auto* share : parts_->shares)
    if (!share->is_closed()) snapshot.blobs.push_back(row_of(*share));
  snapshot.units_coordinated = parts_->coordinator.book().units();
  snapshot.leases = parts_->coordinator.book().leases();
  snapshot.records = parts_->coordinator.records().size();
  snapshot.uploads = parts_->uploads.running();
  return snapshot;
}

}  // namespace layerd::peers
