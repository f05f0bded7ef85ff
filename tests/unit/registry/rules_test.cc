#include "proxy/registry/rules.h"

#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/pattern.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/rewrite.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {

MirrorEntry mirror(std::vector<std::string> endpoints, bool default_endpoint = true,
                   std::vector<std::pair<std::string, std::string>> rewrite = {}) {
  MirrorEntry entry;
  for (const auto& text : endpoints) entry.endpoints.push_back(*parse_endpoint(text));
  entry.default_endpoint = default_endpoint;
  entry.rewrite = std::move(rewrite);
  return entry;
}

HostSettingsPtr user(const std::string& name) {
  HostSettings settings;
  settings.credentials.username = name;
  settings.ca_file = "/ca/" + name;
  return std::make_shared<const HostSettings>(settings);
}

RulesPtr rules(std::map<std::string, MirrorEntry> mirrors,
               std::map<std::string, HostSettingsPtr> configs = {}, std::vector<std::string> allow = {"*"}) {
  auto made = Rules::make({std::move(mirrors), std::move(configs), std::move(allow)});
  REQUIRE(made);
  return *made;
}

// "base repository, base repository"
std::string plan(const RulesPtr& rules, std::string_view ns, std::string_view repository) {
  const auto target = rules->resolve(ns, repository);
  if (!target) return "error " + std::string(name_of(target.error().code));
  std::string text;
  for (const auto& endpoint : (*target)->endpoints) {
    REQUIRE(endpoint.settings);
    text += (text.empty() ? "" : ", ") + endpoint.base.str() + " " + endpoint.repository;
  }
  return text;
}

}  // namespace

TEST_CASE("a registry without an entry is asked at its own address, unconfigured") {
  const auto plain = rules({});
  CHECK(plan(plain, "docker.io", "library/nginx") == "https://registry-1.docker.io/v2 library/nginx");
  CHECK(plan(plain, "ghcr.io", "a/b") == "https://ghcr.io/v2 a/b");
  const auto target = *plain->resolve("index.docker.io", "library/nginx");
  CHECK(target->key() == "docker.io/library/nginx");
  CHECK_FALSE(target->endpoints[0].configured);
  CHECK(plan(plain, "not a host", "a") == "error invalid_request");
  CHECK(plan(plain, "ghcr.io", "A") == "error invalid_request");
}

TEST_CASE("mirror endpoints come in order, the registry's own last") {
  const auto two = rules({{"docker.io", mirror({"https://m1", "https://m2/v2/docker.io"})}});
  CHECK(plan(two, "docker.io", "library/a") ==
        "https://m1/v2 library/a, https://m2/v2/docker.io library/a, https://registry-1.docker.io/v2 "
        "library/a");
  CHECK((*two->resolve("docker.io", "library/a"))->endpoints[0].configured);
  CHECK((*two->resolve("docker.io", "library/a"))->endpoints[2].configured);
  CHECK(plan(two, "ghcr.io", "a") == "https://ghcr.io/v2 a");
  const auto closed = rules({{"docker.io", mirror({"https://m1"}, false)}});
  CHECK(plan(closed, "docker.io", "library/a") == "https://m1/v2 library/a");
  CHECK(plan(rules({{"docker.io", mirror({}, false)}}), "docker.io", "a") == "error refused_by_policy");
}

TEST_CASE("duplicates are dropped and the own address written last is not rewritten") {
  CHECK(plan(rules({{"ghcr.io", mirror({"https://m", "https://m:443/v2"})}}), "ghcr.io", "a") ==
        "https://m/v2 a, https://ghcr.io/v2 a");
  CHECK(plan(rules({{"ghcr.io", mirror({"https://m", "https://ghcr.io"}, true, {{"^", "x/"}})}}), "ghcr.io",
             "a") == "https://m/v2 x/a, https://ghcr.io/v2 a");
}

TEST_CASE("the star entry serves whoever has none of their own, patterns before it") {
  const auto made = rules({{"*", mirror({"https://any"})},
                           {"*.example.com", mirror({"https://wild"})},
                           {"a.example.com", mirror({"https://a"})}});
  CHECK(plan(made, "quay.io", "x") == "https://any/v2 x, https://quay.io/v2 x");
  CHECK(plan(made, "b.example.com", "x") == "https://wild/v2 x, https://b.example.com/v2 x");
  CHECK(plan(made, "a.example.com", "x") == "https://a/v2 x, https://a.example.com/v2 x");
  CHECK(plan(made, "x.y.example.com", "x") == "https://any/v2 x, https://x.y.example.com/v2 x");
  const auto target = *made->resolve("quay.io", "x");
  CHECK(target->endpoints[0].configured);
  CHECK_FALSE(target->endpoints[1].configured);
  CHECK(plan(rules({{"reg.io:443", mirror({"https://m"}, false)}}), "reg.io", "x") == "https://m/v2 x");
  CHECK(plan(rules({{"reg.io:5000", mirror({"https://m"}, false)}}), "reg.io", "x") == "https://reg.io/v2 x");
}

TEST_CASE("settings come from the endpoint's host, then the registry's name, then the star") {
  const auto made = rules({{"docker.io", mirror({"https://m:5000", "https://n"})}},
                          {{"m:5000", user("m")}, {"docker.io", user("hub")}, {"*", user("any")}});
  const auto target = *made->resolve("docker.io", "library/a");
  CHECK(target->endpoints[0].settings->credentials.username == "m");
  CHECK(target->endpoints[1].settings->credentials.username == "hub");
  CHECK(target->endpoints[2].settings->credentials.username == "hub");
  CHECK(made->settings_for("m", 5000)->credentials.username == "m");
  CHECK(made->settings_for("M", 5000)->credentials.username == "m");
  CHECK(made->settings_for("m", 5001)->credentials.username.empty());
  CHECK(made->settings_for("registry-1.docker.io", 443)->credentials.username == "hub");
}

TEST_CASE("credentials of the star are not sent where the client alone chose the host") {
  const auto made = rules({{"known.io", mirror({})}}, {{"*", user("any")}});
  const auto evil = (*made->resolve("evil.example", "a"))->endpoints[0];
  CHECK(evil.settings->credentials.empty());
  CHECK(evil.settings->ca_file == "/ca/any");
  CHECK((*made->resolve("known.io", "a"))->endpoints[0].settings->credentials.username == "any");
  CHECK(made->settings_for("evil.example", 443)->credentials.empty());
}

// rules: star-certificate
TEST_CASE("a client certificate of the star is not shown where the client alone chose the host") {
  HostSettings any;
  any.cert_file = "/c.crt";
  any.key_file = "/c.key";
  any.ca_file = "/ca";
  const auto made =
      rules({{"known.io", mirror({})}}, {{"*", std::make_shared<const HostSettings>(std::move(any))}});
  const auto evil = (*made->resolve("evil.example", "a"))->endpoints[0];
  CHECK(evil.settings->cert_file.empty());
  CHECK(evil.settings->key_file.empty());
  CHECK(evil.settings->ca_file == "/ca");
  CHECK(made->settings_for("evil.example", 443)->cert_file.empty());
  CHECK((*made->resolve("known.io", "a"))->endpoints[0].settings->cert_file == "/c.crt");
}

TEST_CASE("what the configuration names is configured and nothing else") {
  const auto made = rules(
      {{"docker.io", mirror({"https://m:5000"})}, {"*.corp", mirror({})}, {"*", mirror({"https://any"})}},
      {{"h.io", nullptr}}, {"*", "allowed.io", "docker.io"});
  CHECK(made->is_configured("m", 5000));
  CHECK_FALSE(made->is_configured("m", 443));
  CHECK(made->is_configured("any", 443));
  CHECK(made->is_configured("h.io", 443));
  CHECK(made->is_configured("harbor.corp", 443));
  CHECK(made->is_configured("registry-1.docker.io", 443));
  CHECK(made->is_configured("allowed.io", 443));
  CHECK_FALSE(made->is_configured("evil.io", 443));
  CHECK_FALSE(made->is_configured("169.254.169.254", 80));
  CHECK_FALSE(made->is_configured("localhost", 22));
}

TEST_CASE("as in k3s, the star entry serves neither who has an entry nor who has settings of its own") {
  // k3s: such a registry has a hosts.toml of its own, so that containerd does not read _default's.
  const auto made =
      rules({{"*", mirror({"https://any"})}, {"own.io", mirror({"https://own"})}, {"empty.io", mirror({})}},
            {{"login.io", user("x")}, {"bare.io", nullptr}, {"reg.io:5000", user("y")}});
  CHECK(plan(made, "own.io", "a") == "https://own/v2 a, https://own.io/v2 a");
  CHECK(plan(made, "login.io", "a") == "https://login.io/v2 a");
  CHECK(plan(made, "reg.io:5000", "a") == "https://reg.io:5000/v2 a");
  CHECK(plan(made, "reg.io", "a") == "https://any/v2 a, https://reg.io/v2 a");
  // Entries with nothing in them are dropped there, and so they change nothing here.
  CHECK(plan(made, "empty.io", "a") == "https://any/v2 a, https://empty.io/v2 a");
  CHECK(plan(made, "bare.io", "a") == "https://any/v2 a, https://bare.io/v2 a");
  CHECK((*made->resolve("empty.io", "a"))->endpoints[1].configured);
}

TEST_CASE("the own address ends the list unrewritten, except behind the star") {
  const std::vector<std::pair<std::string, std::string>> to_x = {{"^", "x/"}};
  CHECK(plan(rules({{"ghcr.io", mirror({"https://ghcr.io", "https://m"}, true, to_x)}}), "ghcr.io", "a") ==
        "https://ghcr.io/v2 x/a, https://m/v2 x/a, https://ghcr.io/v2 a");
  CHECK(plan(rules({{"*", mirror({"https://ghcr.io"}, true, to_x)}}), "ghcr.io", "a") ==
        "https://ghcr.io/v2 x/a, https://ghcr.io/v2 a");
  CHECK(plan(rules({{"ghcr.io", mirror({"https://ghcr.io"}, false, to_x)}}), "ghcr.io", "a") ==
        "https://ghcr.io/v2 x/a");
}

// rules: own-wherever-it-stands
TEST_CASE("the registry's own address is its own wherever it stands among the endpoints") {
  const auto own = [](const std::string& ns, std::vector<std::string> endpoints, bool default_endpoint,
                      std::vector<std::pair<std::string, std::string>> rewrite = {}) {
    const auto made = rules({{ns, mirror(std::move(endpoints), default_endpoint, std::move(rewrite))}});
    std::string text;
    const auto target = *made->resolve(ns, "team/app");
    for (const auto& endpoint : target->endpoints)
      if (endpoint.is_own)
        text += (text.empty() ? "" : ", ") + endpoint.base.str() + " " + endpoint.repository;
    return text;
  };
  for (const bool has_default : {true, false}) {
    CAPTURE(has_default);
    for (const auto& endpoints :
         std::vector<std::vector<std::string>>{{"https://ghcr.io", "https://m"},
                                               {"https://m", "ghcr.io", "https://n"},
                                               {"https://ghcr.io:443/v2/", "https://m"},
                                               {"https://m", "https://GHCR.io"}})
      CHECK(own("ghcr.io", endpoints, has_default) == "https://ghcr.io/v2 team/app");
    CHECK(own("ghcr.io:443", {"https://ghcr.io", "https://m"}, has_default) == "https://ghcr.io/v2 team/app");
    CHECK(own("reg:5000", {"https://reg:5000", "https://m"}, has_default) == "https://reg:5000/v2 team/app");
    for (const char* hub : {"https://docker.io", "https://registry-1.docker.io", "registry-1.docker.io:443"})
      CHECK(own("docker.io", {hub, "https://m"}, has_default) == "https://registry-1.docker.io/v2 team/app");
  }
  CHECK(own("docker.io", {"https://index.docker.io", "https://m"}, false) ==
        "https://index.docker.io/v2 team/app");
  CHECK(own("ghcr.io", {"https://ghcr.io", "https://m"}, true, {{"^", "x/"}}) ==
        "https://ghcr.io/v2 x/team/app, https://ghcr.io/v2 team/app");
  // Another scheme, port, path or host is another place.
  for (const char* other : {"http://ghcr.io", "http://ghcr.io:443", "https://ghcr.io:444",
                            "https://ghcr.io/v2/x", "https://ghcr.io.evil.example", "https://docker.io"})
    CHECK(own("ghcr.io", {other, "https://m"}, false) == "");
  // A loopback registry by TLS is the same registry; without, no client's credentials go there
  // (proxy/access_gate).
  CHECK(own("localhost:5000", {"https://localhost:5000", "https://m"}, false) ==
        "https://localhost:5000/v2 team/app");
  CHECK(is_docker_hub("index.docker.io"));
  CHECK(is_docker_hub("Docker.IO"));
  CHECK_FALSE(is_docker_hub("docker.io:5000"));
  CHECK_FALSE(is_docker_hub("quay.io"));
}

TEST_CASE("endpoints are read as k3s reads them: scheme, port, path, Docker Hub") {
  const std::pair<const char*, const char*> table[] = {
      {"https://m", "https://m/v2"},
      {"https://m/", "https://m/v2"},
      {"https://m/v2/", "https://m/v2"},
      {"m:5000", "https://m:5000/v2"},
      {"localhost:5000", "http://localhost:5000/v2"},
      {"localhost", "https://localhost/v2"},
      {"localhost:443", "https://localhost/v2"},
      {"127.0.0.1:5000", "http://127.0.0.1:5000/v2"},
      {"[::1]:5000", "http://[::1]:5000/v2"},
      {"10.0.0.1:5000", "https://10.0.0.1:5000/v2"},
      {"docker.io", "https://registry-1.docker.io/v2"},
      {"http://m:5050/docker.io", "http://m:5050/docker.io"},
      {"https://harbor.corp/v2/proxy", "https://harbor.corp/v2/proxy"}};
  for (const auto& [text, read] : table) {
    INFO(text);
    const auto url = parse_endpoint(text);
    REQUIRE(url);
    CHECK(url->str() == read);
  }
}

TEST_CASE("pattern keys: the exact name, then the longest pattern, then the star") {
  const auto made = rules({{"*", mirror({"https://any"}, false)},
                           {"**.example.com", mirror({"https://deep"}, false)},
                           {"*.example.com", mirror({"https://wild"}, false)},
                           {"*.eu.example.com", mirror({"https://eu"}, false)},
                           {"*.example.com:5000", mirror({"https://port"}, false)},
                           {"a.example.com", mirror({"https://a"}, false)}},
                          {{"**.example.com", user("deep")}, {"*.eu.example.com", user("eu")}});
  CHECK(plan(made, "a.example.com", "x") == "https://a/v2 x");
  CHECK(plan(made, "a.example.com:443", "x") == "https://a/v2 x");
  CHECK(plan(made, "b.eu.example.com", "x") == "https://eu/v2 x");
  CHECK(plan(made, "b.eu.example.com:443", "x") == "https://eu/v2 x");
  CHECK(plan(made, "b.us.example.com", "x") == "https://deep/v2 x");
  CHECK(plan(made, "example.com", "x") == "https://deep/v2 x");
  // Of "**.example.com" and "*.example.com" the first is the longer one.
  CHECK(plan(made, "b.example.com", "x") == "https://deep/v2 x");
  CHECK(plan(made, "b.example.com:5000", "x") == "https://port/v2 x");
  CHECK(plan(made, "b.example.com:6000", "x") == "https://any/v2 x");
  CHECK(made->settings_for("b.eu.example.com", 443)->credentials.username == "eu");
  CHECK(made->settings_for("example.com", 443)->credentials.username == "deep");
  CHECK(made->settings_for("b.eu.example.com", 5000)->credentials.empty());
}

TEST_CASE("names that dns knows and what aliases lead to are configured") {
  RulesInput input;
  input.aliases = {{"docker.io/nexus/**", "docker.nexus.local/**"},
                   {"hub.local", "nexus.corp:5000/hub"},
                   {"*.short/**", "*.long.corp/**"},
                   {"**/all/**", "**/every/**"}};
  input.dns_hosts = {"fixed.test"};
  input.dns_zones = {"cluster.local", ""};
  const auto made = *Rules::make(std::move(input));
  CHECK(made->is_configured("docker.nexus.local", 443));
  CHECK(made->is_configured("nexus.corp", 5000));
  CHECK_FALSE(made->is_configured("nexus.corp", 443));
  CHECK(made->is_configured("a.long.corp", 443));
  CHECK_FALSE(made->is_configured("a.short", 443));
  CHECK(made->is_configured("fixed.test", 30002));
  CHECK(made->is_configured("Nexus.platform.svc.Cluster.local", 5000));
  CHECK(made->is_configured("cluster.local", 443));
  CHECK_FALSE(made->is_configured("evilcluster.local", 443));
  CHECK_FALSE(made->is_configured("docker.io", 443));
  CHECK_FALSE(made->is_configured("10.0.0.1", 443));
  CHECK((*made->resolve("docker.io", "nexus/a"))->endpoints[0].configured);
  CHECK_FALSE((*made->resolve("ghcr.io", "all/a"))->endpoints[0].configured);
}

TEST_CASE("allow decides which registries may be asked at all") {
  const auto made = rules({}, {}, {"docker.io/library/**", "*.example.com"});
  CHECK(plan(made, "docker.io", "library/a") == "https://registry-1.docker.io/v2 library/a");
  CHECK(plan(made, "docker.io", "evil/a") == "error refused_by_policy");
  CHECK(plan(made, "a.example.com", "x") == "https://a.example.com/v2 x");
  CHECK(plan(made, "example.com", "x") == "error refused_by_policy");
  CHECK(plan(rules({}, {}, {}), "docker.io", "a") == "error refused_by_policy");
}

TEST_CASE("rewrites: in order, the first that changes counts, never on the own address") {
  const auto made =
      rules({{"docker.io", mirror({"https://m"}, true,
                                  {{"^nothing/", "x/"}, {"^library/(.*)$", "hub/$1"}, {"hub", "no"}})}});
  CHECK(plan(made, "docker.io", "library/a") ==
        "https://m/v2 hub/a, https://registry-1.docker.io/v2 library/a");
  const auto bad = rules({{"docker.io", mirror({"https://m"}, false, {{"^", "../"}})}});
  CHECK(plan(bad, "docker.io", "a") == "error config");
  const auto failed = Rules::make({{{"docker.io", mirror({"https://m"}, true, {{"(", "x"}})}}, {}, {"*"}});
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Errc::config);
  CHECK_THAT(failed.error().message, Catch::Contains("docker.io"));
}

TEST_CASE("replacements follow Go's syntax") {
  struct Row {
    const char* expression;
    const char* replacement;
    const char* before;
    const char* after;
  };
  const Row rows[] = {{"(.*)", "p/$1", "a/b", "p/a/b"},
                      {"^(.+)/(.+)$", "${2}x/$1", "a/b", "bx/a"},
                      {"^(.+)$", "p/$1x", "a", "p/"},
                      {"^(.+)$", "p$$1", "a", "p$1"},
                      {"^(?P<name>[a-z]+)/", "${name}1/", "ab/c", "ab1/c"},
                      {"^(.+)$", "$9x", "a", ""},
                      {"^(.+)$", "a$", "b", "a$"},
                      {"^(.+)$", "${1", "b", "${1"},
                      {"a", "b", "aXa", "bXb"},
                      {"a*", "-", "baac", "-b-c-"},
                      {"rancher/", "x/", "my/rancher/a", "my/x/a"}};
  for (const Row& row : rows) {
    INFO(row.expression << " -> " << row.replacement);
    const auto rewrites = Rewrites::compile({{row.expression, row.replacement}});
    REQUIRE(rewrites);
    CHECK(rewrites->apply(row.before) == row.after);
  }
  CHECK_FALSE(doubtful_replacement("(.*)", "$1x").empty());
  CHECK_THAT(doubtful_replacement("(.*)", "p/$1x"), Catch::Contains("${1}x"));
  CHECK(doubtful_replacement("(.*)", "${1}x").empty());
  CHECK(doubtful_replacement("(.*)", "$1/x").empty());
}

TEST_CASE("a rewrite that blows a name up stays bounded") {
  const auto rewrites = Rewrites::compile({{"a", std::string(1000, 'b')}});
  CHECK(rewrites->apply(std::string(255, 'a')).size() <= 1024);
  CHECK_FALSE(Rewrites::compile({{std::string(2000, 'a'), "b"}}).ok());
}

TEST_CASE("patterns: a star is one label or component, two are any number, captures by position") {
  struct Row {
    const char* pattern;
    const char* subject;
    bool matches;
    std::vector<std::string> captures;
  };
  const Row rows[] = {
      {"*", "any.thing:5/x/y", true, {"any.thing:5/x/y"}},
      {"**", "a/b", true, {"a/b"}},
      {"docker.io", "docker.io", true, {}},
      {"docker.io", "dockerxio", false, {}},
      {"Docker.io/a", "docker.io/a", true, {}},
      {"docker.io/nexus/**", "docker.io/nexus/a/b", true, {"a/b"}},
      {"docker.io/nexus/**", "docker.io/nexus", true, {""}},
      {"docker.io/nexus/**", "docker.io/nexusx", false, {}},
      {"docker.io/**", "docker.io", true, {""}},
      {"docker.io/**", "docker.io/a/b", true, {"a/b"}},
      {"docker.io/*", "docker.io/a/b", false, {}},
      {"docker.io/*/x", "docker.io/a/x", true, {"a"}},
      {"a.io/**/x", "a.io/x", true, {""}},
      {"a.io/**/x", "a.io/b/c/x", true, {"b/c"}},
      {"*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.eu-west-1.amazonaws.com", true, {"123", "eu-west-1"}},
      {"*.example.com", "example.com", false, {}},
      {"*.example.com", "a.b.example.com", false, {}},
      {"**.example.com", "example.com", true, {""}},
      {"**.example.com", "a.b.example.com", true, {"a.b"}},
      {"*.example.com", "a.example.com:5000", false, {}},
      {"nexus:8082/**", "nexus:8082/t", true, {"t"}},
      {"nexus:*/**", "nexus:8082/t", true, {"8082", "t"}},
      {"[::1]:5000/a", "[::1]:5000/a", true, {}},
      {"[::1]:*/**", "[::1]:5000/a", true, {"5000", "a"}},
      {"[::1]:*", "[::1]", false, {}},
      {"docker.io/a:v1", "docker.io/a:v1", true, {}},
      {"docker.io/**:v*", "docker.io/a/b:v1.2", true, {"a/b", "1.2"}},
      {"docker.io/team-*", "docker.io/team-a", true, {"a"}}};
  for (const Row& row : rows) {
    INFO(row.pattern << " ~ " << row.subject);
    const auto pattern = Pattern::compile(row.pattern);
    REQUIRE(pattern);
    const auto captures = pattern->match(row.subject);
    CHECK(captures.has_value() == row.matches);
    CHECK(pattern->matches(row.subject) == row.matches);
    if (captures && row.matches) CHECK(*captures == row.captures);
  }
  for (const char* bad : {"", "a b", "***", "a**", "x/**y", "/a", "a/", "a//b", "a(b)", "a\nb",
                          "[::*]:5000/a", "nexus:**/a", "a.io/x.**", "a.io/**.x"}) {
    INFO(bad);
    CHECK_FALSE(Pattern::compile(bad).ok());
  }
  CHECK_FALSE(Pattern::compile(std::string(600, 'a')).ok());
}
