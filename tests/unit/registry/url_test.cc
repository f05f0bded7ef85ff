#include "proxy/registry/mirror_endpoint.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

TEST_CASE("http URLs are taken apart and written again") {
  const auto url = parse_url("HTTPS://Host.Example:5000/a/b/?x=1");
  REQUIRE(url);
  CHECK(url->scheme == "https");
  CHECK(url->host == "host.example");
  CHECK(url->port == 5000);
  CHECK(url->path == "/a/b");
  CHECK(url->query == "x=1");
  CHECK(url->str() == "https://host.example:5000/a/b?x=1");
  CHECK(parse_url("https://h:443")->authority() == "h");
  CHECK(parse_url("http://h")->port == 80);
  CHECK(parse_url("http://[FE80::1]:5000/")->host == "fe80::1");
  CHECK(parse_url("http://[fe80::1]:5000/")->authority() == "[fe80::1]:5000");
}

TEST_CASE("URLs that cannot be dialled safely are refused, passwords masked") {
  for (const char* bad :
       {"", "host", "ftp://h", "https://", "https://h:0", "https://h:70000", "https://h:x", "https://h/#f",
        "https://h /", "https://h/\r\n", "https://[::1", "https://a..b", "https://h\\@evil"}) {
    INFO(bad);
    const auto url = parse_url(bad);
    REQUIRE_FALSE(url);
    CHECK(url.error().code == Errc::invalid_request);
  }
  const auto secret = parse_url("https://user:hunter2@host/x?sig=hunter2");
  REQUIRE_FALSE(secret);
  CHECK(secret.error().message.find("hunter2") == std::string::npos);
  CHECK_THAT(secret.error().message, Catch::Contains("****@host"));
}

TEST_CASE("redirects are resolved as RFC 3986 says") {
  const Url base = *parse_url("https://h:8443/v2/a/blobs/x?q=1");
  const std::pair<const char*, const char*> rows[] = {
      {"/artifacts-downloads/x?sig=a/b", "https://h:8443/artifacts-downloads/x?sig=a/b"},
      {"https://cdn.example/y/?z#frag", "https://cdn.example/y/?z"},
      {"http://cdn.example", "http://cdn.example"},
      {"//other/z", "https://other/z"},
      {"y", "https://h:8443/v2/a/blobs/y"},
      {"../y", "https://h:8443/v2/a/y"},
      {"../../../../../y", "https://h:8443/y"},
      {"./y/", "https://h:8443/v2/a/blobs/y/"},
      {"?q=2", "https://h:8443/v2/a/blobs/x?q=2"},
      {"", "https://h:8443/v2/a/blobs/x?q=1"},
      {"y:z/..", "bad"},
      {"javascript:alert(1)", "bad"},
      {"/x y", "bad"},
      {"https://u:p@h/", "bad"},
  };
  for (const auto& [reference, expected] : rows) {
    INFO(reference);
    const auto url = resolve_url(base, reference);
    CHECK((url ? url->str() : "bad") == expected);
  }
}

TEST_CASE("endpoints are normalised as k3s does") {
  const std::pair<const char*, const char*> rows[] = {
      {"https://mirror.example", "https://mirror.example/v2"},
      {"https://mirror.example/", "https://mirror.example/v2"},
      {"https://mirror.example:443/v2/", "https://mirror.example/v2"},
      {"mirror.example:5000", "https://mirror.example:5000/v2"},
      {"localhost:5000", "http://localhost:5000/v2"},
      {"127.0.0.1:5000", "http://127.0.0.1:5000/v2"},
      {"localhost", "https://localhost/v2"},
      {"localhost:443", "https://localhost/v2"},
      {"http://127.0.0.1:5050/docker.io", "http://127.0.0.1:5050/docker.io"},
      {"http://127.0.0.1:5050/v2/docker.io", "http://127.0.0.1:5050/v2/docker.io"},
      {"https://docker.io", "https://registry-1.docker.io/v2"},
      {"https://h/v2?x=1", "bad"},
      {"ftp://h", "bad"},
      {"", "bad"},
  };
  for (const auto& [text, expected] : rows) {
    INFO(text);
    const auto url = parse_endpoint(text);
    CHECK((url ? url->str() : "bad") == expected);
  }
  CHECK(default_endpoint_of(*parse_registry_name("ghcr.io")).str() == "https://ghcr.io/v2");
  CHECK(default_endpoint_of(*parse_registry_name("docker.io")).str() == "https://registry-1.docker.io/v2");
  CHECK(default_endpoint_of(*parse_registry_name("nexus:8082")).str() == "https://nexus:8082/v2");
  CHECK(default_endpoint_of(*parse_registry_name("localhost:5000")).str() == "http://localhost:5000/v2");
}
