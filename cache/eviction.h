// Which blobs to drop to make room. A pure function of candidate rows.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/digest.h"

namespace layerd::cache {

struct EvictionCandidate {
  Digest digest;
  ByteCount size = 0;
  std::int64_t last_used = 0;  // unix seconds
  bool is_partial = false;     // an idle partial download
};

// Ages are compared in classes that double (under an hour, under two, under four, ...); the oldest
// class goes first, the larger of one class before the smaller: fewer files lost for the same room.
int age_class(std::int64_t last_used, std::int64_t now);

// The candidates to drop, in order, until `needed` bytes are free; all of them if that is not enough.
std::vector<EvictionCandidate> choose_victims(std::vector<EvictionCandidate> candidates, ByteCount needed,
                                              std::int64_t now);

}  // namespace layerd::cache
