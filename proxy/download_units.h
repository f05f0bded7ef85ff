// DownloadUnits: how a download that is shared with the site gets its bytes: unit by unit, each from a member
// or, by a lease, from upstream (docs/peers.md). It plans and keeps the book of this download's units; the
// segments it asks for, the file and the upstreams stay the download's. Loop thread; owned by its download,
// which outlives it. Destroying it gives every lease back.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "cache/partial_blob.h"
#include "proxy/peers/sharing.h"
#include "proxy/peers/unit_window.h"
#include "proxy/range_plan.h"
#include "runtime/loop.h"

namespace layerd::proxy {

class DownloadUnits {
 public:
  // What it asks of its download. All but covered() are called last.
  struct Owner {
    virtual ~Owner() = default;
    // What is present, or being written.
    virtual RangeSet covered() const = 0;
    // A member brings `source.range` of the unit.
    virtual void unit_from_member(std::uint32_t unit, peers::UnitSource source) = 0;
    // [rest) of the unit is ours to fetch upstream.
    virtual void unit_from_upstream(std::uint32_t unit, ByteRange rest) = 0;
    // The unit was not what it should be; its bytes are absent again. units_changed() follows.
    virtual void unit_taken_back(ByteRange range, const Error& why) = 0;
    // Another member brings the rest of what we fetch upstream: our request for it is dropped, and it is
    // looked for again. False: not now, it goes on.
    virtual bool unit_taken_over(std::uint32_t unit) = 0;
    // A unit is here, or its place is free again: plan anew.
    virtual void units_changed() = 0;
    // Another member found that upstream ignores Range: what is under way is dropped. units_changed()
    // follows.
    virtual void units_turned_whole() = 0;
    // Another member brings the whole blob, which a body of ours had begun to bring: that one is dropped.
    virtual void whole_from_member(peers::UnitSource source) = 0;
    // The disk does not give back what it took.
    virtual void unit_unreadable(const Error& why) = 0;
  };
  DownloadUnits(Owner& owner, Loop& loop, std::unique_ptr<peers::BlobShare> share);
  ~DownloadUnits() { stop(); }
  DownloadUnits(const DownloadUnits&) = delete;
  DownloadUnits& operator=(const DownloadUnits&) = delete;

  // The file that is filled; again after a start from scratch.
  void begin(cache::PartialBlobPtr partial);
  // Nothing is looked for any more, and every lease is given back.
  void stop();
  // The same, and the file goes: until begin() nobody's wish for a unit is heard.
  void suspend();

  struct Picture {
    std::optional<ByteCount> size;  // nothing while no source has told it
    RangeSet covered;               // present, or being written
    std::vector<ByteCount> wanted;  // where readers wait
    std::size_t upstream_left = 0;  // upstream requests that may still be begun
  };
  // Looks for what comes next, up to the window: where readers wait, then the first missing ones. Answers
  // what was postponed and is now to be fetched upstream.
  std::vector<std::pair<std::uint32_t, ByteRange>> plan(const Picture& picture);
  bool is_active(std::uint32_t unit) const { return active_.contains(unit); }
  bool is_whole() const { return share_->is_whole(); }
  // Units that may be looked for or brought at a time; grows while that brings more.
  std::size_t window() const { return window_.size(); }
  // Is a hash under way that may still take bytes back?
  bool is_hashing() const;
  bool is_looking() const { return !active_.empty(); }
  // Bytes of the unit, as far as the blob goes.
  ByteRange range_of(std::uint32_t unit, std::optional<ByteCount> size) const;

  // What became of a unit that was handed out.
  void postponed(std::uint32_t unit);  // no upstream may be asked just now
  // Upstream broke off, or cannot be asked for a while. True: the lease is kept, as if postponed; those who
  // take the unit from us wait with us. False once that has taken as long as a site should wait.
  bool hold(std::uint32_t unit);
  void ended(std::uint32_t unit, const RangeSet& covered);  // its segment has brought what it was begun for
  void failed(std::uint32_t unit, const Error& why);        // its segment broke off
  void written(ByteRange range);                            // bytes are on disk
  // Several times a second.
  void progress();
  // Upstream ignores Range; a segment that began at byte 0 brings all of it, unless the site says that
  // another member does so already: whole_from_member().
  void whole_only();
  void sized(ByteCount size);
  void verified(const std::vector<Digest>& units) { share_->verified(units); }
  void mismatched() { share_->mismatched(); }

 private:
  enum class State : std::uint8_t {
    finding,  // the site is asked who brings it
    waiting,  // ours to fetch upstream, when an upstream may be asked again
    coming,   // a segment brings it
    hashing,  // all of it is on disk, and is compared with what it should be
  };
  struct Unit {
    State state = State::finding;
    bool from_upstream = false;
    Ticket asked;  // the look, or the hash
  };
  void wanted(std::uint32_t unit);
  void taken(std::uint32_t unit);
  std::optional<ByteRange> rest_of(std::uint32_t unit, const RangeSet& covered) const;
  void find(std::uint32_t unit, ByteRange rest);
  void on_found(std::uint32_t unit, ByteRange rest, Result<peers::UnitSource> source);
  void hash(std::uint32_t unit);
  void on_hashed(std::uint32_t unit, ByteRange range, const Result<Digest>& sha256);
  std::vector<std::uint32_t> next(const Picture& picture) const;
  std::size_t upstream_bound() const;

  Owner& owner_;
  Loop& loop_;
  cache::PartialBlobPtr partial_;  // null: not begun, or suspended
  std::optional<ByteCount> size_;
  std::map<std::uint32_t, Unit> active_;
  peers::UnitWindow window_;
  bool was_whole_ = false;
  std::optional<TimePoint> dry_since_;  // upstream brings nothing since then
  std::set<std::uint32_t> settled_;     // compared, or here from a former download
  std::set<std::uint32_t> mixed_;       // not all of its bytes came from upstream in this download
  Ticket pause_;                        // after a refusal
  std::unique_ptr<peers::BlobShare> share_;
};

}  // namespace layerd::proxy
