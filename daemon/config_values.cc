#include "daemon/config_values.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "proxy/registry/text.h"

namespace layerd::daemon {

namespace {

Error wrong(std::string_view text, std::string_view expected) {
  return {Errc::config, fmt::format("\"{}\" is not {}", printable(text, 60), expected), 0, 0, {}, {}};
}

// A decimal number and what follows it. Only digits and one point: no sign, no exponent.
bool take_number(std::string_view text, double& number, std::string_view& unit) {
  const auto end = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto digits = text.substr(0, end);
  unit = registry::trim(text.substr(end));
  if (digits.empty() || digits.size() > 24 || digits.front() == '.' || digits.back() == '.') return false;
  const auto [stop, failure] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, std::chars_format::fixed);
  return failure == std::errc() && stop == digits.data() + digits.size();
}

struct Unit {
  std::string_view name;
  double factor;
};

constexpr std::array<Unit, 11> kSizeUnits{{{"", 1},
                                           {"B", 1},
                                           {"kB", 1e3},
                                           {"KB", 1e3},
                                           {"KiB", 1024},
                                           {"MB", 1e6},
                                           {"MiB", 1048576},
                                           {"GB", 1e9},
                                           {"GiB", 1073741824},
                                           {"TB", 1e12},
                                           {"TiB", 1099511627776}}};
constexpr std::array<Unit, 5> kTimeUnits{
    {{"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}}};

constexpr std::string_view kSizeExpected =
    "a size: a number with B, kB, KiB, MB, MiB, GB, GiB, TB or TiB was expected, as 20GiB";
constexpr std::string_view kTimeExpected = "a duration: a number with ms, s, m, h or d was expected, as 2s";

}  // namespace

Result<ByteCount> parse_size(std::string_view text) {
  double number = 0;
  std::string_view unit;
  if (!take_number(registry::trim(text), number, unit)) return wrong(text, kSizeExpected);
  for (const Unit& known : kSizeUnits) {
    if (known.name != unit) continue;
    const double bytes = number * known.factor;
    if (bytes < 1 || bytes > 9.2e18) return wrong(text, "a possible size: 1 byte to 8 EiB");
    return static_cast<ByteCount>(bytes);
  }
  return wrong(text, kSizeExpected);
}

Result<SizeSetting> parse_size_or_percent(std::string_view text) {
  text = registry::trim(text);
  if (!text.ends_with('%')) {
    auto bytes = parse_size(text);
    if (!bytes) return wrong(text, "a size or a share: 20GiB or 20% was expected");
    return SizeSetting{*bytes, 0};
  }
  double number = 0;
  std::string_view unit;
  if (!take_number(text, number, unit) || unit != "%" || number <= 0 || number > 100)
    return wrong(text, "a share of the file system: above 0% and at most 100%");
  return SizeSetting{0, number};
}

Result<ByteCount> parse_rate(std::string_view text) {
  constexpr std::string_view kExpected =
      "a rate: a number with kbit, Mbit or Gbit (per second) or a size (per second) was expected, as 50Mbit";
  constexpr std::array<Unit, 3> kUnits{{{"kbit", 1e3 / 8}, {"Mbit", 1e6 / 8}, {"Gbit", 1e9 / 8}}};
  constexpr double kLeast = 1e6 / 8, kMost = 1e12 / 8;
  if (text == "none") return ByteCount{0};
  double number = 0, bytes = 0;
  std::string_view unit;
  if (!take_number(registry::trim(text), number, unit) || unit.empty()) return wrong(text, kExpected);
  for (const Unit& known : kUnits)
    if (known.name == unit) bytes = number * known.factor;
  for (const Unit& known : kSizeUnits)
    if (known.name == unit) bytes = number * known.factor;
  if (bytes == 0 && number != 0) return wrong(text, kExpected);
  if (bytes < kLeast || bytes > kMost) return wrong(text, "a possible rate: 1Mbit to 1000Gbit, or none");
  return static_cast<ByteCount>(bytes);
}

Result<Duration> parse_duration(std::string_view text) {
  double number = 0;
  std::string_view unit;
  if (!take_number(registry::trim(text), number, unit)) return wrong(text, kTimeExpected);
  if (unit.empty() && number == 0) return Duration::zero();
  for (const Unit& known : kTimeUnits) {
    if (known.name != unit) continue;
    const double nanoseconds = number * known.factor;
    if (nanoseconds > 3650 * 86400e9) return wrong(text, "a possible duration: at most 3650d");
    return Duration(std::llround(nanoseconds));
  }
  return wrong(text, kTimeExpected);
}

Result<bool> parse_bool(std::string_view text) {
  for (std::string_view yes : {"true", "yes", "on"})
    if (registry::equal_ascii_nocase(text, yes)) return true;
  for (std::string_view no : {"false", "no", "off"})
    if (registry::equal_ascii_nocase(text, no)) return false;
  return wrong(text, "true or false");
}

Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least, std::uint64_t most) {
  const auto number = registry::parse_digits(registry::trim(text));
  if (!number || *number < least || *number > most)
    return wrong(text, fmt::format("a whole number from {} to {}", least, most));
  return *number;
}

Result<ListenAddress> parse_listen(std::string_view text) {
  constexpr std::string_view kExpected = "an address to listen on: 127.0.0.1:5151 or [::1]:5151 was expected";
  text = registry::trim(text);
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong(text, kExpected);
  const auto port = registry::parse_digits(text.substr(colon + 1));
  auto host = text.substr(0, colon);
  if (!port || *port > 65535) return wrong(text, kExpected);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos ||
        host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos)
      return wrong(text, kExpected);
  } else if (host.empty()) {
    host = "::";
  } else if (host == "localhost") {
    host = "127.0.0.1";
  } else {
    const auto parts = registry::split(host, '.');
    const auto is_byte = [](std::string_view part) {
      const auto value = registry::parse_digits(part);
      return part.size() <= 3 && value && *value <= 255;
    };
    if (parts.size() != 4 || !std::all_of(parts.begin(), parts.end(), is_byte)) return wrong(text, kExpected);
  }
  return ListenAddress{std::string(host), static_cast<std::uint16_t>(*port)};
}

Result<std::string> decode_base64(std::string_view text) {
  // The text itself is a secret: it is not quoted.
  if (auto decoded = registry::decode_base64(registry::trim_all(text))) return std::move(*decoded);
  return {Errc::config, "this is not base64"};
}

std::string duration_text(Duration duration) {
  const auto nanoseconds = duration.count();
  for (auto unit = kTimeUnits.rbegin(); unit != kTimeUnits.rend(); ++unit) {
    const auto factor = static_cast<std::int64_t>(unit->factor);
    if (nanoseconds >= factor && nanoseconds % factor == 0)
      return fmt::format("{}{}", nanoseconds / factor, unit->name);
  }
  return nanoseconds == 0 ? "0s" : fmt::format("{}ms", static_cast<double>(nanoseconds) / 1e6);
}

std::string rate_text(ByteCount rate) {
  if (rate == 0) return "none";
  if (rate % (1'000'000'000 / 8) == 0) return fmt::format("{}Gbit", rate / (1'000'000'000 / 8));
  if (rate % (1'000'000 / 8) == 0) return fmt::format("{}Mbit", rate / (1'000'000 / 8));
  return size_text(rate);
}

std::string size_text(ByteCount bytes) {
  static constexpr std::array<std::string_view, 5> kNames{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (unit + 1 < kNames.size() && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", bytes, kNames[unit]);
}

namespace {
// Changes, insertions, deletions and swaps of neighbours that make b from a. Both are short.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = registry::to_lower(a[i - 1]) == registry::to_lower(b[j - 1]) ? 0 : 1;
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}
}  // namespace

std::string nearest_word(std::string_view wrong_word, const std::vector<std::string>& valid) {
  if (wrong_word.size() > 64) return {};
  std::string nearest;
  std::size_t best = std::max<std::size_t>(2, wrong_word.size() / 2) + 1;
  for (const std::string& word : valid) {
    const auto distance = edit_distance(wrong_word, word);
    if (distance >= best || distance >= word.size()) continue;
    best = distance;
    nearest = word;
  }
  return nearest;
}

}  // namespace layerd::daemon
