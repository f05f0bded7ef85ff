// Tokens that stand in the configuration in place of a password: identity tokens and registry tokens.
#include "tests/unit/upstream/auth_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::auth;

TEST_CASE("an identity token is posted, and asked for by GET where POST is unknown") {
  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  host->credentials.identity_token = "refresh&me";
  up.configure("reg.example", host);
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  const std::string post = "POST https://auth.reg.example/token";
  SECTION("known") { up.client.reply(post, ok(R"({"access_token":"T"})")); }
  SECTION("unknown") {
    up.client.reply(post, status(404));
    up.client.reply(kToken, token("T"));
  }
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent()[1].line == post);
  CHECK(up.client.sent()[1].body ==
        "grant_type=refresh_token&client_id=layerd&refresh_token=refresh%26me&service=a%20b%3Ac&scope="
        "repository%3Aapp%3Apull");
  CHECK(up.client.sent().back().header("Authorization") == "Bearer T");
}

// rules: unused-identity-token
TEST_CASE("an identity token that cannot be exchanged is said, and nobody's token counts as nobody's") {
  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  host->credentials.identity_token = "s3cret";
  host->credentials.source = "configs.test.auth";
  const bool has_password = GENERATE(false, true);
  if (has_password) host->credentials.username = "user", host->credentials.password = "password";
  up.configure("reg.example", host);
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply("POST https://auth.reg.example/token", status(GENERATE(404, 405)));
  up.client.reply(kToken, token("T"));
  up.client.reply(kToken + "&account=user", token("T"));
  SECTION("the repository is open") {
    up.client.reply(kBlob, ok());
    for (int i = 0; i < 2; ++i) {
      const auto answer = up.fetch(up.blob("reg.example", "app"));
      REQUIRE(answer);
      CHECK(answer->authenticated == has_password);
    }
  }
  SECTION("the repository is not open") {
    up.client.reply(kBlob, challenge(kBearer));
    const auto refused = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::denied);
    CHECK(refused.error().diagnosis == (has_password ? "repository_denied" : "credentials_unusable"));
    const auto names_it =
        refused.error().message.find("the identity token of configs.test.auth was not used");
    CHECK((names_it == std::string::npos) == has_password);
    CHECK(refused.error().message.find("s3cret") == std::string::npos);
  }
  SECTION("the token server gives nothing to nobody") {
    if (has_password) return;
    up.client.reply(kToken, status(401));
    const auto first = up.fetch(up.blob("reg.example", "app"));
    up.loop.advance(3600s);
    const auto refused = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().diagnosis == "credentials_unusable");
    CHECK(refused.error().message.find("the identity token of configs.test.auth was not used") !=
          std::string::npos);
  }
}

// rules: refused-identity-token
TEST_CASE("an identity token that has run out is refused credentials, and left alone for 30 s") {
  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  host->credentials.identity_token = "s3cret";
  host->credentials.source = "configs.test.auth";
  up.configure("reg.example", host);
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply("POST https://auth.reg.example/token", status(400, {}, R"({"error":"invalid_grant"})"));
  for (int i = 0; i < 2; ++i) {
    const auto answer = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::denied);
    CHECK(answer.error().diagnosis == "credentials_refused");
    CHECK(answer.error().message.find("to the credentials of configs.test.auth") != std::string::npos);
    CHECK(answer.error().message.find("s3cret") == std::string::npos);
  }
  CHECK(up.client.count("POST https://auth.reg.example/token") == 1);
  up.loop.advance(31s);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count("POST https://auth.reg.example/token") == 2);
}

TEST_CASE("a registry token is brought along as it is") {
  Upstreams up;
  auto settings = std::make_shared<registry::HostSettings>();
  settings->credentials.registry_token = "RT";
  up.configure("reg.example", settings);
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE(answer);
  CHECK(answer->authenticated);
  CHECK(up.client.lines() == std::vector<std::string>{kBlob, kBlob});
  CHECK(up.client.sent()[1].header("Authorization") == "Bearer RT");
}

TEST_CASE("a token where a registry wants a password is said as that, with its source") {
  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  (GENERATE(true, false) ? host->credentials.identity_token : host->credentials.registry_token) = "s3cret";
  host->credentials.source = "configs.test.auth";
  up.configure("reg.example", host);
  up.client.reply(kBlob, challenge("Basic realm=x"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().diagnosis == "credentials_unusable");
  CHECK(answer.error().message.find("configs.test.auth are a token") != std::string::npos);
  CHECK(answer.error().message.find("no credentials are configured") == std::string::npos);
  CHECK(answer.error().message.find("s3cret") == std::string::npos);
}

// rules: refused-registry-token
TEST_CASE("a registry token that is refused is left alone for 30 s") {
  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  host->credentials.registry_token = "RT";
  up.configure("reg.example", host);
  up.client.reply(kBlob, challenge(kBearer));
  const auto sent = [&] {
    std::size_t count = 0;
    for (const auto& one : up.client.sent()) count += one.header("Authorization") == "Bearer RT";
    return count;
  };
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(sent() == 1);
  up.loop.advance(31s);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(sent() == 2);
}
