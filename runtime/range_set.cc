#include "runtime/range_set.h"

#include <algorithm>

namespace layerd {
namespace {

// The first range that ends at or after `offset`.
std::vector<ByteRange>::const_iterator first_reaching(const std::vector<ByteRange>& ranges,
                                                      ByteCount offset) {
  return std::lower_bound(ranges.begin(), ranges.end(), offset,
                          [](const ByteRange& range, ByteCount at) { return range.end < at; });
}

}  // namespace

void RangeSet::add(ByteRange range) {
  if (range.empty()) return;
  auto from = ranges_.begin() + (first_reaching(ranges_, range.first) - ranges_.cbegin());
  auto to = from;
  while (to != ranges_.end() && to->first <= range.end) {
    range.first = std::min(range.first, to->first);
    range.end = std::max(range.end, to->end);
    ++to;
  }
  if (from == to) {
    ranges_.insert(from, range);
    return;
  }
  *from = range;
  ranges_.erase(from + 1, to);
}

void RangeSet::remove(ByteRange range) {
  if (range.empty()) return;
  std::vector<ByteRange> kept;
  for (const auto& have : ranges_) {
    if (have.first < range.first) kept.push_back({have.first, std::min(have.end, range.first)});
    if (have.end > range.end) kept.push_back({std::max(have.first, range.end), have.end});
  }
  ranges_ = std::move(kept);
}

ByteCount RangeSet::run_end(ByteCount offset) const {
  auto at = first_reaching(ranges_, offset);
  if (at != ranges_.end() && at->end == offset) ++at;
  return at != ranges_.end() && at->first <= offset ? at->end : offset;
}

bool RangeSet::contains(ByteRange range) const { return range.empty() || run_end(range.first) >= range.end; }

std::optional<ByteRange> RangeSet::first_gap(ByteRange range) const {
  const ByteCount first = run_end(range.first);
  if (first >= range.end) return std::nullopt;
  auto next = std::upper_bound(ranges_.begin(), ranges_.end(), first,
                               [](ByteCount at, const ByteRange& have) { return at < have.first; });
  const ByteCount end = next == ranges_.end() ? range.end : std::min(range.end, next->first);
  return ByteRange{first, end};
}

ByteCount RangeSet::total() const {
  ByteCount sum = 0;
  for (const auto& range : ranges_) sum += range.size();
  return sum;
}

}  // namespace layerd
