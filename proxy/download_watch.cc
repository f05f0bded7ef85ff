// What a running download looks at several times a second: speed, silence, readers far ahead.
#include <fmt/core.h>

#include <chrono>

#include "proxy/download.h"
#include "proxy/download_follower.h"

namespace layerd::proxy {

namespace {

constexpr unsigned kMostAhead = 2;  // segments for readers far ahead at the same time
constexpr ByteCount kAheadUnit = 8_MiB;
constexpr Duration kSlowWindow = std::chrono::seconds(5);
constexpr double kSlow = 256 * 1024;  // bytes per second; below it a joiner's places are tried

}  // namespace

// A member that sends just enough not to be silent is left; who is to bring the rest the site decides. Much
// less than of an upstream: on a slow line many units share what there is. True if the segment is gone.
bool Download::drips(Segment& segment) {
  const auto& settings = parts_->settings;
  const TimePoint now = parts_->loop.now();
  if (now - segment.marked_at() < settings.drip_window) return false;
  if (segment.since_mark() >= settings.member_drip_bytes) {
    segment.mark(now);
    return false;
  }
  const Error slow{Errc::upstream_timeout, fmt::format("{} is too slow", segment.member)};
  segment_failed(take_out(segment), slow);
  return true;
}

// True if the download was ended by what it found.
bool Download::watch_stalls() {
  const auto& settings = parts_->settings;
  const TimePoint now = parts_->loop.now();
  if (trouble_since_ && now - *trouble_since_ >= settings.outage) {
    fail(places_.worst());
    return true;
  }
  for (const auto& segment : segments_) {
    if (segment->state() != Segment::State::reading) continue;
    if (!segment->member.empty() && drips(*segment)) return false;
    if (!segment->place) continue;
    const std::string name = places_.name(*segment->place);
    const Duration silent = now - segment->waits_since();
    if (silent >= settings.stall) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(silent).count();
      segment_failed(take_out(*segment),
                     {Errc::upstream_timeout, fmt::format("{} sent no byte for {} s", name, seconds)});
      return false;  // the next look finds the others
    }
    if (now - segment->marked_at() < settings.drip_window) continue;
    if (segment->since_mark() < settings.drip_bytes && places_.has_other(*segment->place)) {
      const Error slow{Errc::upstream_timeout, fmt::format("{} is too slow", name)};
      places_.prefer_another(*segment->place);
      if (units_ && segment->unit) {
        segment_failed(take_out(*segment), slow);
        return false;
      }
      places_.note(slow);
      const auto dropped = take_out(*segment);
      fill();
      return false;
    }
    segment->mark(now);
  }
  return false;
}

// Who joined brought places of his own, and what we have is slow: an upstream that drips just fast enough
// must not decide the pulls of others. True if the segments were dropped for another place.
bool Download::watch_slowness() {
  const TimePoint now = parts_->loop.now();
  const Duration spent = now - slow_since_;
  if (spent < kSlowWindow) return false;
  const double rate =
      static_cast<double>(received_ - slow_received_) / std::chrono::duration<double>(spent).count();
  const bool is_measured = slow_since_ != TimePoint{};
  slow_since_ = now;
  slow_received_ = received_;
  if (!is_measured || rate >= kSlow || state_ != State::receiving || !size_) return false;
  for (const auto& segment : segments_) {
    if (segment->purpose() != Segment::Purpose::fill || segment->state() != Segment::State::reading) continue;
    const std::size_t slow = *segment->place;
    const auto other = places_.instead_of(slow, rate);
    if (!other) return false;
    places_.note({Errc::upstream_timeout, fmt::format("{} is slow", places_.name(slow))});
    drop_segments();
    places_.prefer(*other);
    fill();
    return true;
  }
  return false;
}

void Download::watch_speed() {
  const TimePoint now = parts_->loop.now();
  const double brought = static_cast<double>(received_ - shown_received_) * 4;  // four looks a second
  shown_rate_ = shown_rate_ > 0 ? 0.75 * shown_rate_ + 0.25 * brought : brought;
  shown_received_ = received_;
  if (state_ != State::receiving || !size_) return;
  unsigned delivering = 0;
  for (const auto& segment : segments_) delivering += segment->received() > 0 ? 1 : 0;
  const unsigned allowed = ramp_.tick(now, received_, missing(), delivering);
  allowed_ = allowed;
  look_ahead();
  if (segments_.size() < allowed_) fill();
}

// A reader that waits far ahead of every segment gets one of its own, if the way there is long. Units are
// looked for where readers wait, and what the site is looking for is not fetched beside it.
void Download::look_ahead() {
  if (units_) return;
  const auto& settings = parts_->settings;
  const TimePoint now = parts_->loop.now();
  const auto choice = places_.choose(now);
  if (now < no_more_before_ || !choice.place || !places_.does_ranges(*choice.place)) return;
  unsigned ahead = 0;
  for (const auto& segment : segments_) ahead += segment->purpose() == Segment::Purpose::ahead ? 1 : 0;
  const double soon = shown_rate_ * std::chrono::duration<double>(settings.ahead_wait).count();
  const ByteCount near = std::max(settings.ahead, static_cast<ByteCount>(soon));
  for (const DownloadFollower* follower : followers_) {
    if (ahead >= kMostAhead || segments_.size() >= settings.segments) return;
    const auto offset = follower->waiting_at();
    if (!offset) continue;
    const auto unit = unit_ahead(picture(), *offset, near, kAheadUnit);
    if (!unit) continue;
    start_segment(Segment::Purpose::ahead, *unit, *choice.place);
    ++ahead;
  }
}

}  // namespace layerd::proxy
