#include "proxy/registry/registry_key.h"

#include <fmt/core.h>

#include <algorithm>
#include <tuple>

#include "proxy/registry/domain.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"

namespace layerd::registry {
namespace {

bool is_hub(std::string_view host) {
  return host == kDockerHub || host == "index.docker.io" || host == "registry-1.docker.io" ||
         host == "registry.hub.docker.com";
}

bool is_host_text(std::string_view host) {
  if (host.starts_with('['))
    return host.size() > 3 && host.ends_with(']') &&
           std::all_of(host.begin() + 1, host.end() - 1,
                       [](char c) { return is_hex(c) || c == ':' || c == '.'; });
  const bool has_letter = std::any_of(host.begin(), host.end(), is_alnum);
  return has_letter && host.front() != '.' && host.find("..") == std::string_view::npos &&
         std::all_of(host.begin(), host.end(),
                     [](char c) { return is_alnum(c) || c == '.' || c == '-' || c == '_' || c == '*'; });
}

// `*` is any run of characters; both are one label.
bool label_matches(std::string_view pattern, std::string_view label) {
  std::size_t p = 0, l = 0, star = std::string_view::npos, mark = 0;
  while (l < label.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = l;
    } else if (p < pattern.size() && pattern[p] == label[l]) {
      ++p;
      ++l;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      l = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool host_matches(const RegistryKey& key, const std::string& host) {
  if (!key.has_wildcard()) return key.host == host;
  const auto wanted = split(key.host, '.'), labels = split(host, '.');
  return std::equal(wanted.begin(), wanted.end(), labels.begin(), labels.end(), label_matches);
}

// Docker's "https://host/v1/" and "/v2/" are API roots and no repositories.
std::string_view without_api_root(std::string_view path, bool was_url) {
  for (std::string_view root : {"v1", "v2"}) {
    if (path == root) return {};
    if (was_url && path.starts_with(root) && path.substr(root.size()).starts_with('/'))
      return path.substr(root.size() + 1);
  }
  return path;
}

// Splits the port off; false if it is none.
bool take_port(std::string_view& host, std::optional<std::uint16_t>& port) {
  const auto close = host.rfind(']');
  const auto colon = host.rfind(':');
  if (colon == std::string_view::npos || (close != std::string_view::npos && colon < close)) return true;
  const auto number = parse_digits(host.substr(colon + 1));
  if (!number || *number == 0 || *number > 65535) return false;
  port = static_cast<std::uint16_t>(*number);
  host = host.substr(0, colon);
  return true;
}

}  // namespace

std::string RegistryPlace::authority() const {
  return is_default_port ? host : fmt::format("{}:{}", host, port);
}

RegistryPlace place_of(const Endpoint& endpoint) {
  RegistryPlace place;
  const auto& base = endpoint.base;
  place.host = base.host.find(':') == std::string::npos ? base.host : "[" + base.host + "]";
  place.port = base.port;
  place.is_default_port = base.port == (base.scheme == "http" ? 80 : 443);
  if (place.is_default_port && is_hub(place.host)) place.host = std::string(kDockerHub);
  // What stands behind /v2 in an endpoint is part of the name that the host knows.
  if (base.path.starts_with("/v2/")) place.path = base.path.substr(4) + "/";
  place.path += endpoint.repository;
  return place;
}

std::optional<RegistryKey> parse_registry_key(std::string_view text) {
  if (text.size() > kMostKeyBytes) return std::nullopt;
  const auto scheme = text.find("://");
  const bool was_url = scheme != std::string_view::npos;
  if (was_url) text.remove_prefix(scheme + 3);
  text = text.substr(0, text.find_first_of("?#"));
  const auto slash = text.find('/');
  std::string_view host = text.substr(0, slash);
  std::string_view path = slash == std::string_view::npos ? std::string_view() : text.substr(slash);
  while (path.starts_with('/')) path.remove_prefix(1);
  while (path.ends_with('/')) path.remove_suffix(1);

  RegistryKey key;
  if (host.empty() || !take_port(host, key.port) || host.empty() || !is_host_text(host)) return std::nullopt;
  key.host = lower_case(host);
  key.path = std::string(without_api_root(path, was_url));
  if (is_hub(key.host) && key.port.value_or(443) == 443) {
    key.host = std::string(kDockerHub);
    key.port.reset();
  }
  return key;
}

KeyFit fit(const RegistryKey& key, const RegistryPlace& place) {
  if (!host_matches(key, place.host)) return KeyFit::other_host;
  if (key.port ? *key.port != place.port : !place.is_default_port) return KeyFit::other_port;
  if (key.path.empty() || key.path == place.path) return KeyFit::fits;
  const bool is_below = place.path.size() > key.path.size() && place.path.starts_with(key.path) &&
                        place.path[key.path.size()] == '/';
  return is_below ? KeyFit::fits : KeyFit::other_path;
}

bool is_near_miss(const RegistryKey& key, const RegistryPlace& place) {
  const auto how = fit(key, place);
  if (how != KeyFit::other_host) return how != KeyFit::fits;
  const auto domain = registrable_domain(place.host);
  return !domain.empty() && domain == registrable_domain(key.host);
}

bool is_more_particular(const RegistryKey& a, const RegistryKey& b) {
  const auto rank = [](const RegistryKey& key) {
    return std::make_tuple(key.path.size(), !key.has_wildcard(), key.host.size());
  };
  return rank(a) > rank(b);
}

}  // namespace layerd::registry
