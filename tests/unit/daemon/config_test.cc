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
#include "tests/support/tls_server.h"

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

TEST_CASE("aliases are read in their order") {
  const auto loaded = parse(R"(
aliases:
  - {from: "docker.io/nexus/**", to: "docker.nexus.local/**"}
  - {from: hub.local, to: "nexus.corp:5000/hub"}
mirrors:
  docker.nexus.local: {endpoint: ["https://nexus.platform.svc.cluster.local:5000"], default_endpoint: false}
)");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  CHECK(loaded.warnings.empty());
  const auto target = *loaded.settings->compiled_rules->resolve("docker.io", "nexus/admin-server");
  CHECK(target->key() == "docker.nexus.local/admin-server");
  CHECK(target->endpoints.size() == 1);
  CHECK((*loaded.settings->compiled_rules->resolve("hub.local", "a"))->key() == "nexus.corp:5000/hub/a");
  CHECK(parse("aliases: []").ok());
}

TEST_CASE("wrong aliases and dns settings are refused with place, cause and remedy") {
  struct Row {
    const char* text;
    const char* says;
  };
  const Row rows[] = {
      {"aliases: {a: b}", "c.yaml:1:10: aliases: a list of rules was expected, as [{from:"},
      {"aliases:\n- {from: a.io}", "c.yaml:2:3: aliases[1]: from and to were expected, as {from:"},
      {"aliases: [x]", "aliases[1]: from and to were expected"},
      {"aliases:\n- {from: a.io, to: b.io, too: c}", "unknown key \"aliases[1].too\"; did you mean \"to\"?"},
      {"aliases:\n- {from: a.io, to: [b.io]}", "aliases[1].to: a single value was expected"},
      {"aliases:\n- from: nexus/**\n  to: b.io/**",
       "c.yaml:2:9: aliases[1].from: \"nexus/**\" names no registry: write \"docker.io/nexus/**\""},
      {"aliases:\n- from: a.io/*\n  to: b.io/*/*", "c.yaml:3:7: aliases[1].to: \"b.io/*/*\" has 2 wildcards"},
      {"aliases:\n- from: a.io/x\n  to: B.io/X", "must be lower case"},
      {"mirrors: {\"**\": {}}", "for every registry write \"*\""},
      {"configs: {\"*.io/team\": {}}", "without a path; for some of its repositories write an alias"},
      {"dns: {zone: {}}", "unknown key \"dns.zone\"; did you mean \"zones\"?"},
      {"dns: {zones: [x]}", "dns.zones: names with addresses were expected"},
      {"dns:\n  zones:\n    cluster.local: kube-dns",
       "c.yaml:3:20: dns.zones.\"cluster.local\": \"kube-dns\" is not the address of a DNS server"},
      {"dns: {zones: {cluster.local: 10.43.0.300}}", "10.43.0.10:5353 or \"[fd00::10]:5353\""},
      {"dns: {zones: {cluster.local: \"10.43.0.10:0\"}}", "is not the address of a DNS server"},
      {"dns: {zones: {cluster.local: \"fd00::10:99999\"}}", "is not the address of a DNS server"},
      {"dns: {zones: {cluster.local: []}}", "at least one address is needed"},
      {"dns: {zones: {\"*.cluster.local\": 10.43.0.10}}",
       "write \"cluster.local\": all names below it are meant anyway"},
      {"dns: {zones: {\"a b\": 10.43.0.10}}", "this is not a domain"},
      {"dns: {zones: {10.0.0.0: 10.43.0.10}}", "this is not a domain"},
      {"dns: {zones: {a.b: 1.1.1.1, A.B.: 1.1.1.2}}", "the same name stands in line 1 already"},
      {"dns: {zones: {a.b: [1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9]}}",
       "at most 8"},
      {"dns: {hosts: {nexus.local: nexus.corp}}",
       "\"nexus.corp\" is not an address: IPv4 or IPv6 without a port"},
      {"dns: {hosts: {nexus.local: \"10.0.0.1:5000\"}}", "the port belongs to the endpoint in mirrors"},
      {"dns: {hosts: {\"nexus.local:5000\": 10.0.0.1}}", "write the name without its port: \"nexus.local\""},
      {"dns: {hosts: {\"https://nexus.local\": 10.0.0.1}}", "without https:// and path"},
      {"dns: {hosts: {\"*.local\": 10.0.0.1}}", "stand in dns.zones"},
      {"dns: {hosts: {10.0.0.2: 10.0.0.1}}", "this is an address already"},
      {"dns: {hosts: {a..b: 10.0.0.1}}", "this is not a host name"},
      {"dns: {search: [\"a b\"]}", "\"a b\" is not a domain"}};
  for (const Row& row : rows) {
    INFO(row.text);
    const auto loaded = parse(row.text);
    CHECK_FALSE(loaded.ok());
    CHECK_THAT(all(loaded.errors), Catch::Contains(row.says));
  }
}

TEST_CASE("rules that contradict each other are warned of with both lines") {
  const auto dead = parse(
      "aliases:\n- {from: \"docker.io/**\", to: \"a.io/**\"}\n- {from: \"docker.io/nexus/**\", to: "
      "\"b.io/**\"}\n");
  REQUIRE(dead.ok());
  CHECK_THAT(all(dead.warnings),
             Catch::Contains("c.yaml:3:3: aliases[2]: {from") && Catch::Contains("in line 3 is never used") &&
                 Catch::Contains("docker.io/**") && Catch::Contains("in line 2 stands before it"));
  const auto twice = parse("aliases:\n- {from: a.io, to: b.io}\n- {from: A.io, to: c.io}\n");
  CHECK_THAT(all(twice.warnings), Catch::Contains("line 3 is never used"));
  const auto lost = parse("aliases:\n- {from: \"a.io/**\", to: b.io/x}\n");
  CHECK_THAT(all(lost.warnings), Catch::Contains("c.yaml:2:25: aliases[1].to: ") &&
                                     Catch::Contains("all these names become one"));
  const auto behind = parse(
      "registries_file: /k3s.yaml\naliases: [{from: a.io, to: b.io}]\nmirrors:\n  A.io: {endpoint: "
      "[\"https://m\"]}\n",
      "mirrors: {a.io: {}, \"a.io:5000\": {}, b.io: {}}");
  REQUIRE(behind.ok());
  CHECK_THAT(all(behind.warnings),
             Catch::Contains("c.yaml:4:3: mirrors.\"A.io\" is not used") &&
                 Catch::Contains("/k3s.yaml:1:11: mirrors.\"a.io\" is not used for what clients ask") &&
                 !Catch::Contains("mirrors.\"a.io:5000\"") && !Catch::Contains("mirrors.\"b.io\""));
  CHECK(parse("aliases:\n- {from: \"docker.io/nexus/**\", to: \"a.io/**\"}\n- {from: \"docker.io/**\", to: "
              "\"b.io/**\"}\nmirrors: {docker.io: {}}\n")
            .warnings.size() == 1);  // the mirror alone
}

TEST_CASE("dns settings take lists and single values, ports and brackets") {
  const auto loaded = parse(R"(
dns:
  zones:
    cluster.local: [10.43.0.10, "10.43.0.11:5353", fd00::10, "[fd00::11]:5353"]
    Corp.Example.: 192.168.1.1
    ".": 9.9.9.9
  hosts:
    Docker.Nexus.local: 192.168.10.100
    both.local: ["[fd00::5]", 10.0.0.5, 10.0.0.5]
  search: platform.svc.cluster.local
)");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  CHECK_THAT(all(loaded.warnings), Catch::Contains("10.0.0.5 is there twice"));
  const DnsSettings& dns = loaded.settings->dns;
  using Words = std::vector<std::string>;
  REQUIRE(dns.zones.size() == 3);
  CHECK(dns.zones[0].first == "cluster.local");
  CHECK(dns.zones[0].second == Words{"10.43.0.10:53", "10.43.0.11:5353", "[fd00::10]:53", "[fd00::11]:5353"});
  CHECK(dns.zones[1].first == "corp.example");
  CHECK(dns.zones[1].second == Words{"192.168.1.1:53"});
  CHECK(dns.zones[2].first.empty());
  CHECK(dns.hosts.at("docker.nexus.local") == Words{"192.168.10.100"});
  CHECK(dns.hosts.at("both.local") == Words{"fd00::5", "10.0.0.5"});
  CHECK(dns.search == Words{"platform.svc.cluster.local"});
  CHECK(loaded.settings->compiled_rules->is_configured("docker.nexus.local", 5000));
  CHECK(loaded.settings->compiled_rules->is_configured("nexus.platform.svc.cluster.local", 5000));
  CHECK_FALSE(loaded.settings->compiled_rules->is_configured("evil.io", 443));
  const auto again = parse(print_settings(*loaded.settings));
  INFO(print_settings(*loaded.settings) << all(again.errors));
  REQUIRE(again.ok());
  CHECK(again.settings->dns == dns);
  CHECK(parse("dns: {}").ok());
  CHECK_THAT(all(parse("dns: {hosts: {docker.io: 10.0.0.1}}").warnings),
             Catch::Contains("registry-1.docker.io"));
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
      "aliases: [{from: \"docker.io/nexus/**\", to: \"n.io/**\"}, {from: h.io, to: i.io}]\n"
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
  const auto ca = folder.write("ca", test::Identity::make({.is_authority = true}).certificate);
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

// Red if only the folder that the bad file names is looked at, or whose configuration it was is not.
TEST_CASE("the last good configuration of a file is found however the file went bad, and no other file's") {
  Folder store, state;
  const auto path = store.write("c.yaml", "workers: 3\ncache: {path: " + store.path + "}\n");
  const auto loaded = load_config(path);
  REQUIRE(loaded.ok());
  ::setenv("STATE_DIRECTORY", state.path.c_str(), 1);
  REQUIRE(save_last_good_everywhere(store.path, loaded.sources));
  for (Folder* folder : {&store, &state}) folder->files.push_back(folder->path + "/last-good-config.json");
  const auto workers = [&](const std::string& asked) {
    const auto found = find_last_good(asked, true);
    return found ? found->settings->workers : 0;
  };
  for (const std::string text :
       {"cache: {path: relative}", "cache: {pth: /x}", "cache: [", "cache: {path: /nowhere}"}) {
    store.write("c.yaml", text);
    CHECK(workers(path) == 3);
  }
  ::unlink(path.c_str());
  CHECK(workers(path) == 3);
  CHECK(workers(store.path + "/other.yaml") == 0);
  ::unsetenv("STATE_DIRECTORY");
  CHECK(workers(path) == 0);
  store.write("c.yaml", "cache: {path: " + store.path + "}\nwrong: 1\n");
  CHECK(workers(path) == 3);
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

TEST_CASE("the configurations shown in README.md and docs/names.md are valid") {
  for (const char* file : {"/README.md", "/docs/names.md"}) {
    INFO(file);
    std::ifstream in(std::string(LAYERD_SOURCE_DIR) + file);
    std::stringstream text;
    text << in.rdbuf();
    const std::string page = text.str();
    int found = 0;
    for (auto at = page.find("```yaml\n"); at != std::string::npos; at = page.find("```yaml\n", at + 1)) {
      const std::string block = page.substr(at + 8, page.find("\n```", at) - at - 7);
      const ReadText none = [](const std::string&) -> Result<std::string> { return std::string(); };
      const auto loaded = parse_config("c.yaml", block, none, {.must_exist = true, .check_files = false});
      INFO(block << all(loaded.errors));
      CHECK(loaded.ok());
      ++found;
    }
    CHECK(found > 0);
  }
}
