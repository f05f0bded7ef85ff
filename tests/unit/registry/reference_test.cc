#include "proxy/registry/reference.h"

#include <string>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {
const std::string kHex(64, 'a');
}

TEST_CASE("image names are normalised as docker and containerd do it") {
  struct Row {
    const char* name;
    const char* registry;
    const char* repository;
    const char* reference;
  };
  const Row rows[] = {{"nginx", "docker.io", "library/nginx", "latest"},
                      {"nginx:1.27", "docker.io", "library/nginx", "1.27"},
                      {"nexus/admin-server:1", "docker.io", "nexus/admin-server", "1"},
                      {"docker.io/nginx", "docker.io", "library/nginx", "latest"},
                      {"index.docker.io/a/b", "docker.io", "a/b", "latest"},
                      {"registry-1.docker.io/library/x", "registry-1.docker.io", "library/x", "latest"},
                      {"docker.nexus.local/x", "docker.nexus.local", "x", "latest"},
                      {"nexus:8082/team/x", "nexus:8082", "team/x", "latest"},
                      {"localhost/x", "localhost", "x", "latest"},
                      {"myreg/x", "docker.io", "myreg/x", "latest"},
                      {"MyReg/x", "MyReg", "x", "latest"},
                      {"[::1]:5000/a/b:t", "[::1]:5000", "a/b", "t"},
                      {"localhost", "docker.io", "library/localhost", "latest"},
                      {"example.com", "docker.io", "library/example.com", "latest"}};
  for (const Row& row : rows) {
    INFO(row.name);
    const auto image = parse_image_name(row.name);
    REQUIRE(image);
    CHECK(image->registry == row.registry);
    CHECK(image->repository == row.repository);
    CHECK(image->reference() == row.reference);
  }
}

TEST_CASE("a name with tag and digest asks for the digest") {
  const auto image = parse_image_name("ghcr.io/org/app:1.0@sha256:" + kHex);
  REQUIRE(image);
  CHECK(image->tag == "1.0");
  CHECK(image->reference() == "sha256:" + kHex);
  CHECK(image->str() == "ghcr.io/org/app:1.0@sha256:" + kHex);
}

// rules: host-names-in-the-grammar
TEST_CASE("names outside the grammar are refused with a reason and an OCI code") {
  struct Row {
    std::string name;
    const char* diagnosis;
    const char* reason;
  };
  const Row rows[] = {{"", "NAME_INVALID", "empty"},
                      {"ghcr.io/Org/App", "NAME_INVALID", "lower case"},
                      {"ghcr.io/a//b", "NAME_INVALID", "empty component"},
                      {"ghcr.io/a/../b", "NAME_INVALID", "malformed"},
                      {"ghcr.io/a/-b", "NAME_INVALID", "malformed"},
                      {"ghcr.io/a/b_", "NAME_INVALID", "malformed"},
                      {"ghcr.io/a/b___c", "NAME_INVALID", "malformed"},
                      {"ghcr.io/a/b..c", "NAME_INVALID", "malformed"},
                      {"nginx:", "NAME_INVALID", "tag"},
                      {"nginx:-x", "NAME_INVALID", "tag"},
                      {"nginx:" + std::string(129, 'x'), "NAME_INVALID", "tag"},
                      {"nginx@sha256:abc", "DIGEST_INVALID", "64 lower-case hex"},
                      {"nginx@sha256:" + std::string(64, 'A'), "DIGEST_INVALID", "64 lower-case hex"},
                      {"nginx@md5:" + std::string(32, 'a'), "DIGEST_INVALID", "verify"},
                      {kHex, "NAME_INVALID", "image ID"},
                      {"reg.io:99999/a", "NAME_INVALID", "port"},
                      {"reg_x.io/a", "NAME_INVALID", "host"},
                      {"ghcr.io/" + std::string(256, 'a'), "NAME_INVALID", "255"}};
  for (const Row& row : rows) {
    INFO(row.name);
    const auto image = parse_image_name(row.name);
    REQUIRE_FALSE(image);
    CHECK(image.error().code == Errc::invalid_request);
    CHECK(image.error().diagnosis == row.diagnosis);
    CHECK_THAT(image.error().message, Catch::Contains(row.reason));
  }
}

TEST_CASE("separators inside repository components follow the grammar") {
  for (const char* good :
       {"a", "a-b", "a--b", "a---b", "a_b", "a__b", "a.b", "0/1", "manifests/blobs/tags", "a-b_c.d/e"})
    CHECK(check_repository(good).ok());
  for (const char* bad :
       {"", "/", "a/", "/a", "-a", "a-", "a._b", "a.-b", "a___b", "a b", "a%2fb", "a\tb", "a:b", "\xc3\xa4"})
    CHECK_FALSE(check_repository(bad).ok());
  CHECK(check_repository(std::string(255, 'a')).ok());
  CHECK_FALSE(check_repository(std::string(256, 'a')).ok());
}

TEST_CASE("registry names are lower-cased and Docker Hub has one name") {
  CHECK(parse_registry_name("GHCR.io")->text == "ghcr.io");
  CHECK(parse_registry_name("index.docker.io")->text == "docker.io");
  CHECK(parse_registry_name("registry-1.docker.io")->text == "docker.io");
  const auto v6 = parse_registry_name("[FE80::1]:5000");
  REQUIRE(v6);
  CHECK(v6->text == "[fe80::1]:5000");
  CHECK(v6->host == "fe80::1");
  CHECK(v6->port == 5000);
  for (const char* bad : {"", "a b", "a/b", "a:", "a:0", "a:65536", "a:x", "[::1", "[]", "[::1]x",
                          "[fe80::1%25eth0]", "-a", "a..b", "a@b", "user:pass@host", "::1", "http://x"}) {
    INFO(bad);
    CHECK_FALSE(parse_registry_name(bad).ok());
  }
  CHECK_FALSE(parse_registry_name(std::string(300, 'a')).ok());
}

TEST_CASE("sha256 and sha512 digests are taken, others refused by name") {
  CHECK(parse_digest("sha256:" + kHex).ok());
  CHECK(parse_digest("sha512:" + kHex + kHex).ok());
  CHECK_THAT(parse_digest("blake3:" + kHex).error().message, Catch::Contains("sha256, sha512"));
  CHECK_FALSE(parse_digest("sha512:" + kHex).ok());
}
