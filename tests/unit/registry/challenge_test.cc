#include "proxy/registry/challenge.h"

#include <string>

#include "proxy/registry/token.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;
using Scheme = AuthChoice::Scheme;

TEST_CASE("one Bearer challenge is read whole") {
  const auto list = parse_challenges(
      {R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push")"});
  REQUIRE(list.size() == 1);
  CHECK(list[0].scheme == "bearer");
  CHECK(list[0].param("realm") == "https://auth.docker.io/token");
  CHECK(list[0].param("scope") == "repository:a/b:pull,push");
  CHECK(list[0].param("nothing").empty());
}

TEST_CASE("several challenges, in one line or in several, are told apart") {
  const auto one =
      parse_challenges({R"(Negotiate, Basic realm="a, b", Bearer realm=https://x/t?a=b , service="s")"});
  REQUIRE(one.size() == 3);
  CHECK(one[0].scheme == "negotiate");
  CHECK(one[1].param("realm") == "a, b");
  CHECK(one[2].param("realm") == "https://x/t?a=b");
  CHECK(one[2].param("service") == "s");
  const auto two = parse_challenges({R"(Bearer realm="https://x/t")", R"(Basic realm="r")"});
  REQUIRE(two.size() == 2);
  CHECK(choose_challenge(two)->scheme == Scheme::bearer);
  const std::vector<Challenge> swapped{two[1], two[0]};
  CHECK(choose_challenge(swapped)->scheme == Scheme::bearer);
}

TEST_CASE("quoting, escapes, token68 and odd spacing are understood") {
  const auto list =
      parse_challenges({R"(  BEARER   Realm = "https://x/a\"b\\c" ,, SERVICE="reg:cn-shanghai:26842" , )"});
  REQUIRE(list.size() == 1);
  CHECK(list[0].param("realm") == R"(https://x/a"b\c)");
  CHECK(list[0].param("service") == "reg:cn-shanghai:26842");
  const auto token = parse_challenges({"Negotiate YII+/abc==, Basic"});
  REQUIRE(token.size() == 2);
  CHECK(token[0].token68 == "YII+/abc==");
  CHECK(token[1].scheme == "basic");
  const auto open = parse_challenges({R"(Basic realm="never closed)"});
  REQUIRE(open.size() == 1);
  CHECK(open[0].param("realm") == "never closed");
}

TEST_CASE("what makes no sense is skipped and everything is bounded") {
  CHECK(parse_challenges({"", "=,=,\"x\",;;", "realm=\"x\""}).empty());
  std::string many;
  for (int i = 0; i < 500; ++i) many += "S" + std::to_string(i) + ",";
  CHECK(parse_challenges({many}).size() == 16);
  std::string params = "Basic ";
  for (int i = 0; i < 500; ++i) params += "a=b,";
  CHECK(parse_challenges({params})[0].params.size() == 32);
  CHECK(parse_challenges({std::string(1 << 20, 'a'), "Basic"}).size() == 1);
}

TEST_CASE("a Bearer realm that cannot be asked counts as Basic, unknown schemes as nothing") {
  const auto choose = [](const char* line) { return choose_challenge(parse_challenges({line})); };
  CHECK(choose(R"(Bearer realm="null://host:5005")")->scheme == Scheme::basic);
  CHECK(choose(R"(Bearer realm="null://host:5005/v2/token",service="null")")->scheme == Scheme::bearer);
  CHECK(choose("Bearer")->scheme == Scheme::basic);
  CHECK(choose("BASIC")->scheme == Scheme::basic);
  CHECK(choose(R"(Bearer realm="/token")")->scheme == Scheme::bearer);
  CHECK(choose(R"(Bearer realm="https://x/t",error="insufficient_scope")")->error == "insufficient_scope");
  CHECK_FALSE(choose(R"(Digest realm="x", nonce="y")"));
  CHECK_FALSE(choose(""));
}

TEST_CASE("a realm is resolved against the registry and never loses TLS") {
  const Url base = *parse_url("https://harbor.corp:8443/v2");
  CHECK(resolve_realm(base, "/service/token?a=b")->str() == "https://harbor.corp:8443/service/token?a=b");
  CHECK(resolve_realm(base, "https://auth.corp/token")->str() == "https://auth.corp/token");
  CHECK(resolve_realm(base, "http://harbor.corp/service/token")->str() ==
        "https://harbor.corp:8443/service/token");
  const auto down = resolve_realm(base, "http://harbor-core.default.svc.cluster.local/service/token");
  REQUIRE_FALSE(down);
  CHECK(down.error().code == Errc::refused_by_policy);
  CHECK(resolve_realm(*parse_url("http://plain:5000/v2"), "http://plain:5001/token").ok());
  CHECK(resolve_realm(base, "null://x/y").error().code == Errc::upstream_protocol);
}

// rules: realm-at-home-only
TEST_CASE("a realm that cannot be right is looked for at the registry itself and nowhere else") {
  const Url base = *parse_url("https://reg.corp:8443/v2");
  CHECK(realm_at_home(base, "null://host:5005/v2/token")->str() == "https://reg.corp:8443/v2/token");
  CHECK(realm_at_home(base, "http://core.default.svc.cluster.local/service/token?a=b")->str() ==
        "https://reg.corp:8443/service/token?a=b");
  for (const char* realm :
       {"null://host", "null://host/", "null://host//evil.example/token", "null:", "", "/token"}) {
    INFO(realm);
    CHECK_FALSE(realm_at_home(base, realm));
  }
}

TEST_CASE("scopes are asked for once each and never empty") {
  CHECK(pull_scope("a/b") == "repository:a/b:pull");
  CHECK(scopes_for("", "a/b") == std::vector<std::string>{"repository:a/b:pull"});
  CHECK(scopes_for("repository:a/b:pull  registry:catalog:*", "a/b") ==
        std::vector<std::string>{"registry:catalog:*", "repository:a/b:pull"});
  CHECK(scopes_for("", "").empty());
}

TEST_CASE("token answers of every dialect are read, with a floor of 60 seconds") {
  struct Row {
    const char* body;
    const char* token;
    int seconds;
  };
  const Row rows[] = {{R"({"token":"t"})", "t", 60},
                      {R"({"access_token":"a","expires_in":300})", "a", 300},
                      {R"({"token":"t","access_token":"a","expires_in":5})", "t", 60},
                      {R"({"token":"t","expires_in":"300"})", "t", 60},
                      {R"({"token":"t","expires_in":-1})", "t", 60},
                      {R"({"token":"t","expires_in":999999999})", "t", 86400}};
  for (const Row& row : rows) {
    INFO(row.body);
    const auto token = parse_token_response(row.body);
    REQUIRE(token);
    CHECK(token->token == row.token);
    CHECK(token->lifetime == std::chrono::seconds(row.seconds));
  }
  const auto full =
      parse_token_response(R"({"token":"t","refresh_token":"r","issued_at":"1970-01-02T00:00:01+01:00"})");
  CHECK(full->refresh_token == "r");
  CHECK(full->issued_at == 86400 + 1 - 3600);
}

TEST_CASE("a token answer without a usable token is a protocol error that quotes nothing") {
  for (const char* body : {"", "[]", "{}", "<html>", R"({"token":""})", R"({"token":5})",
                           "{\"token\":\"se cret\"}", R"({"token":"secret\r\nX: y"})"}) {
    INFO(body);
    const auto token = parse_token_response(body);
    REQUIRE_FALSE(token);
    CHECK(token.error().code == Errc::upstream_protocol);
    CHECK(token.error().message.find("cret") == std::string::npos);
  }
  CHECK_FALSE(parse_token_response(std::string((1 << 20) + 1, ' ')).ok());
}

TEST_CASE("RFC 3339 times are read strictly") {
  CHECK(parse_rfc3339("2024-05-01T10:20:30Z") == 1714558830);
  CHECK(parse_rfc3339("2024-05-01t10:20:30.123456789z") == 1714558830);
  for (const char* bad :
       {"", "2024-05-01", "2024-13-01T10:20:30Z", "2024-02-30T10:20:30Z", "2024-05-01T25:20:30Z",
        "2024-05-01T10:20:30", "2024-05-01T10:20:30+0200", "x024-05-01T10:20:30Z", "2024-05-01T10:20:30Zx"})
    CHECK_FALSE(parse_rfc3339(bad));
}
