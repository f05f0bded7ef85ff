// RangePlan: which stretch of a blob the next upstream request brings, and where a running one has to
// stop. Pure: no byte is planned twice.
#pragma once

#include <optional>
#include <vector>

#include "runtime/range_set.h"

namespace layerd::proxy {

// What is there and what is on its way.
struct RangePicture {
  ByteCount size = 0;
  RangeSet covered;                // present, or being written
  std::vector<ByteRange> running;  // each running segment: [its next byte, the end of its request)
};

// Where a segment whose next byte is `position` and whose request ends at `end` stops: at the first
// byte that is covered or that another segment will bring.
ByteCount stop_of(const RangePicture& picture, ByteCount position, ByteCount end);

// The first stretch that is neither covered nor on its way; nothing if there is none.
std::optional<ByteRange> first_unclaimed(const RangePicture& picture);

// The stretch for one more stream among `streams`: the end of the last unclaimed stretch, else the end
// of what the segment with the longest way to go would have brought. From the end, so that the first
// stream runs undisturbed until it meets what others brought. Nothing if no rest is worth a request.
std::optional<ByteRange> unit_from_end(const RangePicture& picture, unsigned streams);

// The stretch for a reader who waits at `offset`; nothing if the byte is covered or a segment that is at
// most `near` bytes behind will bring it.
std::optional<ByteRange> unit_ahead(const RangePicture& picture, ByteCount offset, ByteCount near,
                                    ByteCount unit);

}  // namespace layerd::proxy
