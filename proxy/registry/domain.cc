#include "proxy/registry/domain.h"

#include <algorithm>
#include <array>

namespace layerd::registry {
namespace {

constexpr std::array<std::string_view, 14> kSecondLevels{"ac",  "co",  "com", "edu", "go",  "gob", "gouv",
                                                         "gov", "mil", "ne",  "net", "nom", "or",  "org"};

bool is_numeric_address(std::string_view host) {
  if (host.find(':') != std::string_view::npos) return true;
  return !host.empty() && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

std::string registrable_domain(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (is_numeric_address(host)) return {};
  const auto top = host.rfind('.');
  if (top == std::string_view::npos || top == 0) return {};
  auto start = host.rfind('.', top - 1);
  const auto second = host.substr(start == std::string_view::npos ? 0 : start + 1,
                                  top - (start == std::string_view::npos ? 0 : start + 1));
  const bool is_country = host.size() - top - 1 == 2;
  const bool is_second_level =
      is_country && std::find(kSecondLevels.begin(), kSecondLevels.end(), second) != kSecondLevels.end();
  if (!is_second_level) return std::string(start == std::string_view::npos ? host : host.substr(start + 1));
  // "co.uk" itself belongs to nobody.
  if (start == std::string_view::npos || start == 0) return {};
  start = host.rfind('.', start - 1);
  return std::string(start == std::string_view::npos ? host : host.substr(start + 1));
}

}  // namespace layerd::registry
