#include "proxy/download_units.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

namespace layerd::proxy {

namespace {

constexpr Duration kPause = std::chrono::milliseconds(250);
constexpr Duration kHold = std::chrono::seconds(8);  // a lease ends after 10 s without a byte

}  // namespace

DownloadUnits::DownloadUnits(Owner& owner, Loop& loop, std::unique_ptr<peers::BlobShare> share)
    : owner_(owner), loop_(loop), share_(std::move(share)) {
  share_->when_wanted([this](std::uint32_t unit) { wanted(unit); });
  share_->when_taken([this](std::uint32_t unit) { taken(unit); });
}

// Before its turn: another member waits for it, and the book that says who brings it is kept here.
void DownloadUnits::wanted(std::uint32_t unit) {
  if (!partial_ || !size_ || is_whole() || active_.contains(unit)) return;
  if (range_of(unit, size_).empty()) return;
  if (const auto rest = rest_of(unit, owner_.covered())) find(unit, *rest);
}

// Our part in bringing it ends: who was waiting for us began himself.
void DownloadUnits::taken(std::uint32_t unit) {
  const auto found = active_.find(unit);
  if (found == active_.end() || !found->second.from_upstream) return;
  if (found->second.state != State::coming && found->second.state != State::waiting) return;
  const auto rest = rest_of(unit, owner_.covered());
  if (!rest || !owner_.unit_taken_over(unit)) return;
  share_->handed_over(unit);
  find(unit, *rest);
}

void DownloadUnits::begin(cache::PartialBlobPtr partial) {
  stop();
  partial_ = std::move(partial);
  settled_.clear();
  mixed_.clear();
  size_ = partial_->size();
  // What a former download left was compared then, or is by the digest of the whole.
  for (const ByteRange& range : partial_->present().ranges())
    for (auto unit = peers::unit_of(range.first); unit <= peers::unit_of(range.end - 1); ++unit)
      (partial_->present().contains(range_of(unit, size_)) ? settled_ : mixed_).insert(unit);
}

void DownloadUnits::suspend() {
  stop();
  partial_.reset();
  size_.reset();
  share_->sized(std::nullopt);
}

void DownloadUnits::stop() {
  pause_.reset();
  for (auto& [unit, facts] : active_) {
    facts.asked.reset();
    share_->dropped(unit);
  }
  active_.clear();
}

ByteRange DownloadUnits::range_of(std::uint32_t unit, std::optional<ByteCount> size) const {
  const ByteCount first = is_whole() ? 0 : unit * peers::kUnit;
  const ByteCount end = is_whole() ? ~ByteCount{0} : first + peers::kUnit;
  return {first, std::max(first, std::min(end, size.value_or(end)))};
}

std::optional<ByteRange> DownloadUnits::rest_of(std::uint32_t unit, const RangeSet& covered) const {
  return covered.first_gap(range_of(unit, size_));
}

bool DownloadUnits::is_hashing() const {
  return std::any_of(active_.begin(), active_.end(),
                     [](const auto& row) { return row.second.state == State::hashing; });
}

// Those that are looked for may all turn out to be ours to fetch upstream.
std::size_t DownloadUnits::upstream_bound() const {
  return static_cast<std::size_t>(std::count_if(
      active_.begin(), active_.end(), [](const auto& row) { return row.second.state == State::finding; }));
}

std::vector<std::uint32_t> DownloadUnits::next(const Picture& picture) const {
  std::vector<std::uint32_t> units;
  const auto add = [&](std::uint32_t unit) {
    if (active_.contains(unit) || std::find(units.begin(), units.end(), unit) != units.end()) return;
    if (rest_of(unit, picture.covered)) units.push_back(unit);
  };
  if (!size_ || is_whole()) {
    const auto gap = picture.covered.first_gap({0, size_.value_or(~ByteCount{0})});
    if (gap && active_.empty()) add(is_whole() ? 0 : peers::unit_of(gap->first));
    return units;
  }
  for (const ByteCount offset : picture.wanted)
    if (offset < *size_) add(peers::unit_of(offset));
  ByteCount from = 0;
  while (units.size() + active_.size() < window()) {
    const auto gap = picture.covered.first_gap({from, *size_});
    if (!gap) break;
    const auto unit = peers::unit_of(gap->first);
    add(unit);
    from = range_of(unit, size_).end;
  }
  return units;
}

std::vector<std::pair<std::uint32_t, ByteRange>> DownloadUnits::plan(const Picture& picture) {
  if (picture.size) size_ = picture.size;
  std::vector<std::pair<std::uint32_t, ByteRange>> ours;
  for (auto& [unit, facts] : active_) {
    if (facts.state != State::waiting) continue;
    if (const auto rest = rest_of(unit, picture.covered)) ours.emplace_back(unit, *rest);
  }
  for (const auto& [unit, rest] : ours) active_[unit].state = State::coming;
  if (!pause_.held())
    for (const std::uint32_t unit : next(picture)) {
      // However busy the way to upstream is with other blobs, one is always looked for: members may bring it.
      const bool is_full = active_.size() >= window() || upstream_bound() >= picture.upstream_left;
      if (is_full && !active_.empty()) break;
      find(unit, *rest_of(unit, picture.covered));
    }
  return ours;
}

void DownloadUnits::find(std::uint32_t unit, ByteRange rest) {
  Unit& facts = active_[unit];
  facts.state = State::finding;
  facts.asked = share_->find(unit, rest, [this, unit, rest](Result<peers::UnitSource> source) {
    on_found(unit, rest, std::move(source));
  });
}

void DownloadUnits::on_found(std::uint32_t unit, ByteRange rest, Result<peers::UnitSource> source) {
  if (share_->is_whole() && !was_whole_) {
    stop();
    was_whole_ = true;
    settled_.clear();
    return owner_.units_turned_whole();
  }
  if (!source) {
    active_.erase(unit);
    pause_ = loop_.after(kPause, "download: units", [this] {
      pause_.reset();
      owner_.units_changed();
    });
    return;
  }
  Unit& facts = active_[unit];
  facts.state = State::coming;
  facts.from_upstream = source->from == peers::UnitSource::From::upstream;
  if (facts.from_upstream) return owner_.unit_from_upstream(unit, rest);
  mixed_.insert(unit);
  owner_.unit_from_member(unit, std::move(*source));
}

void DownloadUnits::postponed(std::uint32_t unit) {
  if (const auto found = active_.find(unit); found != active_.end()) found->second.state = State::waiting;
}

bool DownloadUnits::hold(std::uint32_t unit) {
  const auto found = active_.find(unit);
  if (found == active_.end()) return false;
  if (!dry_since_) dry_since_ = loop_.now();
  if (loop_.now() - *dry_since_ > kHold) return false;
  found->second.state = State::waiting;
  return true;
}

// More of the unit may be missing behind a piece that was here already.
void DownloadUnits::ended(std::uint32_t unit, const RangeSet& covered) {
  const auto found = active_.find(unit);
  if (found == active_.end() || found->second.state != State::coming) return;
  if (rest_of(unit, covered)) active_.erase(found);
}

void DownloadUnits::failed(std::uint32_t unit, const Error& why) {
  if (active_.erase(unit) > 0) share_->failed(unit, why);
}

void DownloadUnits::written(ByteRange range) {
  if (range.empty() || !size_) return;
  const std::uint32_t last = is_whole() ? 0 : peers::unit_of(range.end - 1);
  for (std::uint32_t unit = is_whole() ? 0 : peers::unit_of(range.first); unit <= last; ++unit) {
    const auto found = active_.find(unit);
    if (found != active_.end() && found->second.from_upstream) dry_since_.reset();
    if (found != active_.end() && found->second.state == State::hashing) continue;
    if (settled_.contains(unit) || !partial_->present().contains(range_of(unit, size_))) continue;
    hash(unit);
  }
}

// What is one unit is compared by the digest of the blob; a whole blob has no hash of its own either.
void DownloadUnits::hash(std::uint32_t unit) {
  const ByteRange range = range_of(unit, size_);
  if (range.size() == *size_ || range.size() > peers::kUnit) {
    settled_.insert(unit);
    active_.erase(unit);
    return;
  }
  Unit& facts = active_[unit];
  facts.state = State::hashing;
  facts.asked = partial_->hash(
      range, [this, unit, range](const Result<Digest>& sha256) { on_hashed(unit, range, sha256); });
}

void DownloadUnits::on_hashed(std::uint32_t unit, ByteRange range, const Result<Digest>& sha256) {
  const bool from_upstream = active_[unit].from_upstream && !mixed_.contains(unit);
  active_.erase(unit);
  if (!sha256) return owner_.unit_unreadable(sha256.error());
  if (share_->arrived(unit, *sha256, from_upstream)) {
    settled_.insert(unit);
    return owner_.units_changed();
  }
  mixed_.erase(unit);
  partial_->take_back(range);
  owner_.unit_taken_back(
      range, {Errc::digest_mismatch, fmt::format("bytes {} to {} of {} came wrong from a member of the site",
                                                 range.first, range.end, partial_->digest().str())});
}

void DownloadUnits::progress() {
  for (const auto& [unit, facts] : active_) {
    if (facts.state == State::finding) continue;
    const ByteCount first = range_of(unit, size_).first;
    share_->progress(unit, partial_->present().run_end(first) - first);
  }
  if (!size_ || is_whole()) return;
  const ByteCount here = partial_->present().total();
  const ByteCount missing = *size_ - std::min(here, *size_);
  window_.tick(loop_.now(), here, active_.size(), (missing + peers::kUnit - 1) / peers::kUnit);
}

void DownloadUnits::whole_only() {
  stop();
  was_whole_ = true;
  share_->whole_only();
  Unit& facts = active_[0];
  facts.state = State::coming;
  facts.from_upstream = true;
  // Several members may have been told so at the same time, each for another unit. Meanwhile the body goes
  // on.
  const ByteRange rest = rest_of(0, owner_.covered()).value_or(range_of(0, size_));
  facts.asked = share_->find(0, rest, [this](Result<peers::UnitSource> source) {
    if (!source || source->from == peers::UnitSource::From::upstream) return;
    active_[0].from_upstream = false;
    owner_.whole_from_member(std::move(*source));
  });
}

void DownloadUnits::sized(ByteCount size) {
  size_ = size;
  share_->sized(size);
}

}  // namespace layerd::proxy
