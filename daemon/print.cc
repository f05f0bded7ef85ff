#include "daemon/print.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace layerd::daemon {

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 1) return fmt::format("{} ms", static_cast<int>(seconds * 1000));
  if (seconds < 120) return fmt::format("{} s", static_cast<int>(seconds));
  if (seconds < 2 * 3600) return fmt::format("{} min", static_cast<int>(seconds / 60));
  if (seconds < 48 * 3600) return fmt::format("{} h", static_cast<int>(seconds / 3600));
  return fmt::format("{} d", static_cast<int>(seconds / 86400));
}

std::string human_age(std::int64_t unix_time, std::int64_t now) {
  if (unix_time <= 0) return "never";
  if (unix_time >= now) return "now";
  return human_seconds(static_cast<double>(now - unix_time)) + " ago";
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

}  // namespace layerd::daemon
