#include "proxy/net/foreign_names.h"

#include <algorithm>
#include <cctype>

namespace layerd::net {
namespace {

std::string domain_of(std::string_view name) {
  if (name.starts_with("*.")) name.remove_prefix(2);
  if (name.ends_with('.')) name.remove_suffix(1);
  const auto top = name.rfind('.');
  if (top == std::string_view::npos || top == 0) return std::string(name);
  auto start = name.rfind('.', top - 1);
  const std::size_t second = top - (start == std::string_view::npos ? 0 : start + 1);
  const bool is_second_level = name.size() - top - 1 == 2 && second <= 3;
  if (is_second_level && start != std::string_view::npos && start > 0) start = name.rfind('.', start - 1);
  std::string domain(start == std::string_view::npos ? name : name.substr(start + 1));
  std::transform(domain.begin(), domain.end(), domain.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return domain;
}

}  // namespace

bool are_foreign(const std::vector<std::string>& names, std::string_view host) {
  const std::string own = domain_of(host);
  return !names.empty() && std::none_of(names.begin(), names.end(),
                                        [&](const std::string& name) { return domain_of(name) == own; });
}

}  // namespace layerd::net
