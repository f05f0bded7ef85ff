// What docker helpers and plugins of the kubelet answer: what it means, how long it counts, and answers that
// are none.
#include <fmt/core.h>

#include "proxy/upstream/helper_protocol.h"
#include "runtime/json.h"
#include "tests/unit/upstream/credentials_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::sources;

TEST_CASE("a helper's user <token> means an identity token") {
  Bench up;
  up.helper("reg.example", "fake");
  up.children.reply(helper_answer("<token>", "refresh&me"));
  const std::string other = "GET https://reg.example/v2/other/blobs/" + kDigest;
  up.client.reply(other, challenge(R"(Bearer realm="https://reg.example/token")"));
  up.client.reply(other, ok());
  up.client.reply("POST https://reg.example/token", token("T"));
  REQUIRE(up.pull("other"));
  CHECK(up.client.sent()[1].body.find("refresh_token=refresh%26me") != std::string::npos);
}

TEST_CASE("a helper that fails is an error of its own that names it and shows no secret") {
  struct Row {
    const char* how;
    std::optional<ChildEnd> end;
    const char* says;
  };
  const auto ended = [](std::string output, int code, ChildEnd::How how = ChildEnd::How::exited,
                        int sig = 0) {
    ChildEnd end;
    end.how = how;
    end.status = code;
    end.signal = sig;
    end.output = std::move(output);
    return end;
  };
  const Row rows[] = {
      {"missing", std::nullopt, "is not installed"},
      {"exits non-zero", ended("s3cret went wrong", 1), "ended with status 1"},
      {"prints rubbish", ended("s3cret rubbish", 0), "not the JSON of docker's helper protocol"},
      {"prints another thing", ended(R"(["s3cret"])", 0), "not the JSON"},
      {"no user", ended(R"({"Secret": "s3cret"})", 0), "a password and no user name"},
      {"hangs", ended("", 0, ChildEnd::How::took_too_long), "did not answer within 8 s and was killed"},
      {"floods", ended("s3cret", 0, ChildEnd::How::said_too_much), "far more than an answer"},
      {"crashes", ended("s3cret", 0, ChildEnd::How::by_signal, 11), "was ended by signal 11"}};
  for (const auto& row : rows) {
    INFO(row.how);
    Bench up(false);
    up.helper("reg.example", "fake");
    if (row.end) up.children.reply(*row.end);
    auto refused = up.pull();
    REQUIRE_FALSE(refused);
    INFO(refused.error().message);
    CHECK(refused.error().code == Errc::config);
    CHECK(refused.error().diagnosis == "credentials_unusable");
    CHECK(refused.error().message.find(
              "the credential helper docker-credential-fake (credentials.helpers fake for "
              "\"reg.example\")") != std::string::npos);
    CHECK(refused.error().message.find(row.says) != std::string::npos);
    CHECK(refused.error().message.find("echo reg.example | docker-credential-fake get") != std::string::npos);
    CHECK(refused.error().message.find("s3cret") == std::string::npos);
    CHECK(refused.error().message.find("unauthorized") == std::string::npos);
    REQUIRE_FALSE(up.pull());
    CHECK(up.children.commands().size() == 1);  // not again at once
  }
}

TEST_CASE("a plugin of the kubelet is asked as the kubelet does, and its answer counts as it says") {
  Bench up;
  up.helper("reg.example", "/opt/plugin", registry::HelperKind::kubelet);
  const std::string scope = GENERATE(as<std::string>(), "Image", "Registry", "Global");
  up.children.reply(fmt::format(R"({{"kind": "CredentialProviderResponse",
    "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "cacheKeyType": "{}", "cacheDuration": "12h0m0s",
    "auth": {{"*.example": {{"username": "x", "password": "y"}}, "reg.example/team": {{"username": "me", "password": "pw"}}}}}})",
                                scope));
  REQUIRE(up.pull());
  CHECK(up.sent() == kMe);
  REQUIRE(up.children.commands().size() == 1);
  CHECK(up.children.commands()[0].arguments == std::vector<std::string>{"/opt/plugin"});
  const auto question = parse_json(up.children.commands()[0].input);
  REQUIRE(question);
  CHECK(json_string(*question, "kind") == "CredentialProviderRequest");
  CHECK(json_string(*question, "apiVersion") == "credentialprovider.kubelet.k8s.io/v1");
  CHECK(json_string(*question, "image") == "reg.example/team/app");
  const std::string other = "GET https://reg.example/v2/other/blobs/" + kDigest;
  up.client.reply(other, challenge("Basic realm=x"));
  up.client.reply(other, ok());
  up.loop.advance(11h);
  REQUIRE(up.pull("other"));
  CHECK(up.sent() == "Basic eDp5");
  CHECK(up.children.commands().size() == (scope == "Image" ? 2 : 1));
  up.loop.advance(2h);
  REQUIRE(up.pull());
  CHECK(up.children.commands().size() == (scope == "Image" ? 3 : 2));
}

TEST_CASE("a plugin's answer with a duration of 0 is not kept") {
  Bench up;
  up.helper("reg.example", "/opt/plugin", registry::HelperKind::kubelet);
  up.children.reply(R"({"kind": "CredentialProviderResponse", "cacheKeyType": "Image", "cacheDuration": "0s",
    "auth": {"reg.example": {"username": "me", "password": "pw"}}})");
  REQUIRE(up.pull());
  REQUIRE(up.pull());
  CHECK(up.children.commands().size() == 2);
}

TEST_CASE("a plugin's answer that is none is its own error") {
  for (const char* output :
       {"", "s3cret", R"({"kind": "Other"})",
        R"({"kind": "CredentialProviderResponse", "auth": {"a.io": {"password": "s3cret"}}})",
        R"({"kind": "CredentialProviderResponse", "cacheKeyType": "Registry", "cacheDuration": "s3cret"})",
        R"({"kind": "CredentialProviderResponse", "cacheKeyType": "Registry", "auth": ["s3cret"]})"}) {
    INFO(output);
    Bench up;
    up.helper("reg.example", "/opt/plugin", registry::HelperKind::kubelet);
    up.children.reply(output);
    auto refused = up.pull();
    REQUIRE_FALSE(refused);
    INFO(refused.error().message);
    CHECK(refused.error().message.find("the credential helper /opt/plugin") != std::string::npos);
    CHECK(refused.error().message.find("s3cret") == std::string::npos);
  }
}

TEST_CASE("Go's durations are read exactly") {
  using upstream::parse_go_duration;
  CHECK(parse_go_duration("12h0m0s") == Duration(12h));
  CHECK(parse_go_duration("1h30m") == Duration(90min));
  CHECK(parse_go_duration("1.5h") == Duration(90min));
  CHECK(parse_go_duration("300ms") == Duration(300ms));
  CHECK(parse_go_duration("0s") == Duration::zero());
  CHECK(parse_go_duration("0") == Duration::zero());
  CHECK(parse_go_duration("99999999999999h") == Duration(366 * 24h));
  for (const char* bad : {"", "5", "h", "-1h", "1x", "1h-", "1.2.3s", ".s"})
    CHECK_FALSE(parse_go_duration(bad));
}
