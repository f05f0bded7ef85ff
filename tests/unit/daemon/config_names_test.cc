// Other names and other addresses in the configuration: aliases and dns, and rules that contradict each
// other.
#include "daemon/config.h"
#include "daemon/settings_table.h"
#include "tests/support/catch.h"
#include "tests/unit/daemon/config_fixture.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test::config;

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
