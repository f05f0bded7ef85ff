#include "proxy/upstream/realm.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/registry/challenge.h"
#include "proxy/registry/domain.h"

namespace layerd::upstream {
namespace {

bool are_related(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const auto domain = registry::registrable_domain(a);
  return !domain.empty() && domain == registry::registrable_domain(b);
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
