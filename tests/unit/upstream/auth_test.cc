// Challenges, credentials, tokens.
#include <fstream>
#include <thread>

#include "proxy/upstream/realm.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

const std::string kBlob = "GET https://reg.example/v2/app/blobs/" + kDigest;
const std::string kBearer =
    R"(Bearer realm="https://auth.reg.example/token",service="a b:c",scope="repository:app:pull")";
const std::string kToken =
    "GET https://auth.reg.example/token?service=a%20b%3Ac&scope=repository%3Aapp%3Apull";
const std::string kLoginToken =
    "GET https://auth.reg.example/token?service=a%20b%3Ac&scope=repository%3Aapp%3Apull&account=me";

}  // namespace

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

TEST_CASE("credentials that are refused are left alone for 30 s and until they change") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const bool is_basic = GENERATE(true, false);
  up.client.reply(kBlob, challenge(is_basic ? "Basic realm=x" : kBearer));
  up.client.reply(kLoginToken, status(401));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().message.find("configs.test.auth") != std::string::npos);
  CHECK(answer.error().message.find("pw") == std::string::npos);
  const auto with_credentials = [&] {
    std::size_t count = 0;
    for (const auto& sent : up.client.sent()) count += sent.header("Authorization") == "Basic bWU6cHc=";
    return count;
  };
  CHECK(with_credentials() == 1);
  up.loop.advance(20s);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(with_credentials() == 1);
  up.loop.advance(11s);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(with_credentials() == 2);
  up.configure("reg.example", up.login("me", "new"));
  up.rules = *registry::Rules::make(up.input);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent().at(up.client.sent().size() - 1).header("Authorization") == "Basic bWU6bmV3");
}

TEST_CASE("no credentials for a Basic registry is said with its host") {
  Upstreams up;
  up.client.reply(kBlob, challenge("Basic realm=x"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().diagnosis == "credentials_missing");
  CHECK(answer.error().message.find("no credentials are configured for reg.example") != std::string::npos);
}

// rules: realm-related
TEST_CASE("credentials do not go to a foreign realm unless its host is configured") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const bool configured = GENERATE(false, true);
  if (configured) up.configure("gitlab.other.net");
  up.client.reply(kBlob, challenge(R"(Bearer realm="https://gitlab.other.net/jwt",service="s")"));
  const std::string anonymous = "GET https://gitlab.other.net/jwt?service=s&scope=repository%3Aapp%3Apull";
  up.client.reply(anonymous, token("anonymous"));
  up.client.reply(anonymous + "&account=me", token("mine"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);  // the registry takes neither
  const auto& asked = up.client.sent().at(1);
  CHECK(asked.line == (configured ? anonymous + "&account=me" : anonymous));
  CHECK(asked.header("Authorization").empty() != configured);
  CHECK(asked.where.policy == (configured ? net::AddressPolicy::any : net::AddressPolicy::public_only));
  CHECK((answer.error().message.find("were not sent to its token server gitlab.other.net") !=
         std::string::npos) != configured);
}

// Red if a realm's own settings, policy or trust count for a registry that anybody may name.
TEST_CASE("a registry nobody configured gets nothing out of a token server that is") {
  registry::RulesInput input;
  auto any = std::make_shared<registry::HostSettings>();
  input.configs["auth.other.net"] = any;
  input.configs["auth.reg.example"] = any;
  input.configs["own.example"] = any;
  const auto rules = *registry::Rules::make(input);
  const auto judged = [&](const char* registry, const char* realm) {
    const auto target = *rules->resolve(registry, "app");
    return *upstream::judge_realm(target->endpoints.front(), realm, *rules);
  };
  for (const char* realm :
       {"https://auth.other.net/t", "https://auth.reg.example/t", "https://reg.example/t"})
    CHECK(judged("reg.example", realm).policy == net::AddressPolicy::public_only);
  CHECK_FALSE(judged("reg.example", "https://auth.other.net/t").takes_credentials);
  CHECK(judged("own.example", "https://auth.other.net/t").takes_credentials);
  CHECK(judged("own.example", "https://auth.other.net/t").policy == net::AddressPolicy::any);
  CHECK(judged("own.example", "https://own.example:5001/t").policy == net::AddressPolicy::any);
  CHECK(judged("own.example", "https://auth.own.example/t").policy == net::AddressPolicy::site);
  CHECK(judged("own.example", "https://elsewhere.net/t").policy == net::AddressPolicy::public_only);

  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  host->cert_file = "/client.pem";
  up.configure("auth.reg.example", host);
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(kBlob, ok());
  up.client.reply(kToken, token("T1"));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent()[1].where.tls_settings.cert_file.empty());
  CHECK(up.client.sent()[1].where.policy == net::AddressPolicy::public_only);
}

TEST_CASE("a realm without TLS is upgraded on the registry's own host and never asked elsewhere") {
  Upstreams up;
  SECTION("own") {
    up.client.reply(kBlob, challenge(R"(Bearer realm="http://reg.example/token")"));
    up.client.reply(kBlob, ok());
    up.client.reply("GET https://reg.example/token?scope=repository%3Aapp%3Apull", token("T"));
    CHECK(up.fetch(up.blob("reg.example", "app")));
  }
  SECTION("other") {
    up.client.reply(kBlob, challenge(R"(Bearer realm="http://auth.reg.example/token")"));
    up.client.reply("GET https://reg.example/token?scope=repository%3Aapp%3Apull",
                    ClientReply{404, {}, {}, {}, {}, false});
    CHECK_FALSE(up.fetch(up.blob("reg.example", "app")));
    for (const auto& sent : up.client.sent()) CHECK(sent.line.find("https://reg.example/") == 4);
  }
}

// rules: realm-at-home, basic-after-wrong-realm
TEST_CASE("null:// means the registry's own token server, and Basic where it has none") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const std::string home = "GET https://reg.example/v2/token?scope=repository%3Aapp%3Apull&account=me";
  up.client.reply(kBlob, challenge(R"(Bearer realm="null://host:5005/v2/token",service="null")"));
  up.client.reply(kBlob, ok());
  SECTION("a token") {
    up.client.reply(home, ok(R"({"token":"T"})"));
    REQUIRE(up.fetch(up.blob("reg.example", "app")));
    CHECK(up.client.sent()[1].header("Authorization") == "Basic bWU6cHc=");
    CHECK(up.client.sent()[2].header("Authorization") == "Bearer T");
  }
  SECTION("none: Basic, from then on at once") {
    up.client.reply(home, ClientReply{404, {}, {}, {}, {}, false});
    REQUIRE(up.fetch(up.blob("reg.example", "app")));
    CHECK(up.client.sent()[2].header("Authorization") == "Basic bWU6cHc=");
    REQUIRE(up.fetch(up.blob("reg.example", "app")));
    REQUIRE(up.client.sent().size() == 4);
    CHECK(up.client.sent()[3].header("Authorization") == "Basic bWU6cHc=");
  }
}

TEST_CASE("a realm inside the cluster is replaced by the registry itself, and the failure tells of both") {
  Upstreams up;
  up.configure("reg.example");
  up.client.reply(kBlob, challenge(R"(Bearer realm="http://core.default.svc/service/token",service="s")"));
  up.client.reply("GET https://reg.example/service/token?service=s&scope=repository%3Aapp%3Apull",
                  ClientReply{404, {}, {}, {}, {}, false});
  const auto refused = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("the token server https://reg.example answered 404") !=
        std::string::npos);
  CHECK(refused.error().message.find("names a token server without TLS (core.default.svc)") !=
        std::string::npos);
}

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

TEST_CASE("a password file is read anew when it changes") {
  Upstreams up;
  TempDir dir;
  const auto path = dir / "password";
  const auto write = [&](const std::string& text) { std::ofstream(path) << text; };
  auto host = std::make_shared<registry::HostSettings>(*up.login("me", "unused"));
  host->password_file = path;
  up.configure("reg.example", host);
  up.client.reply(kBlob, challenge("Basic realm=x"));
  up.client.reply(kBlob, ok());
  const auto fetch = [&] {
    const auto result = up.begin(up.blob("reg.example", "app"));
    for (int i = 0; i < 2000 && !result->has_value(); ++i) {
      up.loop.run();
      std::this_thread::sleep_for(1ms);
      up.loop.advance(1ms);
    }
    return result->has_value() && result->value().ok();
  };
  write("pw\n");
  REQUIRE(fetch());
  CHECK(up.client.sent().back().header("Authorization") == "Basic bWU6cHc=");
  write("longer\n");
  REQUIRE(fetch());
  CHECK(up.client.sent().back().header("Authorization") == "Basic bWU6bG9uZ2Vy");
}

TEST_CASE("a token server on the registry's own host is met with the registry's TLS settings") {
  Upstreams up;
  auto settings = std::make_shared<registry::HostSettings>();
  settings->ca_file = "/ca.crt";
  up.configure("reg.example", settings);
  const std::string host = GENERATE(as<std::string>(), "reg.example", "auth.reg.example");
  up.client.reply(kBlob, challenge("Bearer realm=\"https://" + host + ":5001/token\""));
  up.client.reply(kBlob, ok());
  up.client.reply("GET https://" + host + ":5001/token?scope=repository%3Aapp%3Apull", token("T"));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent()[1].where.tls_settings.ca_file == (host == "reg.example" ? "/ca.crt" : ""));
}

TEST_CASE("a token server's 403 is about the scope, its 401 about the password") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const int code = GENERATE(401, 403);
  const std::string other = "GET https://reg.example/v2/other/blobs/" + kDigest;
  up.client.reply(kBlob, challenge(kBearer));
  up.client.reply(other, challenge(R"(Bearer realm="https://auth.reg.example/token",service="a b:c")"));
  up.client.reply(other, ok());
  up.client.reply(kLoginToken, status(code));
  up.client.reply(
      "GET https://auth.reg.example/token?service=a%20b%3Ac&scope=repository%3Aother%3Apull&account=me",
      token("T"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().diagnosis == "credentials_refused");
  CHECK(answer.error().status == code);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kLoginToken) == 1);
  CHECK(up.fetch(up.blob("reg.example", "other")).ok() == (code == 403));
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

TEST_CASE("refusals that still hold are not forgotten for one that is added") {
  upstream::Refusals refusals(30s, 600s);
  const TimePoint now{std::chrono::hours(1)};
  for (int i = 0; i < 1024; ++i)
    refusals.add_until(std::to_string(i), now, now + std::chrono::seconds(60 + i), Error{Errc::denied, "no"});
  refusals.add_until("last", now, now + std::chrono::hours(1), Error{Errc::denied, "no"});
  CHECK_FALSE(refusals.holding("0", now));  // the one that ended first
  CHECK(refusals.holding("1", now));
  CHECK(refusals.holding("last", now));
  CHECK(refusals.size() == 1024);
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
