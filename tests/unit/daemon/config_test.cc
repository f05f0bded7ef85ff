#include "daemon/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "daemon/config_values.h"
#include "daemon/last_good.h"
#include "daemon/settings_table.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::daemon;

namespace {

// A folder that goes away with its files.
struct Folder {
  Folder() {
    char name[] = "/tmp/layerd-config-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() {
    for (const auto& file : files) ::unlink(file.c_str());
    ::rmdir(path.c_str());
  }
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0600) {
    files.push_back(path + "/" + name);
    std::ofstream(files.back()) << text;
    ::chmod(files.back().c_str(), mode);
    return files.back();
  }
  std::string path;
  std::vector<std::string> files;
};

LoadedConfig parse(const std::string& text, const std::string& registries = {}) {
  const ReadText read = [&](const std::string&) -> Result<std::string> { return registries; };
  return parse_config("c.yaml", text, read);
}

std::string all(const std::vector<Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.str() + "\n";
  return text;
}

const registry::HostSettings& host(const LoadedConfig& loaded, const std::string& name) {
  REQUIRE(loaded.ok());
  return *loaded.settings->rules.configs.at(name);
}

}  // namespace

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

TEST_CASE("keys of later versions are refused by name, never ignored") {
  for (const char* text :
       {"aliases: []", "access: {recheck: 1m}", "dns: {}", "proxy: {}", "peers: {listen: x}",
        "limits: {download: 50Mbit}", "limits: {upload: 1}", "limits: {site_download: 1}",
        "tags: {from_peers: never}", "admin: {password_file: /x}"}) {
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

TEST_CASE("what is printed holds no secret and reads back as the same configuration") {
  Folder folder;
  const auto secret = folder.write("pw", "hunter2");
  const std::string text =
      "listen: \"[::1]:0\"\ncache: {max_size: 5GB}\nmirrors: {docker.io: {endpoint: [\"https://m:5000/v2\"], "
      "rewrite: "
      "{\"^a\\\\.(.*)\": \"b/$1\"}, default_endpoint: false}}\nconfigs:\n  a.io: {auth: {username: u, "
      "password: "
      "hunter2}}\n  b.io: {auth: {identity_token: hunter2}}\n  c.io: {auth: {auth: dTpodW50ZXIy}}\n  d.io: "
      "{auth: "
      "{username: u, password_file: " +
      secret + "}}\n";
  const auto loaded = parse(text);
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  const std::string printed = print_settings(*loaded.settings);
  INFO(printed);
  CHECK(printed.find("hunter2") == std::string::npos);
  CHECK(printed.find("****") != std::string::npos);
  const auto again = parse(printed);
  INFO(all(again.errors));
  REQUIRE(again.ok());
  CHECK(print_settings(*again.settings) == printed);
  CHECK(again.settings->rules.mirrors.at("docker.io").rewrite[0].first == "^a\\.(.*)");
  for (const auto& problem : parse(text + "wrong: hunter3\n").errors)
    CHECK(problem.message.find("hunter") == std::string::npos);
}

TEST_CASE("the last good configuration is kept closed and comes back although its files are gone") {
  Folder folder;
  const auto ca = folder.write("ca", "x");
  const auto path = folder.write("c.yaml", "workers: 3\nregistries_file: " + folder.path + "/r.yaml\n");
  folder.write("r.yaml", "configs: {a.io: {tls: {ca_file: " + ca + "}}}\n");
  CHECK(load_last_good(folder.path).error().code == Errc::not_found);
  const auto loaded = load_config(path);
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  REQUIRE(save_last_good(folder.path, loaded.sources));
  const std::string saved = folder.path + "/last-good-config.json";
  folder.files.push_back(saved);
  struct stat info {};
  REQUIRE(::stat(saved.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  for (const auto& name : {ca, path, folder.path + "/r.yaml"}) ::unlink(name.c_str());
  const auto back = load_last_good(folder.path);
  REQUIRE(back);
  CHECK(back->settings->workers == 3);
  CHECK(back->settings->rules.configs.at("a.io")->ca_file == ca);
  CHECK_THAT(all(back->warnings), Catch::Contains(ca));
  std::ifstream in(saved);
  std::stringstream text;
  text << in.rdbuf();
  std::string changed = text.str();
  changed.replace(changed.find("workers: 3"), 10, "workers: 4");
  std::ofstream(saved) << changed;
  CHECK(load_last_good(folder.path).error().code == Errc::config);
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

TEST_CASE("docs/settings.md is what the table says") {
  std::ifstream in(std::string(LAYERD_SOURCE_DIR) + "/docs/settings.md");
  std::stringstream text;
  text << in.rdbuf();
  CHECK(text.str() == settings_markdown());
}
