// How a download that is shared with the site gets its units: from members as segments without a place, from
// upstream as segments that end with the unit. What members do wrong never spends an upstream's tries.
#include <fmt/core.h>

#include <algorithm>

#include "proxy/download.h"
#include "proxy/download_follower.h"
#include "proxy/download_relay.h"
#include "runtime/log.h"

namespace layerd::proxy {

namespace {

constexpr Duration kSoon = std::chrono::milliseconds(500);

bool may_pass(Errc code) {
  return code == Errc::truncated || code == Errc::upstream_unreachable || code == Errc::upstream_timeout;
}

}  // namespace

void Download::share_with_site(const registry::Target& target) {
  if (!parts_->sharing) return;
  const auto rights = parts_->rights_of ? parts_->rights_of(target) : peers::Rights::unknown;
  auto share = parts_->sharing->begin({target.registry, target.repository, digest_}, rights);
  if (share) units_ = std::make_unique<DownloadUnits>(*this, parts_->loop, std::move(share));
}

bool Download::is_confirmed_for(const std::string& repository) const {
  return std::any_of(targets_.begin(), targets_.end(), [&](const registry::TargetPtr& target) {
    return target->key() == repository && places_.confirmed_by(*target);
  });
}

bool Download::is_only_of(const std::string& repository) const {
  return !resumed_ && std::all_of(targets_.begin(), targets_.end(), [&](const registry::TargetPtr& target) {
    return target->key() == repository;
  });
}

RangeSet Download::covered() const {
  RangeSet covered = partial_->present();
  for (const Write& write : writes_) covered.add(write.range);
  return covered;
}

void Download::count_out(const Segment& segment) {
  if (segment.unit && segment.member.empty()) --parts_->upstream_units;
}

void Download::fill_units() {
  DownloadUnits::Picture picture;
  picture.size = size_;
  picture.covered = covered();
  for (const DownloadFollower* follower : followers_)
    if (const auto offset = follower->waiting_at()) picture.wanted.push_back(*offset);
  const std::size_t most = std::max<std::size_t>(parts_->settings.upstream_units, units_->window());
  picture.upstream_left = most - std::min(most, parts_->upstream_units);
  // Each of these may end the download, and with it the units.
  for (const auto& [unit, rest] : units_->plan(picture)) {
    if (!units_ || !units_->is_active(unit)) return;
    unit_from_upstream(unit, rest);
  }
}

void Download::unit_from_member(std::uint32_t unit, peers::UnitSource source) {
  auto segment = std::make_unique<Segment>(*this, parts_->loop, parts_->fetcher, parts_->budget,
                                           Segment::Purpose::unit, source.range);
  segment->unit = unit;
  segment->member = std::move(source.member);
  upstream::FetchResponse response;
  response.status = 206;
  response.endpoint_name = segment->member;
  response.body_range = source.range;
  response.total = source.total;
  response.ranges_supported = true;
  response.body = std::move(source.body);
  segments_.push_back(std::move(segment));
  segments_.back()->start_with(std::move(response));
}

// As long as no source is known the fetcher walks the endpoints; from then on we choose.
void Download::unit_from_upstream(std::uint32_t unit, ByteRange rest) {
  LogLine(LogLevel::debug, "unit_upstream")
      .field("digest", digest_.str())
      .field("unit", std::uint64_t{unit})
      .field("from", std::to_string(rest.first));
  // One request finds out where the blob is; what else is ours waits for its head.
  if (state_ == State::connecting) {
    if (is_asking_upstream()) return units_->postponed(unit);
    if (places_.has_next_target()) return connect(unit);
    state_ = State::receiving;  // that request was dropped before its head was in
    watch();
  }
  const auto choice = places_.choose(parts_->loop.now());
  if (choice.place) return start_segment(Segment::Purpose::unit, rest, *choice.place, unit);
  // A lease is kept for as long as that costs the site less than another member's beginning.
  if (choice.again && *choice.again - parts_->loop.now() <= kSoon)
    units_->postponed(unit);
  else if (!places_.has_served() || !units_->hold(unit))
    units_->failed(unit, places_.worst());
  if (!choice.again && !places_.has_served() && from_members_ > 0) return seek_again();
  start_fill(rest);  // waits for the next try, or gives up when every place is spent
}

// Upstream is of no use, and members gave other units: who has this one may be known in a moment, as records
// travel for a second. As long as a download may be without a byte (watch_stalls).
void Download::seek_again() {
  trouble();
  retry_ = parts_->loop.after(kSoon, "download: look again", [this] { fill(); });
}

bool Download::opened_by_member(Segment& segment, const upstream::FetchResponse& response) {
  const bool fits = *response.total == size_.value_or(expected_.value_or(*response.total));
  if (*response.total > kMostBlob || !fits || contradicts_former(*response.total)) {
    unit_failed(take_out(segment), {Errc::upstream_protocol, fmt::format("{} says the blob has {} bytes",
                                                                         segment.member, *response.total)});
    return false;
  }
  if (state_ == State::connecting) {
    state_ = State::receiving;
    watch();
  }
  if (!size_) {
    confirm(*response.total, std::nullopt);
    retry_ = parts_->loop.post([this] { fill(); });  // there are more to look for
  }
  return true;
}

bool Download::is_asking_upstream() const {
  return std::any_of(segments_.begin(), segments_.end(),
                     [](const auto& segment) { return segment->member.empty(); });
}

// A range was asked for and the whole came, and it is more than the unit.
bool Download::is_whole_only(const Segment& segment, const upstream::FetchResponse& response) const {
  return units_ && segment.unit && response.status == 200 && !units_->is_whole() &&
         (!response.total || *response.total > peers::kUnit);
}

// From now on the site shares this blob as one unit, and this body is it.
void Download::take_whole(Segment& segment) {
  for (auto it = segments_.begin(); it != segments_.end();) {
    if (it->get() == &segment) {
      ++it;
      continue;
    }
    const auto dropped = take_out(**it++);
  }
  units_->whole_only();
  segment.unit = 0;
  segment.read_to_end();
  for (DownloadRelay* relay : relays_) relay->turned_whole();
}

void Download::whole_from_member(peers::UnitSource source) {
  drop_segments();
  unit_from_member(0, std::move(source));
}

Segment* Download::segment_of(std::uint32_t unit) const {
  for (const auto& segment : segments_)
    if (segment->unit == unit) return segment.get();
  return nullptr;
}

bool Download::unit_taken_over(std::uint32_t unit) {
  if (state_ != State::receiving) return false;
  if (Segment* segment = segment_of(unit)) const auto dropped = take_out(*segment);
  return true;
}

void Download::units_turned_whole() {
  drop_segments();
  for (DownloadRelay* relay : relays_) relay->turned_whole();
  units_changed();
}

void Download::unit_failed(std::unique_ptr<Segment> segment, const Error& error) {
  const std::uint32_t unit = *segment->unit;
  if (segment->member.empty()) {
    LogLine(LogLevel::debug, "unit_left")
        .field("digest", digest_.str())
        .field("unit", std::uint64_t{unit})
        .field("err", error.message);
    if (!may_pass(error.code) || !places_.has_served() || !units_->hold(unit)) units_->failed(unit, error);
    // A member's word about the size led us past the end.
    if (error.code == Errc::range_unsatisfiable && size_ && !size_place_) return member_lied(error);
    if (segment->place)
      places_.failed(*segment->place, error, parts_->loop.now());
    else
      places_.note(error);
    if (segments_.empty()) trouble();
    if (state_ == State::connecting && !segment->place) return on_connect_failed(error);
  } else {
    LogLine(LogLevel::info, "member_left")
        .field("digest", digest_.str())
        .field("unit", std::uint64_t{unit})
        .field("member", segment->member)
        .field("err", error.message);
    units_->failed(unit, error);
  }
  segment.reset();
  units_changed();
}

// An authenticated member gave wrong bytes or a wrong size. After the first wrong digest the site finds out
// who it was, and all others go on giving; after the second, or a wrong size, this node asks upstream alone.
void Download::member_lied(const Error& why) {
  const bool is_first = why.code == Errc::digest_mismatch && start_overs_ == 0;
  if (units_) units_->mismatched();
  units_.reset();
  from_members_ = 0;
  if (is_first && !targets_.empty()) share_with_site(*targets_.front());
  start_over(why);
}

void Download::unit_taken_back(ByteRange range, const Error& why) {
  LogLine(LogLevel::warn, "unit_wrong").field("digest", digest_.str()).field("err", why.message);
  for (DownloadFollower* follower : followers_) follower->lost(range, why);
  for (DownloadRelay* relay : relays_) relay->lost(range);
  fill();
}

}  // namespace layerd::proxy
