// The configuration as a whole: the defaults, what every key takes, and how what is wrong is refused.
#include "daemon/config.h"

#include "daemon/config_values.h"
#include "daemon/settings_table.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/config_fixture.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test::config;

TEST_CASE("without a file the built-in defaults serve") {
  const auto loaded = load_config("/nonexistent/config.yaml", {.must_exist = false});
  REQUIRE(loaded.ok());
  CHECK(loaded.settings->listen == std::vector<ListenAddress>{{"127.0.0.1", 5151}});
  CHECK(loaded.settings->cache_max_size.str() == "20%");
  CHECK(loaded.settings->tags_fresh_for == std::chrono::seconds(2));
  CHECK_FALSE(loaded.settings->tags_check_within);
  CHECK(loaded.settings->compiled_rules);
  const auto named = load_config("/nonexistent/config.yaml");
  REQUIRE_FALSE(named.ok());
  CHECK_THAT(all(named.errors), Catch::Contains("/nonexistent/config.yaml"));
  CHECK(parse("").ok());
  CHECK(parse("# nothing\n").ok());
}

TEST_CASE("every key of this version is taken") {
  const auto loaded = parse(R"(
listen: ["127.0.0.1:5151", "[::1]:5151"]
admin: {socket: /run/x.sock, listen: "0.0.0.0:9100"}
cache: {path: /data, max_size: 1.5GiB, min_free: 10%}
tags: {fresh_for: 10m, check_within: 250ms, immutable: ["docker.io/library/**:v1"]}
allow: ["docker.io", "*.example.com"]
offline: true
limits: {connections_per_registry: 16, connections: 64}
timeouts: {connect: 1s, answer: 2s, stall: 3s}
workers: 4
drain: 0
log: {level: warn, format: json}
)");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  CHECK(loaded.warnings.empty());
  const Settings& s = *loaded.settings;
  CHECK(s.listen.size() == 2);
  CHECK(s.listen[1].str() == "[::1]:5151");
  CHECK(s.admin_socket == "/run/x.sock");
  CHECK(s.admin_listen->port == 9100);
  CHECK(s.cache_path == "/data");
  CHECK(s.cache_max_size.of(0) == 1610612736u);
  CHECK(s.cache_min_free.of(1000) == 100u);
  CHECK(s.tags_fresh_for == std::chrono::minutes(10));
  CHECK(s.tags_check_within == std::chrono::milliseconds(250));
  CHECK(s.is_immutable_tag("docker.io/library/a", "v1"));
  CHECK_FALSE(s.is_immutable_tag("docker.io/library/a", "v2"));
  CHECK(s.offline);
  CHECK(s.connections_per_registry == 16);
  CHECK(s.client_connections == 64);
  CHECK(s.connect_timeout == std::chrono::seconds(1));
  CHECK(s.answer_timeout == std::chrono::seconds(2));
  CHECK(s.stall_timeout == std::chrono::seconds(3));
  CHECK(s.workers == 4);
  CHECK(s.drain == Duration::zero());
  CHECK(s.log_level == LogLevel::warn);
  CHECK(s.log_format == log::Format::json);
  CHECK_FALSE(s.compiled_rules->resolve("quay.io", "a").ok());
}

// rules: unknown-key
TEST_CASE("a wrong configuration is refused with place, cause and the nearest valid thing") {
  struct Row {
    const char* text;
    const char* says;
  };
  const Row rows[] = {
      {"cahce: {}", "c.yaml:1:1: unknown key \"cahce\"; did you mean \"cache\"?"},
      {"cache:\n  max_sise: 1GiB", "c.yaml:2:3: unknown key \"cache.max_sise\"; did you mean \"max_size\"?"},
      {"cache: {zzzzzz: 1}", "possible here: path, max_size, min_free"},
      {"cache: 5", "c.yaml:1:8: cache: keys with values"},
      {"cache: {max_size: 20GiBB}", "a size or a share"},
      {"cache: {max_size: 0%}", "share of the file system"},
      {"cache: {max_size: 101%}", "share of the file system"},
      {"cache: {max_size: -5GiB}", "a size or a share"},
      {"cache: {path: relative}", "absolute path"},
      {"tags: {fresh_for: 2}", "a duration"},
      {"tags: {fresh_for: 48h}", "out of range"},
      {"tags: {check_within: soon}", "a duration"},
      {"tags: {immutable: x}", "a list was expected"},
      {"listen: nowhere", "an address to listen on"},
      {"listen: 127.0.0.1:99999", "an address to listen on"},
      {"listen: []", "at least one address"},
      {"listen: [\"127.0.0.1:1\", \"127.0.0.1:1\"]", "twice"},
      {"offline: maybe", "true or false"},
      {"workers: 9", "a whole number from 1 to 8"},
      {"workers: [1]", "a single value was expected, this is a list"},
      {"log: {level: inf}", "did you mean \"info\"?"},
      {"allow: [\"a b\"]", "character that no name has"},
      {"a: [", "this is not YAML"},
      {"\tx: 1", "this is not YAML"},
      {"- a", "keys with values"},
      {"offline: true\noffline: false", "c.yaml:2:1: the key \"offline\" is there twice, first in line 1"},
      {"cache: &a {path: /x}\ntags:\n  <<: *a", "c.yaml:3:3: a merge (<<)"},
      {"? [a]\n: 1", "a key must be a plain text"},
      {"offline: true\n---\noffline: false", "second document"},
      {"mirrors: {docker.io: {endpoint: https://x}}", "a list was expected"},
      {"mirrors: {docker.io: {endpoint: [\"ftp://x\"]}}", "only https and http"},
      {"mirrors: {docker.io: {rewrite: {\"(\": x}}}", "no regular expression"},
      {"mirrors: {\"https://x\": {}}", "without https://"},
      {"mirrors: [docker.io]", "registry names"},
      {"configs: {x: {tls: {ca_file: /nonexistent/ca}}}", "/nonexistent/ca"},
      {"configs: {x: {tls: {ca_file: /tmp}}}", "is a folder"},
      {"configs: {x: {tls: {cert_file: /dev/null}}}", "belong together"},
      {"configs: {x: {tls: {insecure_skip_verify: perhaps}}}", "true or false"},
      {"configs: {x: {auth: {auth: \"%%%\"}}}", "base64 of user:password"},
      {"configs: {x: {auth: {username: u, password_file: /nonexistent/pw}}}", "/nonexistent/pw"}};
  for (const Row& row : rows) {
    INFO(row.text);
    const auto loaded = parse(row.text);
    CHECK_FALSE(loaded.ok());
    CHECK_FALSE(loaded.settings);
    CHECK_THAT(all(loaded.errors), Catch::Contains(row.says));
  }
}

TEST_CASE("all errors are reported, not only the first") {
  const auto loaded = parse("cahce: 1\nworkers: x\noffline: y\n");
  CHECK(loaded.errors.size() == 3);
}

TEST_CASE("access is read with its patterns and users, and what makes no sense is refused") {
  const auto loaded = parse(
      "access: {challenge_ping: true, recheck: 1m, grant: 2m, offline_grace: 0s, runtime_uids: [0, 1000], "
      "require_client: [\"ghcr.io/secret/**\"]}");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  const auto& access = loaded.settings->access;
  CHECK(access.challenge_ping);
  CHECK(access.recheck == std::chrono::minutes(1));
  CHECK(access.grant == std::chrono::minutes(2));
  CHECK(access.offline_grace == Duration::zero());
  CHECK((access.is_runtime_uid(0) && access.is_runtime_uid(1000) && !access.is_runtime_uid(1)));
  CHECK((access.requires_client("ghcr.io/secret/a/b") && !access.requires_client("ghcr.io/open")));
  const auto again = parse(print_settings(*loaded.settings));
  REQUIRE(again.ok());
  CHECK(print_settings(*again.settings) == print_settings(*loaded.settings));
  CHECK(parse("").settings->access.runtime_uids == std::vector<uid_t>{0});
  CHECK(parse("access: {runtime_uids: []}").settings->access.runtime_uids.empty());
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"access: {runtime_uids: [root]}", "user numbers"},
           {"access: {runtime_uids: [65534]}", "nobody"},
           {"access: {require_client: [\"a b\"]}", "require_client"},
           {"access: {challenge_pings: true}", "challenge_ping"},
           {"access: {recheck: 0s}", "1s to 1d"}}) {
    CAPTURE(text);
    const auto wrong = parse(text);
    CHECK_FALSE(wrong.ok());
    CHECK_THAT(all(wrong.errors), Catch::Contains(words));
  }
}

TEST_CASE("keys of later versions are refused by name, never ignored") {
  for (const char* text : {"admin: {password_file: /x}"}) {
    INFO(text);
    const auto loaded = parse(text);
    REQUIRE_FALSE(loaded.ok());
    CHECK_THAT(all(loaded.errors),
               Catch::Contains("not supported by this version of layerd") && Catch::Contains("remove it"));
  }
}

TEST_CASE("bombs are bounded: nesting, aliases, size") {
  std::string deep(200, '[');
  CHECK_FALSE(parse("allow: " + deep).ok());
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) bomb += ", " + before;
    bomb += "]\n";
  }
  CHECK_THAT(all(parse(bomb).errors), Catch::Contains("aliases written out"));
  CHECK_THAT(all(parse(std::string(kMostConfigBytes + 1, '#')).errors), Catch::Contains("bytes"));
  CHECK_FALSE(parse(std::string("a\0b", 3)).ok());
}

TEST_CASE("sizes, durations and base64 are read exactly") {
  CHECK(*parse_size("20GiB") == 20_GiB);
  CHECK(*parse_size("500MB") == 500000000u);
  CHECK(*parse_size("4096") == 4096u);
  CHECK(*parse_size("1.5 KiB") == 1536u);
  for (const char* bad :
       {"", "GiB", "0", "-1", "1e9", "1gib", "20 %", "9999999TiB", "1..5GiB", ".5GiB", "0x10"})
    CHECK_FALSE(parse_size(bad).ok());
  CHECK(*parse_duration("250ms") == std::chrono::milliseconds(250));
  CHECK(*parse_duration("1.5h") == std::chrono::minutes(90));
  CHECK(*parse_duration("0") == Duration::zero());
  for (const char* bad : {"", "2", "2sec", "-1s", "1h30m", "99999d"}) CHECK_FALSE(parse_duration(bad).ok());
  CHECK(*decode_base64("dXNlcjpwYXNz") == "user:pass");
  CHECK(*decode_base64("dTpw") == "u:p");
  CHECK(*decode_base64("dTpwcA") == "u:pp");
  CHECK_FALSE(decode_base64("a b").ok());
  CHECK(size_text(20_GiB) == "20GiB");
  CHECK(duration_text(std::chrono::milliseconds(1500)) == "1500ms");
}
