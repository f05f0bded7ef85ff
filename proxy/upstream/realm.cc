#include "proxy/upstream/realm.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "proxy/registry/challenge.h"

namespace layerd::upstream {
namespace {

constexpr std::array<std::string_view, 14> kSecondLevels{"ac",  "co",  "com", "edu", "go",  "gob", "gouv",
                                                         "gov", "mil", "ne",  "net", "nom", "or",  "org"};

bool is_numeric_address(std::string_view host) {
  if (host.find(':') != std::string_view::npos) return true;
  return !host.empty() && host.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool are_related(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const auto domain = registrable_domain(a);
  return !domain.empty() && domain == registrable_domain(b);
}

Error not_https(const registry::Endpoint& endpoint, const registry::Url& realm) {
  Error error{
      Errc::refused_by_policy,
      fmt::format("{} wants its tokens fetched without TLS from http://{}, a host that is not its own "
                  "and not configured, which is refused",
                  endpoint.base.authority(), realm.authority())};
  error.diagnosis = "realm_not_https";
  return error;
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

Result<Realm> judge_realm(const registry::Endpoint& endpoint, std::string_view realm,
                          const registry::Rules& rules) {
  auto url = registry::resolve_realm(endpoint.base, realm);
  Realm judged;
  if (!url) {
    auto home = registry::realm_at_home(endpoint.base, realm);
    if (!home) return std::move(url).error();
    judged.instead_of = url.error().message;
    url = std::move(*home);
  }
  judged.url = std::move(*url);
  const bool is_home = judged.url.same_origin(endpoint.base);
  // Whoever may name any host in ns gets nothing out of what is configured for others.
  const bool is_configured = endpoint.configured && rules.is_configured(judged.url.host, judged.url.port);
  const bool is_related = are_related(judged.url.host, endpoint.base.host);
  judged.takes_credentials = is_related || is_configured;
  if (judged.url.scheme == "http" && !judged.takes_credentials) return not_https(endpoint, judged.url);
  const bool is_beside = judged.url.host == endpoint.base.host;
  if (endpoint.configured && (is_home || is_configured || is_beside)) {
    judged.policy = net::AddressPolicy::any;
  } else if (endpoint.configured && is_related) {
    judged.policy = net::AddressPolicy::site;
  }
  return judged;
}

}  // namespace layerd::upstream
