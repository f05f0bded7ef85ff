// A set of byte offsets as sorted, disjoint, non-touching half-open ranges. Pure.
#pragma once

#include <optional>
#include <vector>

#include "runtime/bytes.h"

namespace layerd {

class RangeSet {
 public:
  void add(ByteRange range);
  void remove(ByteRange range);
  void clear() { ranges_.clear(); }
  bool contains(ByteRange range) const;  // an empty range is contained
  // End of the run of present bytes that begins at or covers `offset`; `offset` itself if absent.
  ByteCount run_end(ByteCount offset) const;
  // The first stretch of absent bytes in [range); nothing if all are present.
  std::optional<ByteRange> first_gap(ByteRange range) const;
  ByteCount total() const;
  const std::vector<ByteRange>& ranges() const { return ranges_; }
  bool operator==(const RangeSet&) const = default;

 private:
  std::vector<ByteRange> ranges_;
};

}  // namespace layerd
