// Segment: one upstream request of a download. It opens, pulls the body and hands the chunks to its
// download, which writes them. Loop thread. It ends by calling ended() once, last; the download destroys
// it then, or at any other time, which drops the request.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/upstream/fetcher.h"
#include "runtime/budget.h"
#include "runtime/loop.h"

namespace layerd::proxy {

class Segment {
 public:
  enum class Purpose {
    fill,   // brings the first missing bytes; there is always one while bytes are missing
    extra,  // one more stream on a long or throttled path
    ahead,  // for a reader far ahead
    unit,   // of a download that is shared with the site
  };
  enum class State {
    opening,  // no head yet
    resting,  // the head is in; no read is under way (back-pressure, no room)
    leasing,  // waits in line for a buffer
    reading,  // waits for upstream's bytes
  };

  // What a segment asks of its download. ended() and opened() may destroy the segment.
  struct Owner {
    virtual ~Owner() = default;
    // The head is in. False: the segment was dropped and must not go on.
    virtual bool opened(Segment& segment, const upstream::FetchResponse& response) = 0;
    // Where it has to stop; asked before each read.
    virtual ByteCount stop(const Segment& segment) const = 0;
    // May it read now? If not it is told by resume() later.
    virtual bool may_read(const Segment& segment) = 0;
    // Bytes of the blob at `offset`, on their way to the disk.
    virtual void deliver(Segment& segment, ByteCount offset, Bytes bytes, BufferBudget::Lease lease) = 0;
    // The stop was reached or the body ended (Ok), or it failed.
    virtual void ended(Segment& segment, Result<Ok> how) = 0;
  };

  // range.end == kOpenEnd: to the end of the blob, wherever that is.
  Segment(Owner& owner, Loop& loop, upstream::Fetcher& fetcher, BufferBudget& budget, Purpose purpose,
          ByteRange range)
      : owner_(owner),
        loop_(loop),
        fetcher_(fetcher),
        budget_(budget),
        purpose_(purpose),
        range_(range),
        position_(range.first) {}
  void start(upstream::FetchRequest request);
  // The head is here already: a member of the site brings it.
  void start_with(upstream::FetchResponse response);
  // The upstream ignored the range, and what it sends is wanted to its end.
  void read_to_end();
  // Room or a turn has come up: goes on, on a later stack.
  void resume();

  Purpose purpose() const { return purpose_; }
  State state() const { return state_; }
  // The next byte of the blob it will bring, and where its request ends.
  ByteCount position() const { return std::max(position_, range_.first); }
  ByteCount end() const { return range_.end; }
  // The upstream ignored the range: what is present is read over rather than asked for again.
  bool reads_through() const { return reads_through_; }
  const registry::TargetPtr& target() const { return target_; }
  std::optional<std::size_t> place;   // set by the owner when the endpoint is known
  std::optional<std::uint32_t> unit;  // set by the owner, purpose unit
  std::string member;                 // the same; who brings it, empty: upstream
  std::size_t in_flight = 0;          // chunks between socket and disk; kept by the owner

  ByteCount received() const { return received_; }
  // While reading: since when the upstream has not sent a byte.
  TimePoint waits_since() const { return waits_since_; }
  // Bytes since the last call of mark(), and when that was, later by the time in which we did not read (a
  // disk that is slow, buffers that are short): for the drip rules.
  ByteCount since_mark() const { return received_ - marked_; }
  TimePoint marked_at() const { return marked_at_; }
  void mark(TimePoint now) { marked_ = received_, marked_at_ = now; }

 private:
  void on_head(Result<upstream::FetchResponse> answer);
  void pump();
  void rest();
  void read();
  void on_chunk(Result<Bytes> chunk);
  void fit_block(ByteCount got);

  // The bytes of one read. Reads end at the multiples of it in the blob, and it grows while the upstream
  // fills it: what is written in large aligned pieces lies in large folios of the page cache, and whoever is
  // served from it later pays about a tenth less CPU for each byte. A slow body holds little of the budget.
  static constexpr ByteCount kLeastBlock = 64_KiB;

  Owner& owner_;
  Loop& loop_;
  upstream::Fetcher& fetcher_;
  BufferBudget& budget_;
  const Purpose purpose_;
  ByteRange range_;
  ByteCount body_end_ = 0;  // where the body ends by its head
  State state_ = State::opening;
  ByteCount position_;  // of the body's next byte; before range_.first while skipping
  bool reads_through_ = false;
  bool pump_posted_ = false;
  registry::TargetPtr target_;
  ByteCount received_ = 0;
  ByteCount marked_ = 0;
  ByteCount block_ = kLeastBlock;
  ByteCount wanted_ = 0;  // by the read that runs
  TimePoint waits_since_{}, rests_since_{};
  TimePoint marked_at_{};
  BufferBudget::Lease lease_;
  std::unique_ptr<http::BodyReader> body_;
  Ticket pending_;  // the head, or a read of the body
  Ticket leasing_;
  Ticket posted_;
};

}  // namespace layerd::proxy
