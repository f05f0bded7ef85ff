// Tokens: how they are asked for, shared, kept, renewed and dropped.
#include "tests/unit/upstream/auth_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::auth;

// rules: token-cached
TEST_CASE("an anonymous token is fetched once and brought along from then on") {
  Upstreams up;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  up.client.reply(kToken, token("T1"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE(answer);
  CHECK_FALSE(answer->authenticated);
  REQUIRE(up.client.lines() == std::vector<std::string>{kBlob, kToken, kBlob});
  CHECK(up.client.sent()[1].header("Authorization").empty());
  CHECK(up.client.sent()[2].header("Authorization") == "Bearer T1");
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  REQUIRE(up.client.sent().size() == 4);
  CHECK(up.client.sent()[3].header("Authorization") == "Bearer T1");
  CHECK(up.metrics.total("layerd_token_requests_total") == 1);
}

TEST_CASE("credentials go to the token server by Basic") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  up.client.reply(kLoginToken, token("T1"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE(answer);
  CHECK(answer->authenticated);
  CHECK(up.client.sent()[1].header("Authorization") == "Basic bWU6cHc=");
  CHECK(up.client.sent()[2].header("Authorization") == "Bearer T1");
}

TEST_CASE("an empty scope is never sent, the repository's own is") {
  Upstreams up;
  up.client.reply(kBlob, challenge(R"(Bearer realm="https://reg.example/v2/token")"));
  up.client.reply(kBlob, ok());
  up.client.reply("GET https://reg.example/v2/token?scope=repository%3Aapp%3Apull", token("T"));
  CHECK(up.fetch(up.blob("reg.example", "app")));
}

TEST_CASE("many who wait for a token share one request, and one that leaves does not stop it") {
  Upstreams up;
  auto late = token("T1");
  late.after = 1s;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  up.client.reply(kToken, late);
  const auto request = up.blob("reg.example", "app");
  const auto first = up.begin(request), second = up.begin(request), third = up.begin(request);
  up.loop.advance(500ms);
  up.tickets[0].reset();
  up.loop.advance(2s);
  CHECK_FALSE(first->has_value());
  CHECK((second->has_value() && second->value().ok()));
  CHECK((third->has_value() && third->value().ok()));
  CHECK(up.client.count(kToken) == 1);
}

TEST_CASE("a token is renewed before it ends while the old one goes on, never counted below 60 s") {
  Upstreams up;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  up.client.reply(kToken, token("T1", ",\"expires_in\":5"));
  up.client.reply(kToken, token("T2", ",\"expires_in\":300"));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  up.loop.advance(45s);
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kToken) == 1);
  up.loop.advance(6s);  // past 50 s, before 60 s
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent().back().header("Authorization").starts_with("Bearer T"));
  CHECK(up.client.count(kToken) == 2);
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent().back().header("Authorization") == "Bearer T2");
  CHECK(up.client.count(kToken) == 2);
}

TEST_CASE("a token's life counts from issued_at unless the clocks disagree") {
  registry::TokenResponse response;
  response.lifetime = 300s;
  const WallTime now{1'700'000'000s};
  CHECK(upstream::token_lifetime(response, now) == Duration(300s));
  response.issued_at = 1'700'000'000 - 100;
  CHECK(upstream::token_lifetime(response, now) == Duration(200s));
  response.issued_at = 1'700'000'000 - 5000;
  CHECK(upstream::token_lifetime(response, now) == Duration(300s));
  response.issued_at = 1'700'000'000 + 5000;
  CHECK(upstream::token_lifetime(response, now) == Duration(300s));
  CHECK(upstream::token_renewal(300s) == Duration(270s));
  CHECK(upstream::token_renewal(60s) == Duration(50s));
}

// rules: stale-token-once-more
TEST_CASE("a cached token that is refused is dropped and asked for once more") {
  Upstreams up;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  up.client.reply(kToken, token("T1"));
  up.client.reply(kToken, token("T2"));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  SECTION("and taken") {
    up.client.reply(kBlob, challenge(kBearer + ",error=\"invalid_token\""));
    up.client.reply(kBlob, ok());
    REQUIRE(up.fetch(up.blob("reg.example", "app")));  // the ok() that was left over
    REQUIRE(up.fetch(up.blob("reg.example", "app")));
    CHECK(up.client.sent().back().header("Authorization") == "Bearer T2");
  }
  SECTION("and refused again") {
    up.client.reply(kBlob, challenge(kBearer));
    REQUIRE(up.fetch(up.blob("reg.example", "app")));
    auto answer = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::denied);
    CHECK(answer.error().message.find("no credentials are configured for reg.example") != std::string::npos);
  }
  CHECK(up.client.count(kToken) == 2);
}

TEST_CASE("insufficient_scope is answered by a token with that scope, once") {
  Upstreams up;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, challenge(R"(Bearer realm="https://auth.reg.example/token",service="a b:c",)"
                                   R"(scope="repository:base:pull",error="insufficient_scope")"));
  up.client.reply(kBlob, ok());
  up.client.reply(kToken, token("T1"));
  const std::string both =
      "GET "
      "https://auth.reg.example/"
      "token?service=a%20b%3Ac&scope=repository%3Aapp%3Apull&scope=repository%3Abase%3Apull";
  up.client.reply(both, token("T2"));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.lines() == std::vector<std::string>{kBlob, kToken, kBlob, both, kBlob});
}

TEST_CASE("a 401 without a challenge is explained by /v2/") {
  Upstreams up;
  up.client.reply(kBlob, status(401));
  up.client.reply(kBlob, ok());
  up.client.reply(
      "GET https://reg.example/v2/",
      challenge(
          R"(Bearer realm="https://auth.reg.example/token",service="a b:c",scope="registry:catalog:*")"));
  up.client.reply(kToken, token("T1"));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.lines() == std::vector<std::string>{kBlob, "GET https://reg.example/v2/", kToken, kBlob});
}

TEST_CASE("a token server that limits us is not asked again before its time") {
  Upstreams up;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kToken, status(429, {{"Retry-After", "120"}}));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().retry_after == 120s);
  up.loop.advance(60s);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kToken) == 1);
}

// rules: good-token-outlives-refusals
TEST_CASE("a token server that limits or refuses a renewal takes nothing from the token that is good") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const int code = GENERATE(429, 401);
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  up.client.reply(kLoginToken, token("T1", ",\"expires_in\":600"));
  up.client.reply(kLoginToken, status(code, {{"Retry-After", "300"}}));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  up.loop.advance(545s);  // past the renewal, before the end
  for (int i = 0; i < 3; ++i) {
    REQUIRE(up.fetch(up.blob("reg.example", "app")));
    CHECK(up.client.sent().back().header("Authorization") == "Bearer T1");
    up.loop.advance(6s);
  }
  CHECK(up.client.count(kLoginToken) == 2);
}
