#include "proxy/range_plan.h"

#include <algorithm>

namespace layerd::proxy {

namespace {

constexpr ByteCount kLeastUnit = 256_KiB;
constexpr ByteCount kMostUnit = 32_MiB;
constexpr ByteCount kLeastRest = 512_KiB;  // a shorter rest is left to the stream that is under way
constexpr ByteCount kLeastTaken = 1_MiB;   // taking from a running one costs it its connection
constexpr ByteCount kAlign = 64_KiB;

ByteCount first_covered(const RangeSet& covered, ByteCount position, ByteCount end) {
  const auto gap = covered.first_gap({position, end});
  if (!gap || gap->first != position) return position;
  return gap->end;
}

// The end of `stretch`, as much of it as one of `streams` should take: big at first, small at last,
// so that all end at about the same time.
std::optional<ByteRange> tail_of(ByteRange stretch, unsigned streams) {
  if (stretch.size() < kLeastRest) return std::nullopt;
  const ByteCount share = stretch.size() / (2 * std::max(streams, 1u));
  const ByteCount unit = std::clamp(share, kLeastUnit, kMostUnit);
  const ByteCount first = (stretch.end - unit) / kAlign * kAlign;
  return ByteRange{std::max(first, stretch.first), stretch.end};
}

}  // namespace

ByteCount stop_of(const RangePicture& picture, ByteCount position, ByteCount end) {
  ByteCount stop = std::min(end, picture.size);
  if (position >= stop) return position;
  for (const ByteRange& other : picture.running) {
    if (other.first > position) stop = std::min(stop, other.first);
  }
  return first_covered(picture.covered, position, stop);
}

std::optional<ByteRange> first_unclaimed(const RangePicture& picture) {
  RangeSet taken = picture.covered;
  for (const ByteRange& segment : picture.running) {
    const ByteCount stop = stop_of(picture, segment.first, segment.end);
    if (stop > segment.first) taken.add({segment.first, stop});
  }
  return taken.first_gap({0, picture.size});
}

std::optional<ByteRange> unit_from_end(const RangePicture& picture, unsigned streams) {
  RangeSet taken = picture.covered;
  ByteRange longest;
  for (const ByteRange& segment : picture.running) {
    const ByteCount stop = stop_of(picture, segment.first, segment.end);
    if (stop <= segment.first) continue;
    taken.add({segment.first, stop});
    if (stop - segment.first > longest.size()) longest = {segment.first, stop};
  }
  std::optional<ByteRange> last;
  ByteCount from = 0;
  while (const auto gap = taken.first_gap({from, picture.size})) {
    last = gap;
    from = gap->end;
    if (from >= picture.size) break;
  }
  if (last) return last->size() < kLeastRest ? last : tail_of(*last, streams);
  if (longest.size() < kLeastTaken) return std::nullopt;
  return tail_of(longest, streams);
}

std::optional<ByteRange> unit_ahead(const RangePicture& picture, ByteCount offset, ByteCount near,
                                    ByteCount unit) {
  if (offset >= picture.size || picture.covered.contains({offset, offset + 1})) return std::nullopt;
  for (const ByteRange& segment : picture.running) {
    const ByteCount stop = stop_of(picture, segment.first, segment.end);
    if (segment.first <= offset && offset < stop && offset - segment.first <= near) return std::nullopt;
  }
  const ByteCount end = std::min(picture.size, offset + unit);
  const ByteCount stop = stop_of(picture, offset, end);
  if (stop <= offset) return std::nullopt;
  return ByteRange{offset, stop};
}

}  // namespace layerd::proxy
