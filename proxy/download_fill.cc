// How a download fills its file: segments, their chunks on the way to disk, room in the store.
#include <fmt/core.h>

#include <utility>

#include "proxy/download.h"
#include "proxy/download_follower.h"

namespace layerd::proxy {

namespace {

constexpr std::size_t kChunksInFlight = 4;  // between socket and disk, of one segment
constexpr ByteCount kLowRoom = 4_MiB;       // more is asked for before the last is used

}  // namespace

Error absurd_size(const std::string& endpoint, ByteCount size) {
  return {Errc::upstream_protocol, fmt::format("{} says the blob has {} bytes", endpoint, size)};
}

bool Download::opened(Segment& segment, const upstream::FetchResponse& response) {
  if (!segment.member.empty()) return opened_by_member(segment, response);
  const std::size_t place = places_.find(*segment.target(), response.endpoint);
  segment.place = place;
  places_.confirmed(place);
  if (response.status == 200 && !response.ranges_supported) places_.no_ranges(place);
  if (segment.reads_through()) places_.no_ranges(place);
  if (is_whole_only(segment, response)) {
    take_whole(segment);
  } else if (segment.reads_through() && segment.purpose() != Segment::Purpose::fill && !segment.unit) {
    ramp_.keep_to(1);
    allowed_ = 1;
    const auto dropped = take_out(segment);
    fill();
    return false;
  }
  if (state_ == State::connecting) {
    state_ = State::receiving;
    watch();
  }
  if (segment.purpose() == Segment::Purpose::fill && segment.position() > 0 && (resumed_ || trouble_since_)) {
    parts_->metrics.resumes.add();
  }
  return check_size(segment, response);
}

bool Download::check_size(Segment& segment, const upstream::FetchResponse& response) {
  if (response.total && *response.total > kMostBlob) {
    segment_failed(take_out(segment), absurd_size(response.endpoint_name, *response.total));
    return false;
  }
  if (response.total && size_ && *size_ != *response.total) {
    size_disagrees(take_out(segment), *response.total);
    return false;
  }
  if (size_) return true;
  if (response.total && contradicts_former(*response.total)) {
    leave_alone(*segment.place, *response.total);
    return false;
  }
  if (response.total) {
    confirm(*response.total, *segment.place);
    if (units_) retry_ = parts_->loop.post([this] { fill(); });  // there are more to look for
    if (!is_complete()) return true;
    fill();
    return false;
  }
  if (asks_for_whole_) {  // this is the whole, and only its end will tell how long it is
    partial_->discard();
    resumed_ = false;
  }
  upstream::FetchRequest request;
  request.target = segment.target();
  request.reference = digest_.str();
  request.head_only = true;
  request.first_endpoint = response.endpoint;
  request.only_first_endpoint = true;
  request.deadline = Deadline::in(parts_->loop.now(), parts_->settings.connect);
  ask_size(request);
  return true;
}

// One of two places is wrong about the size. The one that came second is left alone while others are
// there; when all are spent, it gets its turn from scratch and the first is banned.
void Download::size_disagrees(std::unique_ptr<Segment> segment, ByteCount other) {
  if (!size_place_)
    return member_lied(
        {Errc::upstream_protocol, fmt::format("{} says the blob has {} bytes, a member of the site said {}",
                                              places_.name(*segment->place), other, *size_)});
  dissent_ = *segment->place;
  segment_failed(std::move(segment),
                 {Errc::upstream_protocol,
                  fmt::format("{} says the blob has {} bytes, {} said {}", places_.name(*dissent_), other,
                              places_.name(*size_place_), *size_)});
}

// One answer must not be enough to throw away what a former download brought and a source confirmed then.
bool Download::contradicts_former(ByteCount size) const {
  if (size_ || asks_for_whole_ || !resumed_ || partial_->present().ranges().empty()) return false;
  return partial_->size().value_or(size) != size || partial_->present().ranges().back().end > size;
}

// The place that does so is asked again when all others are spent as well.
void Download::leave_alone(std::size_t place, ByteCount size) {
  dissent_ = place;
  const Error error{Errc::upstream_protocol,
                    fmt::format("{} says the blob has {} bytes, which does not fit what came before",
                                places_.name(place), size)};
  drop_segments();
  places_.failed(place, error, parts_->loop.now());
  trouble();
  fill();
}

// From byte 0 on, from whom it may be: only such an answer replaces what a former download left.
void Download::ask_for_whole() {
  asks_for_whole_ = true;
  places_.forgive();
  if (dissent_) places_.prefer_another(*std::exchange(dissent_, std::nullopt));
  fill();
}

RangePicture Download::picture(const Segment* without) const {
  RangePicture picture;
  picture.size = size_.value_or(upstream::kOpenEnd);
  picture.covered = covered();
  for (const auto& segment : segments_) {
    if (segment.get() != without) picture.running.push_back({segment->position(), segment->end()});
  }
  return picture;
}

ByteCount Download::stop(const Segment& segment) const {
  if (segment.reads_through()) return std::min(segment.end(), size_.value_or(upstream::kOpenEnd));
  return stop_of(picture(&segment), segment.position(), segment.end());
}

bool Download::may_read(const Segment& segment) {
  return !restart_pending_ && segment.in_flight < kChunksInFlight && has_room();
}

// Bytes that are there already (a range that was ignored) are read over.
void Download::deliver(Segment& segment, ByteCount offset, Bytes bytes, BufferBudget::Lease lease) {
  received_ += bytes.size();
  if (!segment.member.empty()) from_members_ += bytes.size();
  const RangeSet covered = this->covered();
  const ByteRange whole{offset, offset + bytes.size()};
  trouble_since_.reset();
  for (DownloadFollower* follower : followers_) follower->settle_size();
  ByteRange rest = whole;
  while (const auto gap = covered.first_gap(rest)) {
    if (*gap == whole) return write(segment, offset, std::move(bytes), std::move(lease));
    write(segment, gap->first, Bytes::copy_of(bytes.view().substr(gap->first - offset, gap->size())), {});
    rest.first = gap->end;
  }
}

void Download::write(Segment& segment, ByteCount offset, Bytes bytes, BufferBudget::Lease lease) {
  if (segment.place) places_.gave(*segment.place, bytes.size());
  room_ -= std::min<ByteCount>(room_, bytes.size());
  ++segment.in_flight;
  const auto at = writes_.emplace(writes_.end());
  at->range = {offset, offset + bytes.size()};
  at->segment = &segment;
  at->lease = std::move(lease);
  at->ticket = partial_->write(offset, std::move(bytes),
                               [this, at](Result<Ok> result) { written(at, std::move(result)); });
}

void Download::written(Writes::iterator at, Result<Ok> result) {
  Segment* segment = at->segment;
  const ByteRange range = at->range;
  const Ticket spent = std::move(at->ticket);
  writes_.erase(at);
  if (restart_pending_) {
    if (writes_.empty()) restart();
    return;
  }
  if (state_ != State::receiving) return;
  if (!result) return write_failed(result.error());
  if (segment) {
    --segment->in_flight;
    segment->resume();
  }
  if (units_) units_->written(range);
  wake_followers();
  if (is_complete()) fill();
}

// The disk is to blame only for what the disk says. A write is refused as well when the size that became
// known meanwhile does not fit what had come: then the place that named it contradicts itself.
void Download::write_failed(const Error& error) {
  if (error.code == Errc::no_space || error.code == Errc::local_io) return pass_through(error);
  if (size_ && !size_place_) return member_lied(error);
  if (size_) places_.ban(*size_place_);
  start_over({Errc::upstream_protocol, fmt::format("{} named another size than its bytes have",
                                                   places_.name(size_place_.value_or(0)))});
}

// Room for the next chunks. Asked for ahead of need, several MiB at a time.
bool Download::has_room() {
  const ByteCount need = missing();
  if (room_ < std::min(kLowRoom, need) && !reserving_) {
    reserve(std::min(parts_->settings.reserve_step, need - room_));
  }
  return room_ >= std::min<ByteCount>(need, cache::kMaxRead);
}

void Download::reserve(ByteCount more) {
  reserving_ = true;
  room_asked_ = parts_->store.reserve(digest_, more, [this, more](Result<Ok> got) {
    reserving_ = false;
    if (!got && room_ < cache::kMaxRead) return pass_through(got.error());
    if (got) room_ += more;
    for (const auto& segment : segments_) segment->resume();
  });
}

void Download::ended(Segment& segment, Result<Ok> how) {
  const bool at_stop = segment.position() >= stop(segment);
  auto gone = take_out(segment);
  if (how && at_stop && units_ && gone->unit) units_->ended(*gone->unit, covered());
  if (!how) return segment_failed(std::move(gone), how.error());
  if (!size_ && !at_stop) {  // a body without a length: its end may be the blob's, unless a HEAD knows better
    body_end_ = gone->position();
    if (!sizing_) confirm_body_end(gone->place.value_or(0));
    return fill();
  }
  if (!at_stop) {
    const auto who = gone->member.empty() ? places_.name(gone->place.value_or(0)) : gone->member;
    const Error error{Errc::truncated,
                      fmt::format("{} ended the body at byte {} of {}", who, gone->position(), *size_)};
    return segment_failed(std::move(gone), error);
  }
  fill();
}

std::unique_ptr<Segment> Download::take_out(Segment& segment) {
  for (Write& write : writes_) {
    if (write.segment == &segment) write.segment = nullptr;
  }
  for (auto it = segments_.begin(); it != segments_.end(); ++it) {
    if (it->get() != &segment) continue;
    auto gone = std::move(*it);
    segments_.erase(it);
    count_out(*gone);
    return gone;
  }
  return nullptr;
}

void Download::segment_failed(std::unique_ptr<Segment> segment, const Error& error) {
  const TimePoint now = parts_->loop.now();
  if (units_ && segment->unit) return unit_failed(std::move(segment), error);
  if (state_ == State::connecting) return on_connect_failed(error);
  if (segment->purpose() != Segment::Purpose::fill) {
    no_more_before_ = now + parts_->settings.retry_most;
    // Refused outright: what runs now is all that is to be had.
    if (segment->received() == 0)
      ramp_.keep_to(static_cast<unsigned>(std::max<std::size_t>(segments_.size(), 1)));
  }
  const bool alone = segment->purpose() == Segment::Purpose::fill || segments_.empty();
  if (alone && segment->place) {
    places_.failed(*segment->place, error, now);
  } else {
    places_.note(error);
  }
  if (segments_.empty()) trouble();
  segment.reset();
  fill();
}

// Keeps the upstream busy with what is missing. Called whenever a segment ended or more are allowed.
void Download::fill() {
  if (state_ != State::receiving || restart_pending_) return;
  if (is_complete()) {
    if (writes_.empty() && !(units_ && units_->is_hashing())) verify();
    return;
  }
  if (units_) return fill_units();
  bool has_fill = false;
  for (const auto& segment : segments_) has_fill |= segment->purpose() == Segment::Purpose::fill;
  if (!has_fill && !(body_end_ && sizing_)) {
    if (asks_for_whole_ && !size_) {
      start_fill({0, upstream::kOpenEnd});
    } else if (const auto gap = first_unclaimed(picture())) {
      start_fill(*gap);
    }
  }
  if (state_ != State::receiving || !size_) return;
  const TimePoint now = parts_->loop.now();
  while (!segments_.empty() && segments_.size() < allowed_ && now >= no_more_before_) {
    const auto choice = places_.choose(now);
    if (!choice.place || !places_.does_ranges(*choice.place)) return;
    const auto unit = unit_from_end(picture(), allowed_);
    if (!unit) return;
    start_segment(Segment::Purpose::extra, *unit, *choice.place);
  }
}

void Download::start_fill(ByteRange gap) {
  auto choice = places_.choose(parts_->loop.now());
  if (choice.place) return start_segment(Segment::Purpose::fill, gap, *choice.place);
  if (!segments_.empty() && !units_) return;  // when those end we are here again
  if (!choice.again && may_wait_out()) choice = places_.choose(parts_->loop.now());
  const auto& settings = parts_->settings;
  if (choice.again && (!trouble_since_ || *choice.again < *trouble_since_ + settings.outage)) {
    if (segments_.empty()) trouble();
    const Duration wait = std::max(*choice.again - parts_->loop.now(), Duration::zero());
    retry_ = parts_->loop.after(wait, "download: retry", [this] { fill(); });
    return;
  }
  if (segments_.empty()) give_up_waiting();
}

// Every place is spent. Whoever has part of a body waits for a registry that is started anew; who asks now is
// refused soon, and goes on by himself.
bool Download::may_wait_out() {
  if (!has_served_ || dissent_ || followers_.empty()) return false;
  const TimePoint now = parts_->loop.now();
  const auto until = trouble_since_.value_or(now) + parts_->settings.outage;
  return now + parts_->settings.retry_most < until && places_.wait_out(now);
}

// Every place is spent. If one of them named another size, it may have been the right one.
void Download::give_up_waiting() {
  if (!dissent_) return fail(places_.worst());
  if (!size_) return ask_for_whole();
  if (!size_place_) return member_lied(places_.worst());
  places_.ban(*size_place_);
  places_.forgive();
  dissent_.reset();
  start_over(places_.worst());
}

void Download::start_segment(Segment::Purpose purpose, ByteRange range, std::size_t place,
                             std::optional<std::uint32_t> unit) {
  const auto& settings = parts_->settings;
  upstream::FetchRequest request;
  request.target = places_.target(place);
  request.reference = digest_.str();
  request.first_endpoint = places_.endpoint(place);
  request.only_first_endpoint = true;
  request.is_spare = purpose == Segment::Purpose::extra;
  const bool is_whole = range.first == 0 && range.end == size_.value_or(upstream::kOpenEnd);
  if (!is_whole) request.range = range;
  const TimePoint now = parts_->loop.now();
  request.deadline =
      trouble_since_ ? Deadline{*trouble_since_ + settings.outage} : Deadline::in(now, settings.connect);
  auto segment =
      std::make_unique<Segment>(*this, parts_->loop, parts_->fetcher, parts_->budget, purpose, range);
  segment->place = place;
  segment->unit = unit;
  if (unit) ++parts_->upstream_units;
  segments_.push_back(std::move(segment));
  segments_.back()->start(std::move(request));
}

bool Download::is_complete() const { return size_ && partial_->present().contains({0, *size_}); }

ByteCount Download::missing() const {
  const ByteCount have = partial_->present().total();
  if (!size_) return parts_->settings.reserve_step;
  ByteCount coming = 0;
  for (const Write& write : writes_) coming += write.range.size();
  return *size_ - std::min(*size_, have + coming);
}

ByteRange Download::first_gap() const {
  const ByteCount end = partial_->size().value_or(upstream::kOpenEnd);
  const auto gap = partial_->present().first_gap({0, end});
  if (gap) return *gap;
  return end == 0 ? ByteRange{0, 1} : ByteRange{end, end};
}

void Download::trouble() {
  if (!trouble_since_) trouble_since_ = parts_->loop.now();
}

}  // namespace layerd::proxy
