// Room: keeps the store under its cap and the file system above its floor, while downloads run.
// Requests for room are served one after the other; each is granted, or victims are dropped
// first, or it is refused. Loop thread.
#pragma once

#include <deque>
#include <unordered_map>

#include "cache/blob_rows.h"
#include "cache/eviction.h"
#include "cache/jobs.h"
#include "cache/store_settings.h"

namespace layerd::cache {

class Room {
 public:
  struct Host {
    virtual ~Host() = default;
    // A finished blob somebody reads, or a partial one somebody fills.
    virtual bool is_busy(const Digest& digest, bool partial) = 0;
    // `then` hears of the first file that could not be removed; its row is there again.
    virtual void drop(std::vector<EvictionCandidate> victims, Callback<void(Result<Ok>)> then) = 0;
  };
  Room(Loop& loop, Workers& workers, const StoreSettings& settings, BlobRows& rows, Host& host);

  Ticket reserve(const Digest& digest, ByteCount more, Done<Ok> done);
  // The same for the store itself, whose callback nobody takes back.
  void ask(const Digest& digest, ByteCount more, Done<Ok> done);
  // What was reserved and is now a finished blob with its row, or was never written.
  void give_back(const Digest& digest, ByteCount bytes);
  // Evicts down to cap and floor; the bytes dropped.
  Ticket tidy(Done<ByteCount> done);

  // A partial blob has grown: its reservation turns into bytes.
  void grew(const Digest& digest, ByteCount bytes);
  // It is empty, committed, or has a row again: what was kept in memory for it ends.
  void settle(const Digest& digest);
  ByteCount live_bytes() const { return live_bytes_; }
  void set_limits(SpaceLimit max_size, SpaceLimit min_free) {
    settings_.max_size = max_size;
    settings_.min_free = min_free;
  }
  // The last reading is worth nothing any more (a write met ENOSPC).
  void distrust() { is_fresh_ = false; }

  const DiskSpace& space() const { return space_; }
  ByteCount cap() const { return settings_.max_size.of(space_.total); }
  ByteCount floor() const { return settings_.min_free.of(space_.total); }

 private:
  struct Ask {
    Digest digest;
    ByteCount more;
    std::shared_ptr<Pending<Ok>> operation;
    std::shared_ptr<ByteCount> dropped;
  };
  // Candidates are gathered a slice of rows at a time: most of a big store may be pinned.
  struct Search {
    ByteCount needed = 0;
    std::vector<EvictionCandidate> candidates;
    ByteCount sum = 0;
    int oldest_class = -1;
    std::optional<std::pair<std::int64_t, Digest>> after;  // the last row looked at
  };
  struct Live {
    ByteCount reserved = 0;
    ByteCount grown = 0;  // present, but not yet in its row
  };
  void add(const Digest& digest, ByteCount more, std::shared_ptr<Pending<Ok>> operation);
  void serve();
  bool serve_first();
  void read_space();
  ByteCount shortage(ByteCount more) const;
  void begin_search(ByteCount needed);
  void search_on();
  void search_done();
  void answer_first(Result<Ok> result);
  Error refusal(ByteCount more) const;

  Loop& loop_;
  StoreSettings settings_;
  BlobRows& rows_;
  Host& host_;
  std::deque<Ask> asks_;
  bool is_serving_ = false;  // a reading, a search or an eviction is under way
  Search search_;
  Ticket slice_;
  std::unordered_map<Digest, Live> live_;
  ByteCount reserved_bytes_ = 0;
  ByteCount live_bytes_ = 0;
  DiskSpace space_;
  bool is_fresh_ = false;
  TimePoint read_at_{};
  ByteCount granted_since_ = 0;
  ByteCount written_since_ = 0;
  Jobs jobs_;
};

}  // namespace layerd::cache
