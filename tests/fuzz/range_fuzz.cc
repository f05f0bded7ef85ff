// Range, If-None-Match and Content-Range. Whatever is answered lies inside the object.
#include <cstdint>

#include "proxy/registry/range.h"
#include "runtime/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace layerd;
  using namespace layerd::registry;
  if (size < 2) return 0;
  const ByteCount total = data[0] < 200 ? data[0] : ByteCount{data[1]} << (data[0] - 200);
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto outcome = evaluate_range(text, total);
  LAYERD_CHECK(outcome.ranges.size() <= kMostRanges);
  LAYERD_CHECK((outcome.kind == RangeOutcome::Kind::ranges) == !outcome.ranges.empty());
  ByteCount sum = 0;
  for (ByteRange range : outcome.ranges) {
    LAYERD_CHECK(range.first < range.end && range.end <= total);
    const auto back = parse_content_range(content_range(range, total));
    LAYERD_CHECK(back && back->range == range && back->size == total);
    sum += range.size();
  }
  LAYERD_CHECK(sum <= total);
  static_cast<void>(first_wanted_byte(text));
  static_cast<void>(if_none_match_hits(text, Digest{}));
  static_cast<void>(if_range_holds(text, Digest{}));
  if (const auto parsed = parse_content_range(text); parsed && parsed->range)
    LAYERD_CHECK(!parsed->range->empty());
  return 0;
}
