#include "proxy/registry/range.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "proxy/registry/text.h"

namespace layerd::registry {

namespace {

// One member of a range set as written. A suffix range has no first.
struct Spec {
  std::optional<ByteCount> first;
  std::optional<ByteCount> last;  // of a suffix range: its length
};

// More members than this in one header are a mistake or an attack; they are not even parsed.
constexpr std::size_t kMostSpecs = 128;

std::optional<Spec> parse_spec(std::string_view text) {
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = text.substr(0, dash), last = text.substr(dash + 1);
  Spec spec;
  if (!first.empty() && !(spec.first = parse_digits(first))) return std::nullopt;
  if (!last.empty() && !(spec.last = parse_digits(last))) return std::nullopt;
  if (!spec.first && !spec.last) return std::nullopt;
  if (spec.first && spec.last && *spec.last < *spec.first) return std::nullopt;
  return spec;
}

// Empty: the header is to be ignored.
std::vector<Spec> parse_specs(std::string_view header) {
  header = trim(header);
  const auto equals = header.find('=');
  if (equals == std::string_view::npos || !equal_ascii_nocase(trim(header.substr(0, equals)), "bytes"))
    return {};
  const auto members = split(header.substr(equals + 1), ',');
  if (members.size() > kMostSpecs) return {};
  std::vector<Spec> specs;
  for (std::string_view member : members) {
    member = trim(member);
    if (member.empty()) continue;
    auto spec = parse_spec(member);
    if (!spec) return {};
    specs.push_back(*spec);
  }
  return specs;
}

std::optional<ByteRange> place(const Spec& spec, ByteCount size) {
  if (!spec.first) {
    if (*spec.last == 0) return std::nullopt;
    return ByteRange{size - std::min(size, *spec.last), size};
  }
  if (*spec.first >= size) return std::nullopt;
  return ByteRange{*spec.first, spec.last && *spec.last < size - 1 ? *spec.last + 1 : size};
}

void join_touching(std::vector<ByteRange>& ranges) {
  auto sorted = ranges;
  std::sort(sorted.begin(), sorted.end(), [](auto a, auto b) { return a.first < b.first; });
  std::vector<ByteRange> joined;
  for (ByteRange range : sorted) {
    if (!joined.empty() && range.first <= joined.back().end)
      joined.back().end = std::max(joined.back().end, range.end);
    else
      joined.push_back(range);
  }
  if (joined.size() != ranges.size()) ranges = std::move(joined);
}

}  // namespace

RangeOutcome evaluate_range(std::string_view header, ByteCount size) {
  const auto specs = parse_specs(header);
  if (specs.empty() || size == 0) return {};
  RangeOutcome outcome;
  for (const Spec& spec : specs)
    if (auto range = place(spec, size)) outcome.ranges.push_back(*range);
  if (outcome.ranges.empty()) {
    outcome.kind = RangeOutcome::Kind::unsatisfiable;
    return outcome;
  }
  join_touching(outcome.ranges);
  if (outcome.ranges.size() > kMostRanges) return {};
  outcome.kind = RangeOutcome::Kind::ranges;
  return outcome;
}

std::optional<ByteCount> first_wanted_byte(std::string_view header) {
  const auto specs = parse_specs(header);
  return specs.empty() ? std::nullopt : specs.front().first;
}

std::string etag_of(const Digest& digest) {
  std::string tag = digest.str();
  tag.reserve(tag.size() + 2);
  return tag.insert(0, 1, '"') += '"';
}

bool if_range_holds(std::string_view header, const Digest& digest) { return trim(header) == etag_of(digest); }

bool if_none_match_hits(std::string_view header, const Digest& digest) {
  header = trim(header);
  if (header == "*") return true;
  const std::string own = etag_of(digest);
  while (!header.empty()) {
    if (header.starts_with("W/")) header.remove_prefix(2);
    const auto close = header.empty() || header.front() != '"' ? std::string_view::npos : header.find('"', 1);
    if (close == std::string_view::npos) return false;
    if (header.substr(0, close + 1) == own) return true;
    header = trim(header.substr(close + 1));
    if (!header.starts_with(',')) return false;
    header = trim(header.substr(1));
  }
  return false;
}

std::string content_range(ByteRange range, ByteCount size) {
  return fmt::format("bytes {}-{}/{}", range.first, range.end - 1, size);
}

std::string unsatisfied_range(ByteCount size) { return fmt::format("bytes */{}", size); }

namespace {
// Unlike parse_digits: a number that does not fit is no number, so that nothing is compared with a
// saturated value.
std::optional<ByteCount> exact_digits(std::string_view text) {
  const auto value = parse_digits(text);
  if (value && *value == std::numeric_limits<ByteCount>::max()) return std::nullopt;
  return value;
}
}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view header) {
  header = trim(header);
  if (!starts_with_nocase(header, "bytes ")) return std::nullopt;
  header.remove_prefix(6);
  const auto slash = header.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto range = header.substr(0, slash), size = header.substr(slash + 1);
  ContentRange parsed;
  if (size != "*" && !(parsed.size = exact_digits(size))) return std::nullopt;
  if (range == "*") return parsed.size ? std::optional(parsed) : std::nullopt;
  const auto dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = exact_digits(range.substr(0, dash)), last = exact_digits(range.substr(dash + 1));
  if (!first || !last || *first > *last || (parsed.size && *last >= *parsed.size)) return std::nullopt;
  parsed.range = ByteRange{*first, *last + 1};
  return parsed;
}

MultipartPlan plan_multipart(const std::vector<ByteRange>& ranges, ByteCount size, std::string_view part_type,
                             std::string_view boundary) {
  MultipartPlan plan;
  plan.content_type = fmt::format("multipart/byteranges; boundary={}", boundary);
  for (ByteRange range : ranges) {
    auto head =
        fmt::format("{}--{}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                    plan.parts.empty() ? "" : "\r\n", boundary, part_type, content_range(range, size));
    plan.length += head.size() + range.size();
    plan.parts.emplace_back(std::move(head), range);
  }
  plan.trailer = fmt::format("\r\n--{}--\r\n", boundary);
  plan.length += plan.trailer.size();
  return plan;
}

}  // namespace layerd::registry
