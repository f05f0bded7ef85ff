// Token servers: which one a challenge may name, and what it is told.
#include "proxy/upstream/realm.h"
#include "tests/unit/upstream/auth_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::auth;

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
