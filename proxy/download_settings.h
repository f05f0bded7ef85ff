// The numbers of a download and what every part of it borrows (docs/decisions/0004). Plain values;
// the references outlive every download.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>

#include "cache/blob_store.h"
#include "proxy/peers/sharing.h"
#include "proxy/upstream/fetcher.h"
#include "runtime/budget.h"
#include "runtime/clock.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace layerd::proxy {

struct DownloadSettings {
  // Waiting for a source.
  Duration connect = std::chrono::seconds(20);      // the first head, over all endpoints
  Duration reopen = std::chrono::seconds(5);        // the same after a body of this blob broke off
  Duration outage = std::chrono::seconds(20);       // a running download without a byte, retries included
  Duration stall = std::chrono::seconds(15);        // one upstream body without a byte
  Duration drip_window = std::chrono::seconds(30);  // over this long ...
  ByteCount member_drip_bytes = 4_KiB;              // ... fewer than this from a member: it is left
  ByteCount drip_bytes = 30_KiB;                    // ... fewer bytes than this: another endpoint, if any
  unsigned tries = 3;                               // at one endpoint without progress
  ByteCount progress = 16_KiB;                      // this many bytes make an endpoint good again
  Duration retry_first = std::chrono::milliseconds(200);
  Duration retry_most = std::chrono::seconds(2);
  Duration retry_after_most = std::chrono::seconds(15);  // a longer Retry-After counts as this one
  unsigned upstream_units = 8;                           // of all downloads that are shared, at a time
  unsigned start_overs = 3;                              // wrong digest or disagreeing sizes: from scratch

  // Several ranges at once.
  unsigned segments = 6;                          // upstream requests of one blob, at most
  ByteCount parallel_from = 16_MiB;               // missing bytes below which one stream suffices
  ByteCount ahead = 8_MiB;                        // a reader further ahead than this many bytes ...
  Duration ahead_wait = std::chrono::seconds(5);  // ... and this long at the present rate gets a segment

  // The disk.
  ByteCount reserve_step = 16_MiB;  // room asked of the store at a time

  // After the last follower left.
  Duration linger = std::chrono::seconds(10);  // goes on this long for those who come back
  ByteCount finish_rest = 32_MiB;              // a rest of at most max(this, what is present) is finished
  Duration finish_within = std::chrono::minutes(10);
};

struct DownloadMetrics {
  explicit DownloadMetrics(Metrics& metrics);
  Gauge& running;
  Gauge& followers;
  Counter& committed;
  Counter& failed;
  Counter& abandoned;
  Counter& resumes;
  Counter& pass_through;
  Counter& joined;
};

struct DownloadParts {
  Loop& loop;
  cache::BlobStore& store;
  upstream::Fetcher& fetcher;
  BufferBudget& budget;
  DownloadSettings settings;
  DownloadMetrics metrics;
  std::size_t readers = 0;  // followers of all downloads
  // The site, and how upstream serves a repository; both null where nothing is shared.
  peers::Sharing* sharing = nullptr;
  std::function<peers::Rights(const registry::Target&)> rights_of = {};
  std::size_t upstream_units = 0;  // that run now, of all downloads

  // The most one reader may hold in memory, so that however many slow ones there are, they hold 16 MiB
  // together (or 16 KiB each). Readers take it without a lease: one that waits for a slow client must
  // never keep a download from its buffers.
  ByteCount chunk() const {
    return std::clamp<ByteCount>(16_MiB / std::max<std::size_t>(readers, 1), 16_KiB, cache::kMaxRead);
  }
};

// A blob of more bytes than this is an upstream's lie; all arithmetic on offsets is safe below it.
inline constexpr ByteCount kMostBlob = ByteCount{1} << 50;
Error absurd_size(const std::string& endpoint, ByteCount size);

// Of a body that reaches the end of a blob, this many bytes wait for the digest.
inline constexpr ByteCount kHeldTail = 64_KiB;
inline ByteCount held_from(ByteCount size) { return size - std::min(kHeldTail, size); }

}  // namespace layerd::proxy
