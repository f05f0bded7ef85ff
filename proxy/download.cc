// The steps of a download from what is on disk to the commit. Segments: download_fill.cc.
#include "proxy/download.h"

#include <fmt/core.h>

#include <chrono>

#include "proxy/download_follower.h"
#include "proxy/download_relay.h"
#include "runtime/log.h"

namespace layerd::proxy {

namespace {

constexpr Duration kWatchEvery = std::chrono::milliseconds(250);
// The fetcher's own sentence about its deadline says more than ours: it gets this long to come.
constexpr Duration kGrace = std::chrono::milliseconds(100);

bool is_disk_trouble(Errc code) { return code == Errc::no_space || code == Errc::local_io; }

}  // namespace

std::string_view name_of(Download::State state) {
  switch (state) {
    case Download::State::opening:
    case Download::State::connecting:
      return "connecting";
    case Download::State::receiving:
      return "receiving";
    case Download::State::verifying:
      return "verifying";
    case Download::State::committing:
      return "committing";
    case Download::State::committed:
      return "committed";
    case Download::State::passing_through:
      return "passing_through";
    case Download::State::failed:
      return "failed";
  }
  return "failed";
}

DownloadMetrics::DownloadMetrics(Metrics& metrics)
    : running(metrics.gauge("layerd_downloads_running", "Downloads under way on this node.")),
      followers(metrics.gauge("layerd_followers", "Readers that follow a running download.")),
      committed(metrics.counter("layerd_downloads_total", "Downloads by how they ended.",
                                {{"result", "committed"}})),
      failed(
          metrics.counter("layerd_downloads_total", "Downloads by how they ended.", {{"result", "failed"}})),
      abandoned(metrics.counter("layerd_downloads_total", "Downloads by how they ended.",
                                {{"result", "abandoned"}})),
      resumes(metrics.counter("layerd_upstream_resumes_total", "Upstream bodies gone on with by Range.")),
      pass_through(metrics.counter("layerd_pass_through_total",
                                   "Readers served without storing because the disk took no more.")),
      joined(metrics.counter("layerd_joined_total", "Requests that joined a download already running.")) {}

Download::Download(std::shared_ptr<DownloadParts> parts, Events& events, const Digest& digest,
                   const registry::TargetPtr& target, Duration connect)
    : parts_(std::move(parts)),
      events_(&events),
      digest_(digest),
      repository_(target->key()),
      since_(parts_->loop.now()),
      connect_by_(Deadline::in(since_, connect)),
      places_(parts_->settings),
      ramp_(parts_->settings.segments, parts_->settings.parallel_from) {
  targets_.push_back(target);
  places_.add(target);
  parts_->metrics.running.add(1);
}

Download::~Download() {
  units_.reset();
  drop_segments();
  for (DownloadRelay* relay : relays_) relay->download_gone();
  if (!is_running()) return;
  parts_->metrics.running.add(-1);
  parts_->metrics.abandoned.add();
}

void Download::start() {
  begin();
  deadline_ = parts_->loop.after(connect_by_.left(since_) + kGrace, "download: first answer", [this] {
    if (size_ || state_ > State::connecting) return;
    Error error = places_.worst();
    if (error.code == Errc::upstream_unreachable) error.code = Errc::upstream_timeout;
    fail(std::move(error));
  });
}

void Download::begin() {
  state_ = State::opening;
  pending_ = parts_->store.begin(digest_,
                                 [this](Result<cache::PartialBlobPtr> begun) { on_begun(std::move(begun)); });
}

void Download::on_begun(Result<cache::PartialBlobPtr> begun) {
  if (!begun) return pass_through(begun.error());
  partial_ = std::move(*begun);
  resumed_ = partial_->present().total() > 0;
  if (units_) units_->begin(partial_);
  if (start_overs_ > 0) {
    if (resumed_)
      return pass_through({Errc::local_io, "the store still has the bytes that were thrown away"});
    return restart();
  }
  state_ = State::connecting;
  if (units_ && !first_gap().empty()) return fill_units();
  connect();
}

void Download::add_target(const registry::TargetPtr& target) {
  if (!places_.add(target)) return;
  targets_.push_back(target);
}

// Asks the next target as a whole; the fetcher walks its endpoints.
void Download::connect(std::optional<std::uint32_t> unit) {
  upstream::FetchRequest request;
  request.target = places_.next_target();
  if (!request.target) return fail(places_.worst());
  request.reference = digest_.str();
  request.deadline = connect_by_;
  const ByteRange gap = first_gap();
  if (gap.empty()) {  // everything is here already: a source has to confirm it all the same
    request.head_only = true;
    return ask_size(request);
  }
  ByteRange rest{gap.first, upstream::kOpenEnd};
  if (unit) rest = covered().first_gap(units_->range_of(*unit, std::nullopt)).value_or(rest);
  if (rest.first > 0 || unit) request.range = rest;
  const auto purpose = unit ? Segment::Purpose::unit : Segment::Purpose::fill;
  segments_.push_back(
      std::make_unique<Segment>(*this, parts_->loop, parts_->fetcher, parts_->budget, purpose, rest));
  segments_.back()->unit = unit;
  if (unit) ++parts_->upstream_units;
  segments_.back()->start(std::move(request));
}

void Download::on_connect_failed(const Error& error) {
  places_.note(error);
  if (error.code == Errc::range_unsatisfiable && resumed_) {
    // What a former download left may be longer than the blob is: only the whole of it tells.
    state_ = State::receiving;
    watch();
    trouble();
    return ask_for_whole();
  }
  // The units of the next target are looked for in the site as well.
  if (units_ && places_.has_next_target()) return fill_units();
  connect();
}

// A HEAD: for a body without a length, or when nothing is missing.
void Download::ask_size(const upstream::FetchRequest& request) {
  sizing_ = true;
  size_asked_ = parts_->fetcher.fetch(request, [this, target = request.target](auto answer) {
    sizing_ = false;
    on_size(std::move(answer), *target);
  });
}

void Download::on_size(Result<upstream::FetchResponse> answer, const registry::Target& target) {
  if (size_) return;
  if (answer && answer->total && *answer->total > kMostBlob)
    answer = absurd_size(answer->endpoint_name, *answer->total);
  if (state_ == State::connecting) {
    if (!answer) return on_connect_failed(answer.error());
    if (!answer->total) {
      return on_connect_failed(
          {Errc::upstream_protocol, fmt::format("{} answered HEAD without a length", answer->endpoint_name)});
    }
    state_ = State::receiving;
    watch();
    const std::size_t place = places_.find(target, answer->endpoint);
    if (contradicts_former(*answer->total)) return leave_alone(place, *answer->total);
    confirm(*answer->total, place);
    return fill();
  }
  if (answer && answer->total && contradicts_former(*answer->total))
    return leave_alone(places_.find(target, answer->endpoint), *answer->total);
  if (answer && answer->total) {
    confirm(*answer->total, places_.find(target, answer->endpoint));
  } else if (body_end_) {
    confirm_body_end(places_.find(target, 0));
  }
  fill();
}

// A source has the blob and named its size: from here on followers may answer their clients.
void Download::confirm(ByteCount size, std::optional<std::size_t> place) {
  size_ = size;
  size_place_ = place;
  if (place) places_.confirmed(*place);
  deadline_.reset();
  partial_->set_size(size);
  if (units_) units_->sized(size);
  if (partial_->present().total() == 0) resumed_ = false;
  for (DownloadFollower* follower : followers_) follower->size_confirmed(size);
  wake_followers();
}

void Download::confirm_body_end(std::size_t place) {
  size_is_guess_ = true;
  confirm(*body_end_, place);
}

void Download::verify() {
  stop_fetching();
  trouble_since_.reset();
  state_ = State::verifying;
  pending_ = partial_->verify([this](Result<Ok> right) { on_verified(std::move(right)); });
}

void Download::on_verified(Result<Ok> right) {
  if (!right && is_disk_trouble(right.error().code)) return pass_through(right.error());
  if (!right && units_ && from_members_ > 0) return member_lied(right.error());
  if (!right) {
    // Bytes of a former run may be the wrong ones: then nobody of this run is to blame yet.
    if (!resumed_) places_.ban_main_contributor();
    return start_over(right.error());
  }
  verified_ = true;
  state_ = State::committing;
  wake_followers();
  pending_ = parts_->store.commit(
      partial_, [this](Result<cache::StoredBlobPtr> stored) { on_committed(std::move(stored)); });
}

void Download::on_committed(Result<cache::StoredBlobPtr> stored) {
  if (!stored) return pass_through(stored.error());
  stored_ = std::move(*stored);
  state_ = State::committed;
  if (units_) {
    auto units = parts_->store.units(digest_);
    // The hashes of units are sha256, whatever the blob goes by.
    if (units.empty() && *size_ <= peers::kUnit && digest_.algorithm() == DigestAlgorithm::sha256)
      units.push_back(digest_);
    units_->verified(units);
    units_.reset();
  }
  end(parts_->metrics.committed);
  partial_.reset();
  wake_followers();
}

// From scratch, at places that are not banned. Who has sent bytes of the old attempt fails; who has
// read nothing goes on waiting.
void Download::start_over(Error why) {
  LogLine(LogLevel::warn, "download_start_over").field("digest", digest_.str()).field("err", why.message);
  stop_fetching();
  if (units_) units_->suspend();
  places_.note(why);
  for (DownloadFollower* follower : followers_) follower->attempt_failed(why);
  for (DownloadRelay* relay : relays_) relay->lost({0, upstream::kOpenEnd});
  const auto choice = places_.choose(parts_->loop.now());
  if (++start_overs_ > parts_->settings.start_overs || (!choice.place && !choice.again))
    return fail(std::move(why));
  places_.forget_contributions();
  size_.reset();
  size_is_guess_ = false;
  body_end_.reset();
  verified_ = false;
  resumed_ = false;
  trouble();
  state_ = State::opening;
  restart_pending_ = !writes_.empty();  // a late write must not land in the new attempt
  if (!restart_pending_) restart();
}

void Download::restart() {
  restart_pending_ = false;
  if (partial_->present().total() > 0) {
    partial_->discard();
    partial_.reset();
    return begin();
  }
  state_ = State::receiving;
  if (units_) units_->begin(partial_);
  watch();
  fill();
}

void Download::pass_through(const Error& why) {
  LogLine(LogLevel::warn, "pass_through").field("digest", digest_.str()).field("err", why.message);
  stop_fetching();
  units_.reset();
  writes_.clear();
  state_ = State::passing_through;
  error_ = why;
  end(parts_->metrics.failed);
  wake_followers();
}

void Download::fail(Error error) {
  LogLine(LogLevel::warn, "download_failed").field("digest", digest_.str()).field("err", error.message);
  stop_fetching();
  units_.reset();
  state_ = State::failed;
  error_ = std::move(error);
  end(parts_->metrics.failed);
  wake_followers();
}

void Download::end(Counter& counter) {
  parts_->metrics.running.add(-1);
  counter.add();
  deadline_.reset();
  ended_ = parts_->loop.post([this] {
    ended_.reset();
    if (events_) events_->ended(*this);
  });
}

void Download::close() {
  events_ = nullptr;
  if (is_running()) fail({Errc::canceled, "layerd is shutting down"});
  error_ = {Errc::canceled, "layerd is shutting down"};
  for (DownloadFollower* follower : followers_) follower->give_up(error_);
  writes_.clear();
  pending_.reset();
  partial_.reset();
}

void Download::stop_fetching() {
  if (units_) units_->stop();
  drop_segments();
  size_asked_.reset();
  room_asked_.reset();
  retry_.reset();
  watch_.reset();
  sizing_ = reserving_ = false;
}

void Download::drop_segments() {
  for (Write& write : writes_) write.segment = nullptr;
  for (const auto& segment : segments_) count_out(*segment);
  segments_.clear();
}

void Download::enter(DownloadFollower& follower) {
  followers_.push_back(&follower);
  parts_->metrics.followers.add(1);
}

void Download::leave(DownloadFollower& follower) {
  followers_.remove(&follower);
  parts_->metrics.followers.add(-1);
  // Nor is it lost that it has ended: the table holds it until it was told.
  if (followers_.empty() && (is_running() || ended_.held()) && events_) events_->deserted(*this);
}

void Download::wake_followers() {
  for (DownloadFollower* follower : followers_) follower->wake();
  for (DownloadRelay* relay : relays_) relay->wake();
}

bool Download::is_nearly_finished() const {
  if (state_ == State::verifying || state_ == State::committing) return true;
  if (state_ != State::receiving || !size_ || trouble_since_) return false;
  return missing() <= std::max(parts_->settings.finish_rest, partial_->present().total());
}

DownloadStatus Download::status() const {
  DownloadStatus row;
  row.digest = digest_;
  row.repository = repository_;
  row.state = name_of(state_);
  row.size = size_;
  row.present = stored_ ? stored_->byte_count() : partial_ ? partial_->present().total() : 0;
  row.followers = followers_.size();
  row.segments = segments_.size();
  row.from_members = from_members_;
  row.from_upstream = received_ - from_members_;
  row.endpoint = places_.last_name();
  row.bytes_per_second = state_ == State::receiving ? shown_rate_ : 0;
  row.age_seconds = std::chrono::duration<double>(parts_->loop.now() - since_).count();
  return row;
}

void Download::watch() {
  watch_ = parts_->loop.after(kWatchEvery, "download: watch", [this] {
    watch();
    if (units_) units_->progress();
    if (watch_stalls() || watch_slowness()) return;
    watch_speed();
  });
}

}  // namespace layerd::proxy
