// Rules that are legal alone and contradict each other, and files with secrets that others can read.
#include <sys/stat.h>

#include <algorithm>

#include "daemon/config.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test;

namespace {

LoadedConfig parse(const std::string& text, const std::string& registries = {}) {
  const ReadText read = [&](const std::string&) -> Result<std::string> { return registries; };
  return parse_config("c.yaml", text, read, {.environment = nullptr});
}

std::string warned(const std::string& text, const std::string& registries = {}) {
  const auto loaded = parse(text, registries);
  std::string all;
  for (const auto& problem : loaded.errors) all += "error: " + problem.str() + "\n";
  for (const auto& problem : loaded.warnings) all += problem.str() + "\n";
  return all;
}

}  // namespace

// rules: contradictions-told
TEST_CASE("of two spellings of one registry the one that loses is told with its line") {
  CHECK_THAT(
      warned("mirrors:\n  reg.io: {endpoint: [\"https://a\"]}\n  REG.io:443: {endpoint: "
             "[\"https://b\"]}\n"),
      Catch::Contains("c.yaml:3:3: mirrors.\"reg.io:443\" and mirrors.\"reg.io\" are about one registry"));
  CHECK_THAT(
      warned("registries_file: /k3s.yaml\nconfigs:\n  reg.io: {auth: {username: u, password: p}}\n",
             "configs:\n  reg.io:443: {auth: {username: v, password: q}}\n"),
      Catch::Contains("/k3s.yaml:2:3: configs.\"reg.io:443\" and configs.\"reg.io\" are about one host"));
  CHECK(warned("mirrors: {reg.io: {}, \"reg.io:5000\": {}}\n").empty());
}

TEST_CASE("what `allow` leaves out is told where it is configured") {
  CHECK_THAT(warned("allow: [ghcr.io]\nmirrors:\n  ghcr.io: {}\n  quay.io: {endpoint: [\"https://a\"]}\n"),
             Catch::Contains("c.yaml:4:3: mirrors.\"quay.io\" is not used: no pattern of `allow` matches "
                             "quay.io") &&
                 !Catch::Contains("mirrors.\"ghcr.io\""));
  CHECK_THAT(
      warned("allow: [docker.io]\naliases:\n- {from: \"docker.io/nexus/**\", to: \"nexus.local/**\"}\n"),
      Catch::Contains("c.yaml:3:") && Catch::Contains("aliases[1].to leads to nexus.local"));
  for (const char* allow : {"\"*\"", "\"**\"", "\"*.io\"", "\"quay.io/team/**\"", "\"**/team/*\""})
    CHECK(warned(fmt::format("allow: [{}]\nmirrors: {{quay.io: {{}}}}\n", allow)).empty());
}

TEST_CASE("an entry of mirrors that leads nowhere is told") {
  CHECK_THAT(warned("mirrors:\n  a.io: {default_endpoint: false}\n"),
             Catch::Contains("c.yaml:2:3: mirrors.\"a.io\" has no endpoint and default_endpoint is false"));
  CHECK_THAT(warned("mirrors:\n  a.io: {rewrite: {\"^x/\": \"y/\"}}\n"),
             Catch::Contains("mirrors.\"a.io\".rewrite changes nothing"));
  CHECK(
      warned("mirrors: {a.io: {}, b.io: {endpoint: [\"https://m\"], rewrite: {\"^x/\": \"y/\"}}}\n").empty());
}

TEST_CASE("tls for a host that is asked without TLS is told") {
  CHECK_THAT(warned("mirrors: {h.io: {endpoint: [\"http://nexus:5000\"]}}\nconfigs:\n  nexus:5000: {tls: "
                    "{insecure_skip_verify: true}}\n"),
             Catch::Contains("c.yaml:3:3: configs.\"nexus:5000\".tls is not used: mirrors asks that host at "
                             "http://nexus:5000"));
  CHECK(warned("mirrors: {h.io: {endpoint: [\"https://nexus:5000\"]}}\nconfigs: {\"nexus:5000\": {tls: "
               "{insecure_skip_verify: true}}}\n")
            .empty());
  CHECK(warned("mirrors: {h.io: {endpoint: [\"http://nexus:5000\"]}}\nconfigs: {\"nexus:5000\": {auth: "
               "{username: u, password: p}}}\n")
            .empty());
}

// rules: secret-files-open
TEST_CASE("credentials of a registry whose clients must bring their own are told") {
  const std::string auth = "configs:\n  reg.io: {auth: {username: u, password: p}}\n";
  for (const char* pattern : {"reg.io", "reg.io/**", "\"*.io\"", "reg.io:443/**", "\"*\""})
    CHECK_THAT(warned(auth + fmt::format("access: {{require_client: [{}]}}\n", pattern)),
               Catch::Contains("c.yaml:2:3: configs.\"reg.io\".auth is not used: access.require_client"));
  // The entry of a mirror of that registry.
  CHECK_THAT(
      warned("mirrors: {reg.io: {endpoint: [\"https://m.test:5000\"]}}\nconfigs:\n  m.test:5000: {auth: "
             "{username: u, password: p}}\naccess: {require_client: [reg.io]}\n"),
      Catch::Contains("configs.\"m.test:5000\".auth is not used"));
  // Some of its repositories are for the node, or the entry is about TLS, or another registry is asked there.
  CHECK(warned(auth + "access: {require_client: [reg.io/secret/**]}\n").empty());
  CHECK(warned(auth + "access: {require_client: [quay.io]}\n").empty());
  CHECK(warned("configs: {reg.io: {tls: {insecure_skip_verify: true}}}\naccess: {require_client: [reg.io]}\n")
            .find("require_client") == std::string::npos);
  CHECK(warned("mirrors: {a.io: {endpoint: [\"https://m.test\"]}, b.io: {endpoint: [\"https://m.test\"]}}\n"
               "configs: {m.test: {auth: {username: u, password: p}}}\naccess: {require_client: [a.io]}\n")
            .empty());
}

TEST_CASE("a file that holds a secret in any of its keys and that others can read is a warning") {
  TempDir dir;
  const auto load = [&](const std::string& text, const std::string& second, mode_t mode) {
    write_text(dir / "k3s.yaml", second);
    write_text(dir / "c.yaml", text + fmt::format("registries_file: {}\n", dir / "k3s.yaml"));
    ::chmod((dir / "c.yaml").c_str(), mode);
    ::chmod((dir / "k3s.yaml").c_str(), mode);
    std::string all;
    for (const auto& problem : load_config(dir / "c.yaml", {.environment = nullptr}).warnings)
      all += problem.str() + "\n";
    return all;
  };
  const std::string login = "configs: {a.io: {auth: {username: u, password: s3cret}}}\n";
  const auto of = [&](const char* file) { return Catch::Contains("chmod o= " + (dir / file)); };
  CHECK_THAT(load("", login, 0644), of("k3s.yaml") && !of("c.yaml"));
  CHECK_THAT(load(login, "", 0644), of("c.yaml") && !of("k3s.yaml"));
  CHECK_THAT(load("proxy: {https: \"http://bob:s3cret@p:1\"}\n", "", 0644), of("c.yaml"));
  CHECK_THAT(load("credentials: {helpers: [{match: \"*.a.io\", helper: /bin/true, env: {TOKEN: s3cret}}]}\n",
                  "", 0644),
             of("c.yaml"));
  CHECK(load(login, login, 0600).find("chmod") == std::string::npos);
  CHECK(load("proxy: {https: \"http://p:1\"}\n", "mirrors: {a.io: {}}\n", 0644).empty());
}

// rules: proxy-password-watched
TEST_CASE("the file of the proxy's password is watched like the configuration") {
  TempDir dir;
  write_text(dir / "password", "one\n");
  ::chmod((dir / "password").c_str(), 0600);
  write_text(dir / "c.yaml",
             fmt::format("proxy: {{https: \"http://bob@p:1\", password_file: {}}}\n", dir / "password"));
  const auto loaded = load_config(dir / "c.yaml", {.environment = nullptr});
  REQUIRE(loaded.ok());
  const auto watches = [](const LoadedConfig& config, const std::string& path) {
    return std::any_of(config.stamps.begin(), config.stamps.end(),
                       [&](const auto& stamp) { return stamp.path == path && stamp.inode != 0; });
  };
  CHECK(watches(loaded, dir / "password"));
  CHECK(watches(loaded, dir / "c.yaml"));
  // And when the rest of the file is wrong: the next look is what mends it.
  write_text(dir / "c.yaml", read_text(dir / "c.yaml") + "tagz: 1\n");
  CHECK(watches(load_config(dir / "c.yaml", {.environment = nullptr}), dir / "password"));
}
