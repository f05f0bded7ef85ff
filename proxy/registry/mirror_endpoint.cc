#include "proxy/registry/mirror_endpoint.h"

#include <string>

#include "proxy/registry/text.h"

namespace layerd::registry {

namespace {

bool is_loopback(std::string_view host) {
  if (host == "localhost" || host == "::1") return true;
  if (!host.starts_with("127.")) return false;
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

void name_the_hub(Url& url) {
  if (url.host == kDockerHub) url.host = "registry-1.docker.io";
}

}  // namespace

Result<Url> parse_endpoint(std::string_view text) {
  text = trim(text);
  const bool has_scheme = text.find("://") != std::string_view::npos;
  auto url = parse_url(has_scheme ? std::string(text) : "https://" + std::string(text));
  if (!url) return url;
  if (!url->query.empty())
    return Error{Errc::invalid_request,
                 "the endpoint " + url->authority() + " has a query (?), which no endpoint can have",
                 0,
                 0,
                 "url_invalid",
                 {}};
  // A loopback registry on a port of its own speaks plain HTTP by custom.
  if (!has_scheme && is_loopback(url->host) && url->port != 443) url->scheme = "http";
  if (url->path.empty()) url->path = "/v2";
  name_the_hub(*url);
  return url;
}

Url default_endpoint_of(const RegistryName& registry) {
  Url url;
  url.host = registry.host;
  url.port = registry.port.value_or(443);
  url.scheme = is_loopback(url.host) && url.port != 443 ? "http" : "https";
  url.path = "/v2";
  name_the_hub(url);
  return url;
}

}  // namespace layerd::registry
