// Route: what a request of a client means. Method and target in, kind, registry, repository and
// reference out (design.md §2.3, protocol.md §5.1 "Path routing"). Pure, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/result.h"

namespace layerd::registry {

enum class RouteKind : std::uint8_t {
  ping,       // /v2/
  manifest,   // repository and reference are set
  blob,       // repository and reference (a digest) are set
  referrers,  // repository and reference (a digest) are set
  tags,       // repository is set
  catalog,    // /v2/_catalog
  write,      // a method or path of the write side: 405 with Allow: GET, HEAD
  healthz,
  readyz,
  metrics,
  status_page,  // /
  token,        // /token: our own token endpoint; with POST as well
  unknown,      // none of these: 404
};
std::string_view name_of(RouteKind kind);

struct Route {
  RouteKind kind = RouteKind::unknown;
  std::string ns;          // resolved registry name, lower case: "docker.io", "nexus.local:8082"
  bool ns_given = false;   // the client said it by ?ns=: echo OCI-Namespace
  std::string repository;  // "library/nginx"
  std::string reference;   // tag, or digest with ':' decoded
  bool is_digest = false;
  std::string query;      // what else the client asked, without ns, for pass-through; without '?'
  std::string authority;  // of an absolute-form target, which overrules Host; else empty
};

inline constexpr std::size_t kMostTargetBytes = 8192;

// Errors: invalid_request with diagnosis NAME_INVALID or DIGEST_INVALID.
Result<Route> parse_route(std::string_view method, std::string_view target);

}  // namespace layerd::registry
