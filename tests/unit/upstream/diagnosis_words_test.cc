// What a refusal is called: wrong credentials, no right, no such repository, a storage that is blocked.
#include "runtime/diagnosis.h"

#include <fmt/core.h>

#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

const std::string kBlob = "GET https://reg.example/v2/app/blobs/" + kDigest;
const std::string kManifest = "GET https://reg.example/v2/app/manifests/1";
const std::string kToken = "GET https://reg.example/token?service=s&scope=repository%3Aapp%3Apull&account=me";
constexpr const char* kBearer = R"(Bearer realm="https://reg.example/token",service="s")";

std::string words(const char* code, const char* message) {
  return fmt::format(R"({{"errors":[{{"code":"{}","message":"{}"}}]}})", code, message);
}

// The code of what a pull of the blob, or of the manifest, ends with.
std::string_view code_of_blob(Upstreams& up) {
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  INFO(answer.error().message);
  return stable_code(answer.error());
}

}  // namespace

// rules: known-has-no-right
TEST_CASE("who was given a token and is refused has no right; who is refused a token has wrong credentials") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  up.client.reply(kBlob, challenge(kBearer));
  SECTION("the registry refuses the token's bearer") {
    up.client.reply(kToken, token("T"));
    up.client.reply(kBlob, status(GENERATE(401, 403), {}, words("DENIED", "no")));
    CHECK(code_of_blob(up) == "repository_denied");
  }
  SECTION("the token server refuses the account") {
    up.client.reply(kToken, status(GENERATE(401, 403), {}, words("DENIED", "denied")));
    CHECK(code_of_blob(up) == "credentials_refused");
  }
  SECTION("the token server refuses the scope") {
    up.client.reply(kToken, status(403, {}, words("DENIED", "requested access to the resource is denied")));
    CHECK(code_of_blob(up) == "repository_denied");
  }
}

// rules: known-has-no-right
TEST_CASE("with Basic a 401 is about the credentials and a 403 about the right") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const int code = GENERATE(401, 403);
  up.client.reply(kBlob, challenge("Basic realm=x"));
  up.client.reply(kBlob, status(code, {{"WWW-Authenticate", "Basic realm=x"}}));
  CHECK(code_of_blob(up) == (code == 401 ? "credentials_refused" : "repository_denied"));
}

TEST_CASE("a registry that names what it does not know is quoted by code") {
  const auto told = [](const char* code) {
    Upstreams up;
    up.client.reply(kManifest, status(404, {}, words(code, "no")));
    auto answer = up.fetch(up.manifest("reg.example", "app", "1"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::not_found);
    return std::string(stable_code(answer.error()));
  };
  CHECK(told("NAME_UNKNOWN") == "repository_unknown");
  CHECK(told("MANIFEST_UNKNOWN") == "tag_unknown");
  Upstreams up;
  up.client.reply(kBlob, status(404, {}, words("BLOB_UNKNOWN", "no")));
  CHECK(code_of_blob(up) == "upstream_error");
}

// rules: storage-by-name
TEST_CASE("a storage that is blocked, silent or refuses is told apart from its registry") {
  Upstreams up;
  const std::string storage = "GET https://cdn.example/x";
  up.client.reply(kBlob, redirect("https://cdn.example/x"));
  SECTION("down") { up.client.reply(storage, down()); }
  SECTION("silent") { up.client.reply(storage, silent()); }
  SECTION("a firewall's page") {
    up.client.reply(storage, status(403, {{"Content-Type", "text/html"}}, "<html>"));
  }
  SECTION("broken") { up.client.reply(storage, status(502)); }
  CHECK(code_of_blob(up) == "storage_unreachable");
}

TEST_CASE("a registry that is down itself is not called a storage") {
  Upstreams up;
  up.client.reply(kBlob, down());
  CHECK(code_of_blob(up) == "connect_refused");
}
