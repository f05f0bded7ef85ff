// `credentials` and the auth part of `configs`.
#include <sys/stat.h>

#include "daemon/config.h"
#include "daemon/settings_table.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test;

namespace {

LoadedConfig parse(const std::string& text) {
  return parse_config("c.yaml", text,
                      [](const std::string&) -> Result<std::string> { return std::string(); });
}

std::string all(const std::vector<Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.str() + "\n";
  return text;
}

struct Folder : TempDir {
  std::string put(const std::string& name, const std::string& text, mode_t mode = 0600) {
    write_text(*this / name, text);
    ::chmod((*this / name).c_str(), mode);
    return *this / name;
  }
};

const registry::Credentials& login(const LoadedConfig& loaded, const std::string& host) {
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  return loaded.settings->rules.configs.at(host)->credentials;
}

}  // namespace

TEST_CASE("docker configs and helpers are taken in the order written and watched") {
  Folder folder;
  const auto one = folder.put("one.json", R"({"auths": {"a.io": {"auth": "dTpw"}}})");
  const auto two = folder.put("two.json", "{}");
  const auto program = folder.put("helper", "#!/bin/sh\n", 0755);
  const auto loaded =
      parse("credentials:\n  docker_config: [" + one + ", " + two +
            "]\n  helpers:\n    - {match: \"*.dkr.ecr.*.amazonaws.com\", helper: " + program +
            ", args: [-v], env: {AWS_PROFILE: hunter2}}\n    - {match: \"gcr.io/**\", helper: " + program +
            ", kind: kubelet}\n");
  INFO(all(loaded.errors) << all(loaded.warnings));
  REQUIRE(loaded.ok());
  CHECK(loaded.warnings.empty());
  const auto& credentials = loaded.settings->credentials;
  CHECK(credentials.docker_configs == std::vector<std::string>{one, two});
  REQUIRE(credentials.helpers.size() == 2);
  CHECK(credentials.helpers[0].match.matches("1.dkr.ecr.eu-west-1.amazonaws.com"));
  CHECK(credentials.helpers[0].kind == registry::HelperKind::docker);
  CHECK(credentials.helpers[0].arguments == std::vector<std::string>{"-v"});
  CHECK(credentials.helpers[0].environment.at(0).second == "hunter2");
  CHECK(credentials.helpers[1].kind == registry::HelperKind::kubelet);
  CHECK(std::count(loaded.files.begin(), loaded.files.end(), one) == 1);
  const auto printed = print_settings(*loaded.settings);
  INFO(printed);
  CHECK(printed.find("hunter2") == std::string::npos);
  const auto again = parse(printed);
  INFO(all(again.errors));
  REQUIRE(again.ok());
  CHECK(print_settings(*again.settings) == printed);
  CHECK(parse("credentials: {docker_config: " + one + "}").settings->credentials.docker_configs.size() == 1);
}

TEST_CASE("a wrong source of credentials is refused with its place and what would be right") {
  Folder folder;
  const auto broken = folder.put("broken.json", "{\n\"auths\": hunter2}");
  struct Row {
    std::string text;
    const char* says;
  };
  const Row rows[] = {
      {"credentials: {docker_config: [relative]}",
       "c.yaml:1:31: credentials.docker_config: \"relative\" must be an absolute"},
      {"credentials: {docker_config: [/nonexistent/d.json]}", "/nonexistent/d.json"},
      {"credentials: {docker_config: [" + broken + "]}",
       "broken.json: no JSON: broken at byte 12 (line 2, column 10)"},
      {"credentials: {docker_config: {a: b}}", "a list was expected"},
      {"credentials: {docker_configs: []}", "did you mean \"docker_config\"?"},
      {"credentials: {helpers: ecr-login}", "a list of {match: pattern, helper: name} was expected"},
      {"credentials: {helpers: [ecr-login]}", "credentials.helpers[0]: keys with values"},
      {"credentials: {helpers: [{match: \"*\"}]}",
       "credentials.helpers[0]: match and helper are both needed"},
      {"credentials: {helpers: [{helper: sh}]}", "match and helper are both needed"},
      {"credentials: {helpers: [{match: \"*\", helper: }]}", "match and helper are both needed"},
      {"credentials: {helpers: [null]}", "match and helper are both needed"},
      {"credentials: {helpers: [{match: \"a b\", helper: sh}]}", "character that no name has"},
      {"credentials: {helpers: [{match: \"*\", helper: \"../x\"}]}", "neither the name of a helper"},
      {"credentials: {helpers: [{match: \"*\", helper: \"a;b\"}]}", "neither the name of a helper"},
      {"credentials: {helpers: [{match: \"*\", helper: /nonexistent/h}]}", "/nonexistent/h cannot be run"},
      {"credentials: {helpers: [{match: \"*\", helper: sh, kind: kublet}]}", "did you mean \"kubelet\"?"},
      {"credentials: {helpers: [{match: \"*\", helper: sh, environment: {}}]}",
       "possible here: match, helper, kind"},
      {"credentials: {helpers: [{match: \"*\", helper: sh, env: [A]}]}", "NAME: value was expected"},
      {"configs: {a.io: {auth: {username: \"a:b\", password: hunter2}}}", "auth.username holds a colon"},
      {"configs: {a.io: {auth: {token: \"hunter2 x\"}}}", "auth.token holds a space"}};
  for (const auto& row : rows) {
    INFO(row.text);
    const auto loaded = parse(row.text);
    CHECK_FALSE(loaded.ok());
    CHECK_THAT(all(loaded.errors), Catch::Contains(row.says));
    CHECK(all(loaded.errors).find("hunter2") == std::string::npos);
  }
}

TEST_CASE("what is doubtful in a docker config is a warning that shows no secret") {
  Folder folder;
  const auto file = folder.put("d.json", R"({"auths": {"a.io": {"password": "hunter2"}, "b.io": {}}})", 0644);
  const auto loaded =
      parse("credentials: {docker_config: [" + file + "], helpers: [{match: \"*.x.io\", helper: nowhere}]}");
  REQUIRE(loaded.ok());
  const auto said = all(loaded.warnings);
  CHECK_THAT(said, Catch::Contains("every user can read " + file));
  CHECK_THAT(said, Catch::Contains("auths.\"a.io\" is not used: it has a password and no user name"));
  CHECK_THAT(said, Catch::Contains("auths.\"b.io\" is not used: it has neither `auth` nor"));
  CHECK_THAT(said, Catch::Contains("docker-credential-nowhere is not installed"));
  CHECK(said.find("hunter2") == std::string::npos);
}

TEST_CASE("k3s's token is taken with a warning and sent as Bearer, masked when printed") {
  const auto loaded = parse("configs: {a.io: {auth: {token: hunter2}}}");
  CHECK(login(loaded, "a.io").registry_token == "hunter2");
  CHECK_THAT(all(loaded.warnings), Catch::Contains("k3s ignores this key"));
  CHECK(print_settings(*loaded.settings).find("hunter2") == std::string::npos);
}

TEST_CASE("special characters of a password arrive as they are written") {
  Folder folder;
  const std::string odd = "p$ss!@#%&*(){}[]|\\;:'\"<>,?/`~ä €";
  const auto file = folder.put("pw", odd + "\r\n");
  CHECK(login(parse("configs: {a.io: {auth: {username: robot$x+y, password_file: " + file + "}}}"), "a.io")
            .password == odd);
  CHECK(login(parse("configs:\n  a.io:\n    auth:\n      username: \"name@aliyun.com\"\n      password: "
                    "'$x!@''\"'\n"),
              "a.io")
            .password == "$x!@'\"");
}

TEST_CASE("a stray line break at the end of a secret is left out with a warning") {
  Folder folder;
  for (const char* auth : {"username: u\n      password: |\n        pw\n", "auth: dTpwdwo=\n"}) {
    const auto loaded = parse(std::string("configs:\n  a.io:\n    auth:\n      ") + auth);
    CHECK(login(loaded, "a.io").password == "pw");
    CHECK_THAT(all(loaded.warnings), Catch::Contains("ended with a line break"));
  }
  // A key of many lines is a password as well; many lines of something else are doubtful.
  const auto key = folder.put("key", "{\n \"type\": \"service_account\"\n}\n");
  const auto with_key = parse("configs: {gcr.io: {auth: {username: _json_key, password_file: " + key + "}}}");
  CHECK(login(with_key, "gcr.io").password == "{\n \"type\": \"service_account\"\n}");
  CHECK(with_key.warnings.empty());
  const auto lines = folder.put("lines", "one\ntwo\n");
  CHECK_THAT(all(parse("configs: {a.io: {auth: {username: u, password_file: " + lines + "}}}").warnings),
             Catch::Contains("has several lines"));
}
