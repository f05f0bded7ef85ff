#include "proxy/registry/route.h"

#include <string>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {
const std::string kDigest = "sha256:" + std::string(64, 'b');
}

TEST_CASE("targets are understood from the right, the registry from ns, path or default") {
  struct Row {
    std::string target;
    RouteKind kind;
    const char* ns;
    bool ns_given;
    const char* repository;
    std::string reference;
  };
  const Row rows[] = {
      {"/v2/library/alpine/manifests/3.20?ns=docker.io", RouteKind::manifest, "docker.io", true,
       "library/alpine", "3.20"},
      {"/v2/alpine/manifests/3.20", RouteKind::manifest, "docker.io", false, "library/alpine", "3.20"},
      {"/v2/alpine/manifests/3.20?ns=docker.io", RouteKind::manifest, "docker.io", true, "alpine", "3.20"},
      {"/v2/org/x/manifests/1", RouteKind::manifest, "docker.io", false, "org/x", "1"},
      {"/v2/a/b/blobs/" + kDigest + "?ns=nexus.local%3A8082", RouteKind::blob, "nexus.local:8082", true,
       "a/b", kDigest},
      {"/v2/a/blobs/sha256%3A" + kDigest.substr(7), RouteKind::blob, "docker.io", false, "library/a",
       kDigest},
      {"/v2/a/blobs/sha256%3a" + kDigest.substr(7) + "?x=1&ns=GHCR.io&y", RouteKind::blob, "ghcr.io", true,
       "a", kDigest},
      {"/v2/ghcr.io/org/app/manifests/v1", RouteKind::manifest, "ghcr.io", false, "org/app", "v1"},
      {"/v2/docker.io/alpine/manifests/v1", RouteKind::manifest, "docker.io", false, "library/alpine", "v1"},
      {"/v2/localhost/app/manifests/v1", RouteKind::manifest, "localhost", false, "app", "v1"},
      {"/v2/nexus%3A8082/app/manifests/v1", RouteKind::manifest, "nexus:8082", false, "app", "v1"},
      {"/v2/[::1]:5000/app/manifests/v1", RouteKind::manifest, "[::1]:5000", false, "app", "v1"},
      {"/v2/ghcr.io/org/app/manifests/v1?ns=quay.io", RouteKind::manifest, "quay.io", true, "ghcr.io/org/app",
       "v1"},
      {"/v2/docker.io/library/a/manifests/v1?ns=docker.io", RouteKind::manifest, "docker.io", true,
       "library/a", "v1"},
      {"/v2/my.repo/manifests/v1", RouteKind::manifest, "docker.io", false, "library/my.repo", "v1"},
      {"/v2/blobs/manifests/x", RouteKind::manifest, "docker.io", false, "library/blobs", "x"},
      {"/v2/manifests/blobs/manifests/manifests/x", RouteKind::manifest, "docker.io", false,
       "manifests/blobs/manifests", "x"},
      {"/v2/a/tags/list/manifests/tags", RouteKind::manifest, "docker.io", false, "a/tags/list", "tags"},
      {"/v2/a/manifests/" + kDigest, RouteKind::manifest, "docker.io", false, "library/a", kDigest},
      {"/v2/a/b/referrers/" + kDigest + "?artifactType=x/y", RouteKind::referrers, "docker.io", false, "a/b",
       kDigest},
      {"/v2/quay.io/a/tags/list?n=5&last=x", RouteKind::tags, "quay.io", false, "a", ""},
      {"/v2/a/manifests/x?ns=index.docker.io", RouteKind::manifest, "docker.io", true, "a", "x"},
      {"/v2/a/manifests/x?ns=", RouteKind::manifest, "docker.io", false, "library/a", "x"},
      {"/v2/a/manifests/x?ns=[fe80::1]:5000", RouteKind::manifest, "[fe80::1]:5000", true, "a", "x"},
  };
  for (const Row& row : rows) {
    INFO(row.target);
    const auto route = parse_route("GET", row.target);
    REQUIRE(route);
    CHECK(route->kind == row.kind);
    CHECK(route->ns == row.ns);
    CHECK(route->ns_given == row.ns_given);
    CHECK(route->repository == row.repository);
    CHECK(route->reference == row.reference);
    CHECK(route->is_digest == (row.reference.find(':') != std::string::npos));
    CHECK(parse_route("HEAD", row.target)->kind == row.kind);
  }
}

TEST_CASE("the fixed paths and everything unknown are told apart") {
  CHECK(parse_route("GET", "/v2/")->kind == RouteKind::ping);
  CHECK(parse_route("GET", "/v2")->kind == RouteKind::ping);
  CHECK(parse_route("GET", "/v2/?ns=docker.io")->kind == RouteKind::ping);
  CHECK(parse_route("GET", "/")->kind == RouteKind::status_page);
  CHECK(parse_route("GET", "/healthz")->kind == RouteKind::healthz);
  CHECK(parse_route("GET", "/readyz?x")->kind == RouteKind::readyz);
  CHECK(parse_route("GET", "/metrics")->kind == RouteKind::metrics);
  CHECK(parse_route("GET", "/v2/_catalog?n=1")->kind == RouteKind::catalog);
  CHECK(parse_route("GET", "/v1/")->kind == RouteKind::unknown);
  CHECK(parse_route("GET", "/v2/foo")->kind == RouteKind::unknown);
  CHECK(parse_route("GET", "/v2/manifests/x")->kind == RouteKind::unknown);
  CHECK(parse_route("GET", "/v2/a/b/c")->kind == RouteKind::unknown);
  CHECK(parse_route("GET", "/favicon.ico")->kind == RouteKind::unknown);
}

TEST_CASE("every method and path of the write side is one kind") {
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
    CHECK(parse_route(method, "/v2/a/manifests/x")->kind == RouteKind::write);
  CHECK(parse_route("GET", "/v2/a/blobs/uploads/")->kind == RouteKind::write);
  CHECK(parse_route("GET", "/v2/a/blobs/uploads/some-id")->kind == RouteKind::write);
}

TEST_CASE("an absolute-form target gives its authority") {
  const auto route = parse_route("GET", "http://127.0.0.1:5151/v2/a/manifests/x?ns=quay.io");
  REQUIRE(route);
  CHECK(route->authority == "127.0.0.1:5151");
  CHECK(route->ns == "quay.io");
  CHECK(parse_route("GET", "/v2/")->authority.empty());
  CHECK_FALSE(parse_route("GET", "http://host").ok());
  CHECK_FALSE(parse_route("GET", "http:///v2/").ok());
  CHECK_FALSE(parse_route("GET", "ftp://host/v2/").ok());
}

TEST_CASE("the query without ns is kept as it was, for pass-through") {
  CHECK(parse_route("GET", "/v2/a/tags/list?n=5&ns=quay.io&last=a%2Fb")->query == "n=5&last=a%2Fb");
  CHECK(parse_route("GET", "/v2/a/tags/list?ns=quay.io")->query.empty());
}

// rules: digest-form
TEST_CASE("hostile targets are refused with NAME_INVALID or DIGEST_INVALID") {
  const std::pair<std::string, const char*> rows[] = {
      {"/v2//a/manifests/x", "NAME_INVALID"},
      {"/v2/a//manifests/x", "NAME_INVALID"},
      {"/v2/../a/manifests/x", "NAME_INVALID"},
      {"/v2/%2e%2e/a/manifests/x", "NAME_INVALID"},
      {"/v2/a%2fb/manifests/x", "NAME_INVALID"},
      {"/v2/a%00/manifests/x", "NAME_INVALID"},
      {"/v2/a%zz/manifests/x", "NAME_INVALID"},
      {"/v2/a/manifests/x%", "NAME_INVALID"},
      {std::string("/v2/a\0b/manifests/x", 18), "NAME_INVALID"},
      {"/v2/a/manifests/x\r\nHost: y", "NAME_INVALID"},
      {"/v2/A/manifests/x", "NAME_INVALID"},
      {"/v2/a/manifests/", "NAME_INVALID"},
      {"/v2/a/manifests/.x", "NAME_INVALID"},
      {"/v2/a/manifests/" + std::string(129, 'x'), "NAME_INVALID"},
      {"/v2/a/manifests/sha256:abc", "DIGEST_INVALID"},
      {"/v2/a/blobs/latest", "DIGEST_INVALID"},
      {"/v2/a/blobs/sha256:" + std::string(64, 'G'), "DIGEST_INVALID"},
      {"/v2/a/referrers/tag", "DIGEST_INVALID"},
      {"/v2/a/manifests/x?ns=a%2Fb", "NAME_INVALID"},
      {"/v2/a/manifests/x?ns=%0d%0a", "NAME_INVALID"},
      {"/v2/a/manifests/x?ns=user@host", "NAME_INVALID"},
      {"/v2/a/manifests/x?ns=" + std::string(300, 'a'), "NAME_INVALID"},
      {"/v2/a/manifests/x?ns=a.io&ns=b.io", "NAME_INVALID"},
      {"/v2/a/manifests/x#frag", "NAME_INVALID"},
      {"/v2/" + std::string(9000, 'a'), "NAME_INVALID"},
      {"v2/a", "NAME_INVALID"},
      {"", "NAME_INVALID"},
  };
  for (const auto& [target, diagnosis] : rows) {
    INFO(target);
    const auto route = parse_route("GET", target);
    REQUIRE_FALSE(route);
    CHECK(route.error().code == Errc::invalid_request);
    CHECK(route.error().diagnosis == diagnosis);
    for (char c : route.error().message) CHECK((c >= 0x20 && c < 0x7f));
  }
}
