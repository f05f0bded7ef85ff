// The requests we send: URLs, headers, where to dial. Pure.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/registry/endpoint.h"
#include "proxy/upstream/fetcher.h"
#include "proxy/upstream/settings.h"

namespace layerd::upstream {

// The URL at the endpoint itself: …/v2/<repository>/manifests/<reference>. A mirror, whose host is
// not the registry's own, is told the registry by ?ns= as containerd does (protocol.md §1.1).
registry::Url object_url(const registry::Endpoint& endpoint, const FetchRequest& request);
// Where an endpoint that gave no challenge is asked for one: …/v2/
registry::Url ping_url(const registry::Endpoint& endpoint);

// Accept (the full list of manifest types, whatever the client said), Accept-Encoding, Range.
http::Headers object_headers(const FetchRequest& request);

// What `configs` says of the host that url names, and where runtimes keep more of it.
net::TlsSettings tls_settings(const registry::HostSettings& host, const registry::Url& url,
                              const std::vector<std::string>& certs_dirs);

// A GET or HEAD with User-Agent and Via; connecting and the head are bounded by the settings and `deadline`.
http::ClientRequest client_request(std::string_view method, const registry::Url& url,
                                   const registry::HostSettings& host, net::AddressPolicy policy,
                                   const FetcherSettings& settings, TimePoint now, Deadline deadline);

std::string base64(std::string_view bytes);
// "Basic dXNlcjpwYXNz"
std::string basic_authorization(const registry::Credentials& credentials);

// "Sun, 06 Nov 1994 08:49:37 GMT", the one form that is sent today; nothing for other text.
std::optional<WallTime> parse_http_date(std::string_view text);

// Retry-After in seconds or as a date; nothing if absent or nonsense; at most one day.
std::optional<std::chrono::seconds> retry_after(const http::Headers& headers, WallTime now);

// "https://host:port", as endpoints are named to people.
std::string origin_name(const registry::Url& url);

}  // namespace layerd::upstream
