#include "proxy/upstream/wire.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"

namespace layerd::upstream {
namespace {

constexpr std::string_view kManifestTypes =
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.oci.artifact.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v1+prettyjws, "
    "application/vnd.docker.distribution.manifest.v1+json, application/json, */*";

// Does the endpoint stand in for the registry, rather than being it?
bool is_mirror(const registry::Endpoint& endpoint, const registry::Target& target) {
  if (target.registry == registry::kDockerHub)
    return endpoint.base.host != "registry-1.docker.io" && endpoint.base.host != "docker.io";
  const auto own = registry::parse_registry_name(target.registry);
  if (!own) return true;
  return own->host != endpoint.base.host || (own->port && *own->port != endpoint.base.port);
}

std::string object_path(const FetchRequest& request) {
  switch (request.kind) {
    case Kind::manifest:
      return "/manifests/" + request.reference;
    case Kind::blob:
      return "/blobs/" + request.reference;
    case Kind::referrers:
      return "/referrers/" + request.reference;
    case Kind::tags:
      return "/tags/list";
  }
  return {};
}

std::string_view accepted_types(Kind kind) {
  switch (kind) {
    case Kind::manifest:
      return kManifestTypes;
    case Kind::referrers:
      return "application/vnd.oci.image.index.v1+json, application/json";
    case Kind::tags:
      return "application/json";
    case Kind::blob:
      break;
  }
  return "*/*";
}

}  // namespace

registry::Url object_url(const registry::Endpoint& endpoint, const FetchRequest& request) {
  auto url = endpoint.base;
  url.path += "/" + endpoint.repository + object_path(request);
  if (request.kind == Kind::referrers || request.kind == Kind::tags) url.query = request.query;
  if (is_mirror(endpoint, *request.target)) {
    if (!url.query.empty()) url.query += '&';
    url.query += "ns=" + registry::percent_encode(request.target->registry);
  }
  return url;
}

registry::Url ping_url(const registry::Endpoint& endpoint) {
  auto url = endpoint.base;
  url.path += '/';
  return url;
}

http::Headers object_headers(const FetchRequest& request) {
  http::Headers headers;
  headers.add("Accept", std::string(accepted_types(request.kind)));
  headers.add("Accept-Encoding", "identity");
  if (request.range && !request.head_only) {
    const auto& range = *request.range;
    headers.add("Range", range.end == kOpenEnd ? fmt::format("bytes={}-", range.first)
                                               : fmt::format("bytes={}-{}", range.first, range.end - 1));
  }
  return headers;
}

net::TlsSettings tls_settings(const registry::HostSettings& host, const registry::Url& url,
                              const std::vector<std::string>& certs_dirs) {
  net::TlsSettings tls;
  tls.ca_file = host.ca_file;
  tls.cert_file = host.cert_file;
  tls.key_file = host.key_file;
  tls.server_name = host.server_name;
  tls.insecure_skip_verify = host.insecure_skip_verify;
  tls.ca_dir = host.ca_dir;
  tls.system_cas = host.system_cas;
  tls.minor_version = host.tls_minor;
  if (certs_dirs.empty()) return tls;
  tls.certs_dirs = certs_dirs;
  tls.certs_host = url.host;
  tls.certs_port = url.port;
  return tls;
}

http::ClientRequest client_request(std::string_view method, const registry::Url& url,
                                   const registry::HostSettings& host, net::AddressPolicy policy,
                                   const FetcherSettings& settings, TimePoint now, Deadline deadline) {
  http::ClientRequest request;
  request.where.host = url.host;
  request.where.port = url.port;
  request.where.tls = url.scheme == "https";
  if (request.where.tls) request.where.tls_settings = tls_settings(host, url, settings.certs_dirs);
  request.where.policy = policy;
  request.where.deadline = Deadline::in(now, settings.connect).sooner(deadline);
  request.head_deadline = Deadline::in(now, settings.connect + settings.first_byte).sooner(deadline);
  request.stall = settings.stall;
  request.head.method = std::string(method);
  request.head.target = url.path.empty() ? "/" : url.path;
  if (!url.query.empty()) request.head.target += "?" + url.query;
  request.head.headers.add("User-Agent", "layerd/" + settings.version);
  request.head.headers.add("Via", "1.1 " + via_name(settings.instance));
  return request;
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i)
      group = group << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i) text += i <= count ? kLetters[group >> (18 - 6 * i) & 63] : '=';
  }
  return text;
}

std::string basic_authorization(const registry::Credentials& credentials) {
  return "Basic " + base64(credentials.username + ":" + credentials.password);
}

std::optional<WallTime> parse_http_date(std::string_view text) {
  std::tm date{};
  const std::string terminated(registry::trim(text));
  const char* end = strptime(terminated.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return WallTime(std::chrono::seconds(timegm(&date)));
}

std::optional<std::chrono::seconds> retry_after(const http::Headers& headers, WallTime now) {
  using std::chrono::seconds;
  constexpr seconds kMost{std::chrono::hours(24)};
  const auto value = headers.get("Retry-After");
  if (!value) return std::nullopt;
  const auto text = registry::trim(*value);
  if (const auto digits = registry::parse_digits(text))
    return seconds(std::min<std::uint64_t>(*digits, static_cast<std::uint64_t>(kMost.count())));
  const auto at = parse_http_date(text);
  if (!at) return std::nullopt;
  return std::clamp(std::chrono::ceil<seconds>(*at - now), seconds(0), kMost);
}

std::string origin_name(const registry::Url& url) { return url.scheme + "://" + url.authority(); }

}  // namespace layerd::upstream
