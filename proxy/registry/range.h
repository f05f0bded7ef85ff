// Ranges and conditions of RFC 9110 (§13.1, §14), for the side that serves and the side that asks.
// Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/digest.h"

namespace layerd::registry {

inline constexpr std::size_t kMostRanges = 16;

struct RangeOutcome {
  enum class Kind : std::uint8_t {
    whole,          // no range applies: 200 with everything
    unsatisfiable,  // 416 with unsatisfied_range(size)
    ranges,         // 206: `ranges` has 1..kMostRanges members, none empty, none overlapping
  };
  Kind kind = Kind::whole;
  std::vector<ByteRange> ranges;
};

// What a Range header asks of an object of `size` bytes. Ignored (whole): another unit, a syntax
// error, an empty object (clients send "bytes=0-" with every request), more than kMostRanges ranges.
// Overlapping and touching ranges are joined, in ascending order then; else the client's order stays.
RangeOutcome evaluate_range(std::string_view header, ByteCount size);
// Where the Range header wants to begin, when the size is not known yet: first byte of the first
// range, nothing for a suffix range or a header that will be ignored.
std::optional<ByteCount> first_wanted_byte(std::string_view header);

std::string etag_of(const Digest& digest);  // "\"sha256:…\""
// Strong comparison; a date or a weak tag never matches (no Last-Modified is ever sent).
bool if_range_holds(std::string_view header, const Digest& digest);
// True: answer 304. Weak comparison over a list, or "*".
bool if_none_match_hits(std::string_view header, const Digest& digest);

std::string content_range(ByteRange range, ByteCount size);  // "bytes 0-9/100"
std::string unsatisfied_range(ByteCount size);               // "bytes */100"

struct ContentRange {
  std::optional<ByteRange> range;  // nothing for "bytes */100"
  std::optional<ByteCount> size;   // nothing for "bytes 0-9/*"
};
// Strict: nothing for anything that is not exactly of one of these forms, with first <= last < size.
std::optional<ContentRange> parse_content_range(std::string_view header);

// A multipart/byteranges body: for each part its header text, then the bytes of the range; then the
// trailer.
struct MultipartPlan {
  std::string content_type;  // with the boundary
  std::vector<std::pair<std::string, ByteRange>> parts;
  std::string trailer;
  ByteCount length = 0;  // of everything: the Content-Length
};
MultipartPlan plan_multipart(const std::vector<ByteRange>& ranges, ByteCount size, std::string_view part_type,
                             std::string_view boundary);

}  // namespace layerd::registry
