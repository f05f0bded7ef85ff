// Where credentials come from: configs, docker config files, helpers, in this order.
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "proxy/upstream/helper_protocol.h"
#include "runtime/json.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

const std::string kBlob = "GET https://reg.example/v2/team/app/blobs/" + kDigest;
const std::string kMe = "Basic bWU6cHc=";  // me:pw

std::string docker_config(const std::string& host, const std::string& auth) {
  return fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", host, auth);
}
std::string helper_answer(const std::string& user, const std::string& secret) {
  return fmt::format(R"({{"ServerURL": "x", "Username": "{}", "Secret": "{}"}})", user, secret);
}

// A fetcher whose docker configs are read by real workers while time is virtual.
struct Bench : Upstreams {
  // In front of a registry that wants Basic, and lets in whoever comes again.
  explicit Bench(bool lets_in = true) {
    client.reply(kBlob, challenge("Basic realm=x"));
    if (lets_in) client.reply(kBlob, ok());
  }
  std::string file(const std::string& name, const std::string& text) {
    write_text(dir / name, text);
    ::chmod((dir / name).c_str(), 0600);
    return dir / name;
  }
  void helper(const std::string& match, const std::string& name,
              registry::HelperKind kind = registry::HelperKind::docker) {
    credentials.helpers.push_back({*registry::Pattern::compile(match), name, kind, {}, {}});
  }
  Result<FetchResponse> pull(const std::string& repository = "team/app") {
    const auto result = begin(blob("reg.example", repository));
    for (int i = 0; i < 4000 && !result->has_value(); ++i) {
      loop.run();
      std::this_thread::sleep_for(1ms);
      loop.advance(5ms);
    }
    if (!result->has_value()) return Error{Errc::canceled, "the test waited in vain"};
    return std::move(**result);
  }
  std::string sent() { return client.sent().back().header("Authorization"); }
  TempDir dir;
};

}  // namespace

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
