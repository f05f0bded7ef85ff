#include "proxy/registry/pull_limit.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/registry/text.h"

namespace layerd::registry {
namespace {

constexpr std::uint64_t kLongestWindow = 366 * 86400;

std::optional<std::uint64_t> first_number(std::string_view text) {
  return parse_digits(trim(text.substr(0, text.find_first_of(";,"))));
}

// Of "100;w=21600".
std::uint64_t window_of(std::string_view text) {
  for (const auto part : split(text.substr(0, text.find(',')), ';')) {
    const auto word = trim(part);
    if (starts_with_nocase(word, "w=")) return parse_digits(word.substr(2)).value_or(0);
  }
  return 0;
}

std::string in_words(std::chrono::seconds window) {
  const auto seconds = window.count();
  if (seconds % 3600 == 0) return fmt::format("{} h", seconds / 3600);
  if (seconds % 60 == 0) return fmt::format("{} min", seconds / 60);
  return fmt::format("{} s", seconds);
}

}  // namespace

std::optional<PullLimit> read_pull_limit(std::string_view limit, std::string_view remaining) {
  const auto most = first_number(limit), left = first_number(remaining);
  if (!most || !left) return std::nullopt;
  const auto window = std::min(window_of(limit), kLongestWindow);
  return PullLimit{*most, *left, std::chrono::seconds(static_cast<std::int64_t>(window))};
}

std::string describe(const PullLimit& limit) {
  const auto window = limit.window.count() == 0 ? std::string() : " in " + in_words(limit.window);
  return fmt::format("{} of {} pulls{} are left", limit.left, limit.most, window);
}

}  // namespace layerd::registry
