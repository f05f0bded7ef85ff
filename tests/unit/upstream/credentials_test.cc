// Where credentials come from: configs, docker config files, helpers, in this order; what docker config files
// hold, and what is told of all that was looked at.
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/upstream/credentials_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::sources;

TEST_CASE("credentials that stand only in a docker config reach the registry") {
  Bench up;
  up.credentials.docker_configs = {up.file("d.json", docker_config("https://reg.example/v1/", "bWU6cHc="))};
  auto answer = up.pull();
  INFO((answer ? "" : answer.error().message));
  REQUIRE(answer);
  CHECK(answer->authenticated);
  CHECK(up.sent() == kMe);
}

TEST_CASE("configs counts before docker configs, those in the order given, helpers last") {
  const int first = GENERATE(0, 1, 2, 3);
  Bench up;
  if (first == 0) up.configure("reg.example", up.login("me", "pw"));
  up.credentials.docker_configs = {up.file("one.json", docker_config(first <= 1 ? "reg.example" : "quay.io",
                                                                     first == 1 ? "bWU6cHc=" : "eDp5")),
                                   up.file("two.json", docker_config(first <= 2 ? "reg.example" : "quay.io",
                                                                     first == 2 ? "bWU6cHc=" : "eDp5"))};
  up.helper("*.other", "never");
  up.helper("reg.example", "fake");
  up.children.reply(first == 3 ? helper_answer("me", "pw") : helper_answer("x", "y"));
  REQUIRE(up.pull());
  CHECK(up.sent() == kMe);
  CHECK(up.children.commands().size() == (first == 3 ? 1 : 0));
}

TEST_CASE("a path-scoped entry counts for its repositories only") {
  Bench up;
  up.credentials.docker_configs = {up.file("d.json", docker_config("reg.example/team", "bWU6cHc="))};
  REQUIRE(up.pull("team/app"));
  CHECK(up.sent() == kMe);
  const std::string other = "GET https://reg.example/v2/other/blobs/" + kDigest;
  up.client.reply(other, challenge("Basic realm=x"));
  auto refused = up.pull("other");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().diagnosis == "credentials_other_host");
  CHECK(refused.error().message.find("has an entry for reg.example/team, but not for reg.example/other") !=
        std::string::npos);
}

TEST_CASE("a docker config is read again when it changes, also when kubernetes swaps its links") {
  Bench up;
  const bool by_link = GENERATE(false, true);
  const auto path = up.dir / "mount/.dockerconfigjson";
  const auto put = [&](const std::string& version, const std::string& auth) {
    const auto text = docker_config("reg.example", auth);
    if (!by_link) return write_text(path, text);
    // As the kubelet does it: file -> ..data/file, ..data -> ..version, renamed over.
    write_text(up.dir / ("mount/.." + version + "/.dockerconfigjson"), text);
    const auto fresh = up.dir / "mount/..data_tmp";
    REQUIRE(::symlink((".." + version).c_str(), fresh.c_str()) == 0);
    REQUIRE(::rename(fresh.c_str(), (up.dir / "mount/..data").c_str()) == 0);
    static_cast<void>(::symlink("..data/.dockerconfigjson", path.c_str()));
  };
  put("1", "bWU6cHc=");
  up.credentials.docker_configs = {path};
  REQUIRE(up.pull());
  CHECK(up.sent() == kMe);
  put("2", "bWU6bmV3cHc=");  // me:newpw
  up.loop.advance(1s);
  REQUIRE(up.pull());
  CHECK(up.sent() == "Basic bWU6bmV3cHc=");
}

TEST_CASE("a docker config that breaks keeps what it held, one that goes takes it along") {
  Bench up;
  const auto path = up.file("d.json", docker_config("reg.example", "bWU6cHc="));
  up.credentials.docker_configs = {path};
  REQUIRE(up.pull());
  write_text(path, "{\"auths\": {\"reg.example\": {\"auth\": ");
  up.loop.advance(1s);
  REQUIRE(up.pull());
  CHECK(up.sent() == kMe);
  ::unlink(path.c_str());
  up.loop.advance(1s);
  const auto gone = up.pull();
  REQUIRE_FALSE(gone);
  CHECK(gone.error().diagnosis == "credentials_unusable");
  CHECK(gone.error().message.find(path) != std::string::npos);
}

TEST_CASE("a docker config that cannot be read does not stop what needs no credentials") {
  Bench up;
  up.credentials.docker_configs = {up.dir / "nowhere.json", up.file("d.json", "no json")};
  up.client.reply("GET https://reg.example/v2/free/blobs/" + kDigest,
                  challenge(R"(Bearer realm="https://reg.example/token")"));
  up.client.reply("GET https://reg.example/v2/free/blobs/" + kDigest, ok());
  up.client.reply("GET https://reg.example/token?scope=repository%3Afree%3Apull", token("T"));
  REQUIRE(up.pull("free"));
}

TEST_CASE("an entry without auth and the right account at the wrong domain are told in the refusal") {
  Bench up;
  const bool is_empty = GENERATE(true, false);
  const auto path = up.file("d.json", is_empty ? R"({"auths": {"reg.example": {"email": "a@b.c"}}})"
                                               : docker_config("other.reg.example:5000", "czNjcmV0OnM="));
  up.credentials.docker_configs = {path};
  const auto refused = up.pull();
  REQUIRE_FALSE(refused);
  INFO(refused.error().message);
  CHECK(refused.error().code == Errc::denied);
  CHECK(refused.error().diagnosis == (is_empty ? "credentials_unusable" : "credentials_other_host"));
  CHECK(refused.error().message.find("no credentials are configured for reg.example") != std::string::npos);
  CHECK(refused.error().message.find(is_empty ? "neither `auth` nor `username` and `password`"
                                              : "has an entry for other.reg.example:5000, but not for "
                                                "reg.example/team/app") != std::string::npos);
}

TEST_CASE("auth in configs for the wrong domain of an account is told in the refusal") {
  Bench up(false);
  up.credentials.config_hosts = {"quay.io", "registry.reg.example", "*"};
  auto refused = up.pull();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().diagnosis == "credentials_other_host");
  CHECK(refused.error().message.find("configs has auth for registry.reg.example, but not for reg.example") !=
        std::string::npos);
  CHECK(refused.error().message.find("quay.io") == std::string::npos);
}

TEST_CASE("what was looked at is told in order, with the source that was used") {
  Bench up;
  up.credentials.docker_configs = {up.file("one.json", docker_config("quay.io", "eDp5")),
                                   up.file("two.json", R"({"auths": {"reg.example": {}}})"),
                                   up.dir / "gone.json"};
  up.helper("*.other", "first");
  up.helper("*.example", "second");
  up.children.reply(helper_answer("me", "pw"));
  upstream::CredentialSource source(up.loop, up.workers, up.children, up.metrics);
  source.set_rules(std::make_shared<const registry::CredentialRules>(up.credentials));
  const auto target = up.blob("reg.example", "team/app").target;
  std::optional<Result<upstream::FoundCredentials>> found;
  auto ticket = source.find(target->endpoints[0], [&](Result<upstream::FoundCredentials> answer) {
    found.emplace(std::move(answer));
  });
  for (int i = 0; i < 4000 && !found; ++i) {
    up.loop.run();
    std::this_thread::sleep_for(1ms);
    up.loop.advance(5ms);
  }
  REQUIRE(found);
  REQUIRE(*found);
  const auto& steps = (*found)->steps;
  REQUIRE(steps.size() == 5);
  CHECK(steps[0].said == "configs has no auth for reg.example");
  CHECK(steps[1].said == up.dir / "one.json has 1 entries and none for reg.example/team/app");
  CHECK(steps[1].diagnosis.empty());
  CHECK(steps[2].said.find("two.json, auths.\"reg.example\" cannot be used: it has neither `auth`") !=
        std::string::npos);
  CHECK(steps[2].diagnosis == "credentials_unusable");
  CHECK(steps[3].said.find("gone.json: No such file") != std::string::npos);
  CHECK(steps[4].said == "credentials.helpers first for \"*.other\" does not match");
  REQUIRE((*found)->credentials);
  CHECK((*found)->credentials->value.source ==
        "credentials.helpers second for \"*.example\", given by docker-credential-second");
}
