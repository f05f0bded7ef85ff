#include "daemon/settings.h"

#include <fmt/core.h>

#include <algorithm>

#include "daemon/config_values.h"

namespace layerd::daemon {

std::string ListenAddress::str() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
}

ByteCount SizeSetting::of(ByteCount file_system_size) const {
  if (percent <= 0) return bytes;
  return static_cast<ByteCount>(static_cast<double>(file_system_size) * percent / 100.0);
}

std::string SizeSetting::str() const {
  return percent > 0 ? fmt::format("{:g}%", percent) : size_text(bytes);
}

bool Settings::is_immutable_tag(const std::string& repository_key, const std::string& tag) const {
  const std::string whole = repository_key + ":" + tag;
  return std::any_of(tags_immutable_patterns.begin(), tags_immutable_patterns.end(),
                     [&](const registry::Pattern& pattern) {
                       return pattern.matches(repository_key) || pattern.matches(whole);
                     });
}

}  // namespace layerd::daemon
