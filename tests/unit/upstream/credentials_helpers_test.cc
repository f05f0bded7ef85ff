// Credential helpers: which is asked, when, how often and how.
#include "tests/unit/upstream/credentials_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::sources;

TEST_CASE("a docker helper is asked as docker asks it, once for many, and kept for a while") {
  Bench up;
  up.helper("*.example", "fake");
  up.children.reply(helper_answer("me", "pw"));
  REQUIRE(up.pull());
  CHECK(up.sent() == kMe);
  REQUIRE(up.children.commands().size() == 1);
  const auto& command = up.children.commands()[0];
  CHECK(command.arguments == std::vector<std::string>{"docker-credential-fake", "get"});
  CHECK(command.input == "reg.example");
  for (const auto& variable : command.environment) {
    const auto name = variable.substr(0, variable.find('='));
    INFO(name);
    CHECK((name == "PATH" || name == "HOME" || name == "TMPDIR" || name == "LANG" ||
           name.find("proxy") != std::string::npos || name.find("PROXY") != std::string::npos ||
           name.starts_with("SSL_CERT_")));
  }
  for (int i = 0; i < 5; ++i) REQUIRE(up.pull());
  CHECK(up.children.commands().size() == 1);
  up.loop.advance(5min);
  REQUIRE(up.pull());
  CHECK(up.children.commands().size() == 2);
}

TEST_CASE("many who need a helper at once share one run of it") {
  Bench up;
  up.helper("reg.example", "fake");
  ChildEnd end;
  end.output = helper_answer("me", "pw");
  up.children.reply(end, 500ms);
  std::vector<std::shared_ptr<std::optional<Result<FetchResponse>>>> results;
  for (int i = 0; i < 6; ++i) results.push_back(up.begin(up.blob("reg.example", "team/app")));
  up.tickets.erase(up.tickets.begin());
  up.loop.advance(2s);
  CHECK(up.children.commands().size() == 1);
  CHECK_FALSE(results[0]->has_value());
  for (std::size_t i = 1; i < results.size(); ++i)
    CHECK((results[i]->has_value() && results[i]->value().ok()));
}

TEST_CASE("what a helper gave a while ago is asked for again once when it is refused") {
  Bench up;
  up.helper("reg.example", "fake");
  up.children.reply(helper_answer("me", "pw"));
  up.children.reply(helper_answer("me", "newpw"));
  up.client.reply(kBlob, challenge("Basic realm=x"));  // it ran out
  up.client.reply(kBlob, ok());
  REQUIRE(up.pull());
  up.loop.advance(1min);
  REQUIRE(up.pull());
  CHECK(up.children.commands().size() == 2);
  CHECK(up.sent() == "Basic bWU6bmV3cHc=");
  up.client.reply(kBlob, challenge("Basic realm=x"));
  up.loop.advance(1min);
  REQUIRE(up.pull());
  auto refused = up.pull();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().diagnosis == "credentials_refused");
  CHECK(up.children.commands().size() == 3);
}

TEST_CASE("a token server's refusal of what a helper gave a while ago asks it again once") {
  Bench up;
  up.helper("reg.example", "fake");
  up.children.reply(helper_answer("me", "pw"));
  up.children.reply(helper_answer("me", "newpw"));
  const std::string other = "GET https://reg.example/v2/other/blobs/" + kDigest;
  const std::string kToken = "GET https://reg.example/token?scope=repository%3Aother%3Apull&account=me";
  up.client.reply(other, challenge(R"(Bearer realm="https://reg.example/token")"));
  up.client.reply(other, ok());
  up.client.reply(kToken, status(401));
  up.client.reply(kToken, token("T"));
  REQUIRE(up.pull());
  up.loop.advance(1min);
  auto answer = up.pull("other");
  INFO((answer ? "" : answer.error().message));
  REQUIRE(answer);
  CHECK(up.children.commands().size() == 2);
  CHECK(up.client.count(kToken) == 2);
}

TEST_CASE("a helper without credentials for a registry leaves it to the next source") {
  Bench up;
  up.helper("*.example", "first");
  up.helper("reg.example", "second");
  up.children.reply("credentials not found in native keychain\n", 1);
  up.children.reply(helper_answer("me", "pw"));
  REQUIRE(up.pull());
  REQUIRE(up.children.commands().size() == 2);
  CHECK(up.children.commands()[1].arguments[0] == "docker-credential-second");
  CHECK(up.sent() == kMe);
}

TEST_CASE("a docker config's own helper is asked, and its store is no obstacle where it is missing") {
  Bench up;
  const bool is_named = GENERATE(true, false);
  up.credentials.docker_configs = {
      up.file("d.json",
              is_named ? R"({"credHelpers": {"reg.example": "ecr-login"}})" : R"({"credsStore": "desktop"})"),
      up.file("e.json", docker_config("reg.example", "bWU6cHc="))};
  // The program is missing: the file of a laptop.
  auto answer = up.pull();
  REQUIRE(up.children.commands().size() == 1);
  CHECK(up.children.commands()[0].arguments[0] ==
        (is_named ? "docker-credential-ecr-login" : "docker-credential-desktop"));
  REQUIRE(answer.ok() == !is_named);
  if (is_named)
    CHECK(answer.error().message.find("d.json, credHelpers.\"reg.example\"") != std::string::npos);
  else
    CHECK(up.sent() == kMe);
}

TEST_CASE("a helper for everything is asked only for registries that are configured") {
  Bench up;
  up.helper("*", "fake");
  up.children.reply(helper_answer("me", "pw"));
  const bool is_configured = GENERATE(true, false);
  if (is_configured) up.configure("reg.example");
  CHECK(up.pull().ok() == is_configured);
  CHECK(up.children.commands().size() == (is_configured ? 1 : 0));
}

TEST_CASE("leaving while a helper runs leaves nothing behind") {
  Bench up;
  up.helper("reg.example", "fake");
  up.children.reply(helper_answer("me", "pw"), 0);
  ChildEnd slow;
  slow.output = helper_answer("me", "pw");
  up.children.reply(slow, 1s);
  static_cast<void>(up.begin(up.blob("reg.example", "team/app")));
  up.loop.run();
  up.tickets.clear();
  up.fetcher.reset();
  up.loop.advance(5s);
  CHECK(up.loop.ledger().size() == 0);
}
