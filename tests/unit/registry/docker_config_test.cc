#include "proxy/registry/docker_config.h"

#include "proxy/registry/domain.h"

#include <string>

#include "proxy/registry/text.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;
using Kind = DockerChoice::Kind;

namespace {

DockerConfig parse(const std::string& text) {
  auto config = parse_docker_config(text, "/etc/d.json");
  INFO(text);
  INFO((config ? "" : config.error().message));
  REQUIRE(config);
  return std::move(*config);
}

RegistryPlace place(const std::string& url, const std::string& repository = "app") {
  Endpoint endpoint;
  endpoint.base = *parse_url(url);
  endpoint.repository = repository;
  return place_of(endpoint);
}

// "user/password", or what is said instead.
std::string login(const DockerConfig& config, const RegistryPlace& where) {
  const auto choice = choose(config, where);
  if (choice.kind != Kind::credentials) return choice.said;
  return choice.credentials.username + "/" + choice.credentials.password;
}

std::string all(const DockerConfig& config) {
  std::string text;
  for (const auto& problem : config.problems) text += problem + "\n";
  return text;
}

}  // namespace

TEST_CASE("base64 is read padded or not, in one line or folded, and nothing else is") {
  CHECK(decode_base64("dTpw") == "u:p");
  CHECK(decode_base64("dTpwcA") == "u:pp");
  CHECK(decode_base64(" dTpw\ncA==\n") == "u:pp");
  CHECK(decode_base64("") == "");
  CHECK_FALSE(decode_base64("a b"));
  CHECK_FALSE(decode_base64("dTp_"));
  CHECK_FALSE(decode_base64("dT=pw"));
}

TEST_CASE("an entry gives its login whichever of its fields are filled in") {
  struct Row {
    const char* entry;
    const char* login;
  };
  const Row rows[] = {
      {R"({"auth": "bWU6cGE6c3M="})", "me/pa:ss"},                               // auth only
      {R"({"username": "me", "password": "p$!@\"\\ä:"})", "me/p$!@\"\\ä:"},      // no auth field
      {R"({"username": "old", "password": "x", "auth": "bWU6cHc="})", "me/pw"},  // both: auth counts
      {R"({"auth": "bWU6cHc", "email": "a@b.c"})", "me/pw"},                     // no padding
      {R"({"auth": "bWU6cHcAAA=="})", "me/pw"},                                  // zero bytes at the end
      {R"({"auth": "", "username": "name@aliyun.com", "password": "pw"})", "name@aliyun.com/pw"},
      {R"({"username": "robot$a+b", "password": "pw", "serveraddress": "x"})", "robot$a+b/pw"}};
  for (const auto& row : rows) {
    INFO(row.entry);
    const auto config = parse(std::string(R"({"auths": {"reg.example": )") + row.entry + "}}");
    CHECK(login(config, place("https://reg.example")) == row.login);
  }
}

TEST_CASE("identity and registry tokens are taken as what they are") {
  const auto config = parse(R"({"auths": {
    "a.azurecr.io": {"auth": "MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==", "identitytoken": "IT"},
    "b.example": {"registrytoken": "RT"}, "c.example": {"registrytoken": "two words"}}})");
  CHECK(choose(config, place("https://a.azurecr.io")).credentials.identity_token == "IT");
  CHECK(choose(config, place("https://b.example")).credentials.registry_token == "RT");
  const auto wrong = choose(config, place("https://c.example"));
  CHECK(wrong.kind == Kind::none);
  CHECK(wrong.diagnosis == "credentials_unusable");
  CHECK(wrong.said.find("two words") == std::string::npos);
}

TEST_CASE("a key is a host, a host with port, a URL or Docker Hub's own, in any spelling") {
  struct Row {
    const char* key;
    const char* url;
    bool fits;
  };
  const Row rows[] = {{"reg.example", "https://reg.example", true},
                      {"REG.example", "https://reg.example", true},
                      {"https://reg.example/v1/", "https://reg.example", true},
                      {"https://reg.example/v2/", "https://reg.example", true},
                      {"https://reg.example/", "https://reg.example", true},
                      {"http://reg.example", "http://reg.example", true},
                      {"reg.example", "http://reg.example", true},
                      {"reg.example:443", "https://reg.example", true},
                      {"reg.example:5000", "https://reg.example:5000", true},
                      {"http://10.0.24.28:30002", "http://10.0.24.28:30002", true},
                      {"[fd00::1]:5000", "https://[fd00::1]:5000", true},
                      {"https://index.docker.io/v1/", "https://registry-1.docker.io", true},
                      {"index.docker.io", "https://registry-1.docker.io", true},
                      {"docker.io", "https://registry-1.docker.io", true},
                      {"registry.hub.docker.com", "https://registry-1.docker.io", true},
                      {"*.example", "https://reg.example", true},
                      {"reg*.ex*le", "https://reg.example", true},
                      {"*.example", "https://a.reg.example", false},
                      {"reg.example", "https://reg.example:5000", false},
                      {"reg.example:5000", "https://reg.example", false},
                      {"example", "https://reg.example", false},
                      {"eg.example", "https://reg.example", false},
                      {"docker.io", "https://registry.docker.io", false}};
  for (const auto& row : rows) {
    INFO(row.key << " for " << row.url);
    const auto config = parse(std::string(R"({"auths": {")") + row.key + R"(": {"auth": "bWU6cHc="}}})");
    CHECK((choose(config, place(row.url)).kind == Kind::credentials) == row.fits);
  }
}

TEST_CASE("the longest path that is above the repository counts, whole components only") {
  const auto config = parse(R"({"auths": {
    "reg.example": {"auth": "aG9zdDpw"},
    "reg.example/team": {"auth": "dGVhbTpw"},
    "reg.example/team/app": {"auth": "YXBwOnA="},
    "*.example/team/app/deep": {"auth": "ZGVlcDpw"}}})");
  CHECK(login(config, place("https://reg.example", "other")) == "host/p");
  CHECK(login(config, place("https://reg.example", "team/x")) == "team/p");
  CHECK(login(config, place("https://reg.example", "teams/x")) == "host/p");
  CHECK(login(config, place("https://reg.example", "team/app")) == "app/p");
  CHECK(login(config, place("https://reg.example", "team/app/deep/er")) == "deep/p");
  // An endpoint with a path: the host knows the repository by the whole of it.
  CHECK(login(config, place("https://reg.example/v2/team", "app")) == "app/p");
  const auto choice = choose(config, place("https://reg.example", "team/app"));
  CHECK(choice.credentials.source == "/etc/d.json, auths.\"reg.example/team/app\"");
}

TEST_CASE("an exact host counts before a pattern, and the bare host before its URL") {
  const auto config = parse(R"({"auths": {
    "*.example": {"auth": "c3RhcjpwYXNz"}, "https://reg.example/v1/": {"auth": "dXJsOnBhc3M="},
    "reg.example": {"auth": "aG9zdDpwYXNz"}}})");
  CHECK(login(config, place("https://reg.example")) == "host/pass");
  CHECK(login(config, place("https://other.example")) == "star/pass");
}

TEST_CASE("the flat .dockercfg of old and a whole kubernetes Secret are read as well") {
  CHECK(login(parse(R"({"https://index.docker.io/v1/": {"auth": "bWU6cHc=", "email": "x"}})"),
              place("https://registry-1.docker.io")) == "me/pw");
  // {"auths":{"reg.example":{"auth":"bWU6cHc="}}}
  CHECK(login(parse(R"({"kind": "Secret", "apiVersion": "v1", "data": {".dockerconfigjson":
    "eyJhdXRocyI6eyJyZWcuZXhhbXBsZSI6eyJhdXRoIjoiYldVNmNIYz0ifX19"}})"),
              place("https://reg.example")) == "me/pw");
  CHECK_FALSE(parse_docker_config(R"({"kind": "Secret", "data": {}})", "f"));
}

TEST_CASE("helpers: the named one before auths, the store for what auths does not have") {
  const auto config =
      parse(R"({"credsStore": "pass", "credHelpers": {"1.dkr.ecr.eu.amazonaws.com": "ecr-login"},
    "auths": {"1.dkr.ecr.eu.amazonaws.com": {"auth": "bWU6cHc="}, "reg.example": {"auth": "bWU6cHc="},
              "https://index.docker.io/v1/": {}}})");
  CHECK(all(config).empty());
  const auto ecr = choose(config, place("https://1.dkr.ecr.eu.amazonaws.com"));
  CHECK(ecr.kind == Kind::helper);
  CHECK(ecr.helper == "ecr-login");
  CHECK(ecr.server == "1.dkr.ecr.eu.amazonaws.com");
  CHECK(ecr.is_named);
  CHECK(choose(config, place("https://reg.example")).kind == Kind::credentials);
  const auto hub = choose(config, place("https://registry-1.docker.io"));
  CHECK(hub.helper == "pass");
  CHECK(hub.server == "https://index.docker.io/v1/");
  CHECK(hub.is_named);
  const auto other = choose(config, place("https://other.example:5000"));
  CHECK(other.kind == Kind::helper);
  CHECK(other.server == "other.example:5000");
  CHECK_FALSE(other.is_named);
}

TEST_CASE("an entry that cannot be used is told by its key, never by its secret") {
  struct Row {
    const char* entry;
    const char* says;
  };
  const Row rows[] = {{R"({})", "neither `auth` nor `username` and `password`"},
                      {R"({"email": "a@b.c"})", "neither `auth` nor"},
                      {R"({"auth": "s3cret!"})", "`auth` is not base64"},
                      {R"({"auth": "czNjcmV0"})", "holds no colon"},
                      {R"({"auth": 5})", "`auth` is no text"},
                      {R"({"auth": "OnMzY3JldA=="})", "a password and no user name"},
                      {R"({"username": "me"})", "a user name and no password"},
                      {R"({"password": "s3cret"})", "a password and no user name"},
                      {R"({"username": "a:b", "password": "s3cret"})", "holds a colon"},
                      {R"("s3cret")", "it is no object"}};
  for (const auto& row : rows) {
    INFO(row.entry);
    const auto config = parse(std::string(R"({"auths": {"reg.example": )") + row.entry + "}}");
    INFO(all(config));
    CHECK(all(config).find("auths.\"reg.example\" is not used: ") != std::string::npos);
    CHECK(all(config).find(row.says) != std::string::npos);
    const auto choice = choose(config, place("https://reg.example"));
    CHECK(choice.kind == Kind::none);
    CHECK(choice.diagnosis == "credentials_unusable");
    CHECK(choice.said.find(row.says) != std::string::npos);
    for (const char* secret : {"s3cret", "czNjcmV0", "OnMzY3JldA"}) {
      CHECK(choice.said.find(secret) == std::string::npos);
      CHECK(all(config).find(secret) == std::string::npos);
    }
  }
}

TEST_CASE("a stray line break at the end of a password is left out and told") {
  for (const char* entry : {R"({"auth": "bWU6cHcK"})", R"({"username": "me", "password": "pw\r\n"})"}) {
    const auto config = parse(std::string(R"({"auths": {"reg.example": )") + entry + "}}");
    CHECK(login(config, place("https://reg.example")) == "me/pw");
    CHECK(all(config).find("ended with a line break") != std::string::npos);
  }
}

TEST_CASE("the right account at the wrong domain is told with both names") {
  const auto config = parse(R"({"auths": {"registry.cn-hangzhou.aliyuncs.com": {"auth": "bWU6cHc="},
    "ghcr.io": {"auth": "bWU6cHc="}, "reg.example:5000": {"auth": "bWU6cHc="}, "reg.example/team": {"auth": "bWU6cHc="}}})");
  const auto aliyun = choose(config, place("https://crpi-1.cn-hangzhou.personal.cr.aliyuncs.com", "ns/app"));
  CHECK(aliyun.diagnosis == "credentials_other_host");
  CHECK(aliyun.said ==
        "/etc/d.json has an entry for registry.cn-hangzhou.aliyuncs.com, but not for "
        "crpi-1.cn-hangzhou.personal.cr.aliyuncs.com/ns/app");
  const auto other = choose(config, place("https://reg.example", "app"));
  CHECK(other.said ==
        "/etc/d.json has an entry for reg.example/team, reg.example:5000, but not for reg.example/app");
  const auto none = choose(config, place("https://quay.io", "app"));
  CHECK(none.diagnosis.empty());
  CHECK(none.said == "/etc/d.json has 4 entries and none for quay.io/app");
}

TEST_CASE("a broken file is told with the place where it breaks") {
  struct Row {
    const char* text;
    const char* says;
  };
  const Row rows[] = {{"{\n  \"auths\": {\n    \"a\": s3cret\n", "line 3, column 10"},
                      {"", "/etc/d.json: it is empty"},
                      {"[]", "an object with `auths` was expected"},
                      {R"({"auths": []})", "`auths` is no object"},
                      {R"({"credHelpers": "x"})", "`credHelpers` is no object"}};
  for (const auto& row : rows) {
    INFO(row.text);
    const auto config = parse_docker_config(row.text, "/etc/d.json");
    REQUIRE_FALSE(config);
    INFO(config.error().message);
    CHECK(config.error().code == Errc::config);
    CHECK(config.error().message.find("/etc/d.json: ") == 0);
    CHECK(config.error().message.find(row.says) != std::string::npos);
    CHECK(config.error().message.find("s3cret") == std::string::npos);
  }
  CHECK(all(parse(R"({"auths": {"": {"auth": "bWU6cHc="}, "*": {"auth": "bWU6cHc="}}})"))
            .find("names no registry") != std::string::npos);
  // A key with a password in it is named without it.
  for (const char* key : {"https://me:s3cret@a.io/v2", "me:s3cret@a.io", "https://me:s3/cret@a.io"}) {
    INFO(key);
    const auto said = all(parse(R"({"auths": {")" + std::string(key) + R"(": {"auth": "bWU6cHc="}}})")) +
                      all(parse(R"({"credHelpers": {")" + std::string(key) + R"(": "x"}})"));
    CHECK(said.find("****@a.io") != std::string::npos);
    CHECK(said.find("cret") == std::string::npos);
  }
  CHECK(all(parse(R"({"credHelpers": {"a.io": "../evil", "b.io": 5}, "credsStore": "a/b"})"))
            .find("the name of a helper was expected") != std::string::npos);
  CHECK(all(parse(R"({"HttpHeaders": {"x": "y"}})")).find("no `auths`") != std::string::npos);
  CHECK(all(parse("{}")).empty());
}

TEST_CASE("hosts are related by their registrable domain") {
  CHECK(registrable_domain("auth.docker.io") == "docker.io");
  CHECK(registrable_domain("a.b.example.co.uk") == "example.co.uk");
  CHECK(registrable_domain("co.uk").empty());
  CHECK(registrable_domain("localhost").empty());
  CHECK(registrable_domain("10.0.0.1").empty());
  CHECK(registrable_domain("::1").empty());
}

TEST_CASE("an entry is near when its host is of the same domain, and not for a common end of names") {
  const auto is_near = [](const char* key, const char* host) {
    RegistryPlace place;
    place.host = host;
    place.path = "team/app";
    return is_near_miss(*parse_registry_key(key), place);
  };
  CHECK(is_near("registry.cn-hangzhou.aliyuncs.com", "crpi-1.cn-hangzhou.personal.cr.aliyuncs.com"));
  CHECK(is_near("harbor.site.com.cn", "reg.site.com.cn"));
  CHECK_FALSE(is_near("harbor.site.com.cn", "reg.other.com.cn"));
  CHECK_FALSE(is_near("harbor.site.co.uk", "reg.other.co.uk"));
  CHECK_FALSE(is_near("10.0.0.1", "10.1.0.1"));
}
