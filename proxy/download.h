// Download: the one running download of a digest (docs/decisions/0004, docs/architecture.md "A download").
// Upstream bodies -> worker (write and hash) -> followers, who read the growing file at their own pace.
//
// Loop thread. Held by its followers and, for a while after the last of them left, by the table. It calls
// nobody back from inside a call: followers answer their readers on later stacks. Destroying it at any time
// drops the upstream requests; what was written stays on disk for a resume.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/blob_store.h"
#include "proxy/download_places.h"
#include "proxy/download_ramp.h"
#include "proxy/download_settings.h"
#include "proxy/download_units.h"
#include "proxy/downloads.h"
#include "proxy/range_plan.h"
#include "proxy/segment.h"

namespace layerd::proxy {

class DownloadFollower;
class DownloadRelay;

class Download final : public std::enable_shared_from_this<Download>,
                       public Segment::Owner,
                       public DownloadUnits::Owner {
 public:
  enum class State {
    opening,          // the store looks for what a former download left
    connecting,       // no source has confirmed the blob; followers wait in size()
    receiving,        // segments fill the file; the size is known, or the body will tell it at its end
    verifying,        // every byte is on disk; the digest is not yet compared
    committing,       // the digest is right; the file is being made durable
    committed,        // the store owns the file; new requests no longer come here
    passing_through,  // the disk takes no more: each follower fetches for itself
    failed,           // error() says why; the partial file stays for a resume
  };

  // What the table wants to know. Both may destroy the download; they are called last.
  struct Events {
    virtual ~Events() = default;
    virtual void ended(Download& download) = 0;  // committed, failed or passing through
    // The last follower left a download that runs, or whose end was not told yet.
    virtual void deserted(Download& download) = 0;
  };

  // connect: how long the first head may take.
  Download(std::shared_ptr<DownloadParts> parts, Events& events, const Digest& digest,
           const registry::TargetPtr& target, Duration connect);
  ~Download() override;
  // Before start(): members of the site are asked as well.
  void share() { share_with_site(*targets_.front()); }
  void start();
  // Another repository asks for the same digest: its endpoints come behind the others.
  void add_target(const registry::TargetPtr& target);
  // The table goes away: every follower fails with `canceled`.
  void close();

  const Digest& digest() const { return digest_; }
  State state() const { return state_; }
  bool is_running() const { return state_ < State::committed; }
  DownloadStatus status() const;
  // The rule for a download nobody follows: is the rest small enough to be finished?
  bool is_nearly_finished() const;
  std::size_t follower_count() const { return followers_.size(); }
  bool has_served() const { return has_served_; }

  // For segments.
  bool opened(Segment& segment, const upstream::FetchResponse& response) override;
  ByteCount stop(const Segment& segment) const override;
  bool may_read(const Segment& segment) override;
  void deliver(Segment& segment, ByteCount offset, Bytes bytes, BufferBudget::Lease lease) override;
  void ended(Segment& segment, Result<Ok> how) override;

  // For followers.
  void enter(DownloadFollower& follower);
  void leave(DownloadFollower& follower);
  void note_served() { has_served_ = true; }
  // For relays: readers for members of the site, which do not keep the download going.
  void enter(DownloadRelay& relay) { relays_.push_back(&relay); }
  void leave(DownloadRelay& relay) { relays_.remove(&relay); }
  // Did an upstream of this repository say that it has the blob?
  bool is_confirmed_for(const std::string& repository) const;
  // Is nothing in it but what was fetched for this repository?
  bool is_only_of(const std::string& repository) const;
  DownloadParts& parts() { return *parts_; }
  const DownloadPlaces& places() const { return places_; }
  const std::vector<registry::TargetPtr>& targets() const { return targets_; }
  const Error& error() const { return error_; }
  // Confirmed by a source in this run; nothing while unknown.
  std::optional<ByteCount> size() const { return size_; }
  // May it be told to clients? An empty body is complete with its head, and the end of a body without
  // a length may be a cut: both wait for the digest.
  bool may_tell_size() const { return size_ && (verified_ || (*size_ > 0 && !size_is_guess_)); }
  bool is_verified() const { return verified_; }
  bool is_from_member() const { return size_ && !size_place_; }
  // What a manifest says of the size: no reason to answer anybody, and one to doubt a member of the site.
  void expect(std::optional<ByteCount> size) {
    if (size) expected_ = size;
  }
  // Since when nothing has come from anywhere; nothing while bytes flow.
  std::optional<TimePoint> trouble_since() const { return trouble_since_; }
  const cache::PartialBlobPtr& partial() const { return partial_; }
  const cache::StoredBlobPtr& stored() const { return stored_; }

 private:
  struct Write {
    ByteRange range;
    Segment* segment = nullptr;  // null once the segment is gone
    BufferBudget::Lease lease;
    Ticket ticket;
  };
  using Writes = std::list<Write>;

  // download.cc: the steps from begin to commit.
  void begin();
  void on_begun(Result<cache::PartialBlobPtr> begun);
  void connect(std::optional<std::uint32_t> unit = std::nullopt);
  void on_connect_failed(const Error& error);
  void ask_size(const upstream::FetchRequest& request);
  void on_size(Result<upstream::FetchResponse> answer, const registry::Target& target);
  // place: nothing where a member of the site said so.
  void confirm(ByteCount size, std::optional<std::size_t> place);
  void confirm_body_end(std::size_t place);
  void verify();
  void on_verified(Result<Ok> right);
  void on_committed(Result<cache::StoredBlobPtr> stored);
  void start_over(Error why);
  void restart();
  void pass_through(const Error& why);
  void fail(Error error);
  void end(Counter& counter);
  void stop_fetching();
  void drop_segments();
  void wake_followers();

  // download_fill.cc: segments, writes, room.
  bool check_size(Segment& segment, const upstream::FetchResponse& response);
  void segment_failed(std::unique_ptr<Segment> segment, const Error& error);
  void size_disagrees(std::unique_ptr<Segment> segment, ByteCount other);
  std::unique_ptr<Segment> take_out(Segment& segment);
  void write(Segment& segment, ByteCount offset, Bytes bytes, BufferBudget::Lease lease);
  void written(Writes::iterator at, Result<Ok> result);
  void write_failed(const Error& error);
  bool has_room();
  void reserve(ByteCount more);
  void fill();
  void start_fill(ByteRange gap);
  void start_segment(Segment::Purpose purpose, ByteRange range, std::size_t place,
                     std::optional<std::uint32_t> unit = std::nullopt);
  void count_out(const Segment& segment);
  bool may_wait_out();
  void give_up_waiting();
  bool contradicts_former(ByteCount size) const;
  void leave_alone(std::size_t place, ByteCount size);
  void ask_for_whole();
  RangePicture picture(const Segment* without = nullptr) const;
  bool is_complete() const;
  ByteCount missing() const;
  ByteRange first_gap() const;
  void trouble();

  // download_site.cc: units of a download that is shared with the site.
  void share_with_site(const registry::Target& target);
  void fill_units();
  bool opened_by_member(Segment& segment, const upstream::FetchResponse& response);
  bool is_whole_only(const Segment& segment, const upstream::FetchResponse& response) const;
  void take_whole(Segment& segment);
  void unit_failed(std::unique_ptr<Segment> segment, const Error& error);
  void member_lied(const Error& why);
  void unit_from_member(std::uint32_t unit, peers::UnitSource source) override;
  void unit_from_upstream(std::uint32_t unit, ByteRange rest) override;
  void unit_taken_back(ByteRange range, const Error& why) override;
  bool unit_taken_over(std::uint32_t unit) override;
  void units_turned_whole() override;
  void whole_from_member(peers::UnitSource source) override;
  Segment* segment_of(std::uint32_t unit) const;
  bool is_asking_upstream() const;
  void seek_again();
  void units_changed() override { state_ == State::connecting ? fill_units() : fill(); }
  void unit_unreadable(const Error& why) override { pass_through(why); }
  RangeSet covered() const override;

  // download_watch.cc: what is looked at several times a second.
  void watch();
  void watch_speed();
  bool watch_slowness();
  bool watch_stalls();
  bool drips(Segment& segment);
  void look_ahead();

  std::shared_ptr<DownloadParts> parts_;
  Events* events_;
  const Digest digest_;
  const std::string repository_;
  const TimePoint since_;
  const Deadline connect_by_;
  DownloadPlaces places_;
  std::vector<registry::TargetPtr> targets_;
  State state_ = State::opening;
  Error error_;

  cache::PartialBlobPtr partial_;
  cache::StoredBlobPtr stored_;
  std::optional<ByteCount> size_;
  std::optional<std::size_t> size_place_;  // which place said so; nothing: a member of the site
  bool size_is_guess_ = false;             // it is where a body without a length ended
  std::optional<std::size_t> dissent_;     // the place that named another size
  bool asks_for_whole_ = false;            // an answer from byte 0 on may replace what a former download left
  bool verified_ = false;
  bool resumed_ = false;  // bytes of a former download are part of this attempt
  bool has_served_ = false;
  bool restart_pending_ = false;  // writes of the former attempt have to end first
  unsigned start_overs_ = 0;
  std::optional<TimePoint> trouble_since_;
  std::optional<ByteCount> body_end_;  // a body without a length ended here

  std::list<std::unique_ptr<Segment>> segments_;
  Writes writes_;
  ByteCount room_ = 0;  // reserved in the store and not yet delivered
  bool reserving_ = false;
  bool sizing_ = false;
  DownloadRamp ramp_;
  unsigned allowed_ = 1;
  ByteCount received_ = 0;
  TimePoint no_more_before_{};  // no further streams after one was refused
  double shown_rate_ = 0;
  ByteCount shown_received_ = 0;
  TimePoint slow_since_{};  // a stretch of time in which the speed of the present place is measured
  ByteCount slow_received_ = 0;

  std::list<DownloadFollower*> followers_;
  std::list<DownloadRelay*> relays_;
  std::unique_ptr<DownloadUnits> units_;  // null: it goes on by itself
  ByteCount from_members_ = 0;
  std::optional<ByteCount> expected_;

  Ticket pending_;   // begin, verify, commit
  Ticket deadline_;  // of connecting
  Ticket size_asked_;
  Ticket room_asked_;
  Ticket retry_;
  Ticket watch_;
  Ticket ended_;
};

std::string_view name_of(Download::State state);

}  // namespace layerd::proxy
