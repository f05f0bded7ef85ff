// Registries in the schema of k3s: mirrors, configs and auths, a registries file beside the main one, and
// the secrets of hosts.
#include <sys/stat.h>

#include "daemon/config.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/config_fixture.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test::config;

TEST_CASE("a k3s registries.yaml is a configuration") {
  const auto loaded = parse(R"yaml(
mirrors:
  docker.io:
    endpoint:
      - "https://mirror.example:5000"
    rewrite:
      "^rancher/(.*)": "mirror/$1"
  "*":
configs:
  "mirror.example:5000":
    auth: {username: u, password: p}
    tls: {insecure_skip_verify: true}
  other.io:
    auth: {auth: dXNlcjpwYTpzcw==}
auths:
  "https://old.io/v1/": {username: o, password: p}
)yaml");
  INFO(all(loaded.errors) << all(loaded.warnings));
  REQUIRE(loaded.ok());
  CHECK(loaded.settings->rules.mirrors.at("docker.io").endpoints[0].str() ==
        "https://mirror.example:5000/v2");
  CHECK(loaded.settings->rules.mirrors.at("docker.io").default_endpoint);
  CHECK(host(loaded, "mirror.example:5000").insecure_skip_verify);
  CHECK(host(loaded, "other.io").credentials.username == "user");
  CHECK(host(loaded, "other.io").credentials.password == "pa:ss");
  CHECK(host(loaded, "old.io").credentials.username == "o");
  const auto target = *loaded.settings->compiled_rules->resolve("docker.io", "rancher/k3s");
  CHECK(target->endpoints[0].repository == "mirror/k3s");
  CHECK(target->endpoints[0].settings->credentials.password == "p");
}

TEST_CASE("what k3s ignores is a warning") {
  const auto loaded = parse("mirrors: {a.io: {endpoints: [x]}}\nconfigs: {a.io: {auth: {identity: x}}}\n");
  REQUIRE(loaded.ok());
  CHECK_THAT(all(loaded.warnings), Catch::Contains("did you mean \"endpoint\"?"));
  CHECK_THAT(all(loaded.warnings), Catch::Contains("did you mean \"identity_token\"?"));
  CHECK_THAT(all(parse("mirrors: {a.io: {rewrite: {\"(.*)\": \"$1x\"}}}").warnings),
             Catch::Contains("${1}x"));
}

TEST_CASE("the registries file adds to the main file, which wins with a warning") {
  const auto loaded = parse(
      "registries_file: /k3s.yaml\nmirrors: {a.io: {endpoint: [\"https://one\"]}}\n",
      "mirrors: {a.io: {endpoint: [\"https://two\"]}, b.io: {endpoint: [\"https://three\"]}}\nother: 1\n");
  REQUIRE(loaded.ok());
  CHECK(loaded.settings->rules.mirrors.at("a.io").endpoints[0].host == "one");
  CHECK(loaded.settings->rules.mirrors.at("b.io").endpoints[0].host == "three");
  CHECK_THAT(all(loaded.warnings), Catch::Contains("/k3s.yaml:1:11: mirrors.\"a.io\" is not used"));
  CHECK_THAT(all(loaded.warnings), Catch::Contains("k3s ignores this key"));
  CHECK(loaded.files == std::vector<std::string>{"/k3s.yaml", "c.yaml"});
  CHECK_THAT(all(parse("registries_file: /k", "mirrors: [").errors), Catch::Contains("/k:1"));
  const auto missing =
      parse_config("c.yaml", "registries_file: /gone", [](const std::string&) -> Result<std::string> {
        return {Errc::local_io, "cannot open /gone"};
      });
  CHECK_THAT(all(missing.errors), Catch::Contains("c.yaml:1:18: registries_file: cannot open /gone"));
}

TEST_CASE("configs count before auths wherever they stand") {
  const auto loaded = parse(
      "auths: {a.io: {username: old, password: p}}\nconfigs: {a.io: {auth: {username: new, password: p}}}\n");
  CHECK(host(loaded, "a.io").credentials.username == "new");
}

TEST_CASE("a password comes from its file, and an open secret file is a warning") {
  Folder folder;
  const auto secret = folder.write("pw", "hunter2\n\n");
  const auto loaded = parse("configs: {a.io: {auth: {username: u, password_file: " + secret + "}}}");
  CHECK(host(loaded, "a.io").credentials.password == "hunter2");
  CHECK(host(loaded, "a.io").password_file == secret);
  CHECK(loaded.warnings.empty());
  ::chmod(secret.c_str(), 0644);
  CHECK_THAT(all(parse("configs: {a.io: {auth: {username: u, password_file: " + secret + "}}}").warnings),
             Catch::Contains("every user can read"));
  const auto open =
      folder.write("open.yaml", "configs: {a.io: {auth: {username: u, password: hunter2}}}", 0644);
  CHECK_THAT(all(load_config(open).warnings), Catch::Contains("every user can read this file"));
}

TEST_CASE("a password in a name is not shown, and a name that is there twice is refused") {
  for (const std::string section : {"mirrors", "configs", "auths"}) {
    const auto loaded = parse(section + ": {\"https://user:hunter2@reg.io\": {}}\n");
    const std::string said = all(loaded.errors) + all(loaded.warnings);
    INFO(said);
    CHECK_FALSE(loaded.ok());
    CHECK(said.find("hunter2") == std::string::npos);
    CHECK_THAT(said, Catch::Contains("reg.io"));
  }
  CHECK_THAT(all(parse("mirrors: {Docker.io: {}, docker.io: {}}\n").errors),
             Catch::Contains("is there twice"));
}
