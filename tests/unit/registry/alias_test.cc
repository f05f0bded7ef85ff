// Aliases: which names become which, and what is refused and why.
#include "proxy/registry/alias.h"

#include <random>

#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/near_misses.h"
#include "proxy/registry/rules.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {

// "registry/repository" after the first rule that fits.
std::string renamed(const std::vector<AliasEntry>& aliases, std::string_view ns,
                    std::string_view repository) {
  RulesInput input;
  input.aliases = aliases;
  auto made = Rules::make(std::move(input));
  REQUIRE(made);
  auto target = (*made)->resolve(ns, repository);
  if (!target) return "error: " + target.error().message;
  CHECK((*target)->ns == ns);
  return (*target)->key();
}

std::string wrong(const AliasEntry& entry) {
  auto alias = Alias::compile(entry);
  REQUIRE_FALSE(alias);
  CHECK(alias.error().code == Errc::config);
  return alias.error().message;
}

Alias alias(const std::string& from, const std::string& to = "x.io/y") {
  auto made = Alias::compile({from, to});
  INFO(from << ": " << (made ? "" : made.error().message));
  REQUIRE(made);
  return *made;
}

}  // namespace

TEST_CASE("aliases rename registries, prefixes under docker.io and unqualified names") {
  struct Row {
    AliasEntry rule;
    const char* ns;
    const char* repository;
    const char* becomes;
  };
  const Row rows[] = {
      // nexus/admin-server:1 in a pod arrives as docker.io/nexus/admin-server (protocol.md §5.3)
      {{"docker.io/nexus/**", "docker.nexus.local/**"},
       "docker.io",
       "nexus/admin-server",
       "docker.nexus.local/admin-server"},
      {{"docker.io/nexus/**", "docker.nexus.local/**"}, "docker.io", "nexus/a/b", "docker.nexus.local/a/b"},
      {{"docker.io/nexus/**", "docker.nexus.local/**"}, "docker.io", "nexusx/a", "docker.io/nexusx/a"},
      {{"docker.io/nexus/**", "docker.nexus.local/**"}, "ghcr.io", "nexus/a", "ghcr.io/nexus/a"},
      // an unqualified name arrives with library/ in front
      {{"docker.io/admin-server", "nexus.local/admin-server"},
       "docker.io",
       "library/admin-server",
       "nexus.local/admin-server"},
      {{"docker.io/library/*", "nexus.local/*"},
       "docker.io",
       "library/admin-server",
       "nexus.local/admin-server"},
      {{"docker.io/*", "nexus.local/*"}, "docker.io", "library/admin-server", "nexus.local/admin-server"},
      {{"docker.io/*", "nexus.local/*"}, "docker.io", "team/a", "docker.io/team/a"},
      {{"docker.io/team-*", "nexus.local/teams/*"}, "docker.io", "library/team-a", "nexus.local/teams/a"},
      {{"index.docker.io/**", "nexus.local/**"}, "docker.io", "library/a", "nexus.local/library/a"},
      {{"hub.local/**", "docker.io/**"}, "hub.local", "nginx", "docker.io/library/nginx"},
      {{"hub.local/**", "docker.io/**"}, "hub.local", "team/app", "docker.io/team/app"},
      // a whole registry
      {{"hub.local", "nexus.corp:5000"}, "hub.local", "a/b", "nexus.corp:5000/a/b"},
      {{"hub.local", "nexus.corp/proxy"}, "hub.local", "a/b", "nexus.corp/proxy/a/b"},
      {{"Hub.local:5000", "nexus.corp"}, "hub.local:5000", "a", "nexus.corp/a"},
      {{"hub.local:5000", "nexus.corp"}, "hub.local", "a", "hub.local/a"},
      {{"*.hub.local", "*.nexus.corp"}, "eu.hub.local", "a/b", "eu.nexus.corp/a/b"},
      {{"hub.local:*/**", "nexus.corp:*/**"}, "hub.local:8082", "a", "nexus.corp:8082/a"},
      {{"localhost/**", "nexus.corp/**"}, "localhost", "a", "nexus.corp/a"},
      {{"[::1]:5000/**", "nexus.corp/**"}, "[::1]:5000", "a", "nexus.corp/a"},
      // everything behind one cache
      {{"**", "cache.corp/**"}, "ghcr.io", "org/app", "cache.corp/ghcr.io/org/app"},
      {{"*", "cache.corp/**"}, "docker.io", "library/nginx", "cache.corp/docker.io/library/nginx"},
      {{"**/old/**", "**/new/**"}, "a.b.corp", "old/x", "a.b.corp/new/x"},
      // captures by position, and what stands for nothing takes its separator along
      {{"docker.io/*/*/**", "nexus.local/*/x/*/**"}, "docker.io", "a/b", "nexus.local/a/x/b"},
      {{"docker.io/*/*/**", "nexus.local/*/x/*/**"}, "docker.io", "a/b/c/d", "nexus.local/a/x/b/c/d"},
      {{"docker.io/**/app", "nexus.local/**/app"}, "docker.io", "app", "nexus.local/app"},
      {{"docker.io/old/**", "nexus.local/all"}, "docker.io", "old/x/y", "nexus.local/all"}};
  for (const Row& row : rows) {
    INFO(row.rule.from << " -> " << row.rule.to << ": " << row.ns << "/" << row.repository);
    CHECK(renamed({row.rule}, row.ns, row.repository) == row.becomes);
  }
}

TEST_CASE("the first alias that fits decides alone, and once") {
  const std::vector<AliasEntry> aliases = {{"docker.io/nexus/keep/**", "docker.io/nexus/keep/**"},
                                           {"docker.io/nexus/**", "one.local/**"},
                                           {"docker.io/**", "two.local/**"},
                                           {"one.local/**", "three.local/**"}};
  CHECK(renamed(aliases, "docker.io", "nexus/a") == "one.local/a");
  CHECK(renamed(aliases, "docker.io", "nexus/keep/a") == "docker.io/nexus/keep/a");
  CHECK(renamed(aliases, "docker.io", "library/a") == "two.local/library/a");
  CHECK(renamed(aliases, "one.local", "a") == "three.local/a");
}

TEST_CASE("a name that an alias makes illegal is refused, not asked elsewhere") {
  const std::string said = renamed({{"docker.io/nexus/**", "nexus.local/**"}}, "docker.io", "nexus");
  CHECK_THAT(said, Catch::StartsWith("error: ") && Catch::Contains("docker.io/nexus/**") &&
                       Catch::Contains("docker.io/nexus into") && Catch::Contains("no repository"));
  CHECK_THAT(renamed({{"**", "cache.corp/**"}}, "reg.io:5000", "a"), Catch::Contains("no name of an image"));
  CHECK_THAT(renamed({{"hub.local/**", "nexus.local/" + std::string(200, 'a') + "/**"}}, "hub.local",
                     std::string(99, 'b')),
             Catch::Contains("no name of an image"));
}

TEST_CASE("what an alias leads to goes through allow, mirrors, rewrites and settings as if asked for") {
  RulesInput input;
  input.aliases = {{"docker.io/nexus/**", "docker.nexus.local/**"}};
  MirrorEntry entry;
  entry.endpoints = {*parse_endpoint("https://nexus.platform.svc.cluster.local:5000")};
  entry.rewrite = {{"^(.*)$", "group/$1"}};
  entry.default_endpoint = false;
  input.mirrors = {{"docker.nexus.local", entry}};
  HostSettings settings;
  settings.credentials.username = "puller";
  input.configs = {{"docker.nexus.local", std::make_shared<const HostSettings>(settings)}};
  input.allow = {"docker.nexus.local"};
  const auto made = *Rules::make(std::move(input));
  const auto target = *made->resolve("docker.io", "nexus/admin-server");
  CHECK(target->ns == "docker.io");
  CHECK(target->registry == "docker.nexus.local");
  CHECK(target->repository == "admin-server");
  REQUIRE(target->endpoints.size() == 1);
  CHECK(target->endpoints[0].base.str() == "https://nexus.platform.svc.cluster.local:5000/v2");
  CHECK(target->endpoints[0].repository == "group/admin-server");
  CHECK(target->endpoints[0].settings->credentials.username == "puller");
  CHECK(target->endpoints[0].configured);
  CHECK(made->resolve("docker.io", "library/a").error().code == Errc::refused_by_policy);
}

TEST_CASE("a target says how it came about, and which rules it missed") {
  RulesInput input;
  input.aliases = {{"docker.io/nexus/**", "docker.nexus.local/**"},
                   {"docker.io/**", "hub.corp/**"},
                   {"hub.local/team", "x.io/team"}};
  MirrorEntry entry;
  entry.endpoints = {*parse_endpoint("https://m"), *parse_endpoint("https://docker.nexus.local")};
  entry.rewrite = {{"^nothing", "x"}, {"^admin-(.+)$", "$1"}};
  input.mirrors = {{"docker.nexus.local", entry},
                   {"docker.nexus.local:5000", entry},
                   {"docker.io", entry},
                   {"*.corp", entry},
                   {"*", entry}};
  HostSettings login;
  login.credentials.username = "u";
  input.configs = {{"quay.io", std::make_shared<const HostSettings>(login)}, {"m:5000", nullptr}};
  const auto made = *Rules::make(input);

  const auto nexus = *made->resolve("docker.io", "nexus/admin-server");
  CHECK(nexus->alias == "{from: \"docker.io/nexus/**\", to: \"docker.nexus.local/**\"}");
  CHECK(nexus->mirror == "docker.nexus.local");
  REQUIRE(nexus->endpoints.size() == 2);
  CHECK(nexus->endpoints[0].rewrite == "^admin-(.+)$");
  CHECK(nexus->endpoints[0].repository == "server");
  CHECK_FALSE(nexus->endpoints[0].is_own);
  CHECK(nexus->endpoints[1].is_own);
  CHECK(nexus->endpoints[1].rewrite.empty());
  const auto missed = [&](const char* ns, const char* repository) {
    const auto target = made->resolve(ns, repository);
    REQUIRE(target);
    std::string text;
    for (const auto& line : near_misses(input, repository, **target)) text += line + "\n";
    return text;
  };
  CHECK_THAT(missed("docker.io", "nexus/admin-server"),
             Catch::Contains("the alias {from: \"docker.io/**\", to: \"hub.corp/**\"} fits as well") &&
                 Catch::Contains("mirrors.\"docker.nexus.local:5000\" is about another port") &&
                 Catch::Contains("mirrors.\"docker.io\" is not used, because the alias"));
  CHECK_THAT(missed("hub.local", "team/app"), Catch::Contains("write \"hub.local/team/**\""));
  CHECK_THAT(missed("a.b.corp", "x"),
             Catch::Contains("mirrors.\"*.corp\"") && Catch::Contains("write \"**.corp\""));
  CHECK_THAT(missed("quay.io", "x"),
             Catch::Contains("mirrors.\"*\" is not used for quay.io, because configs"));
  CHECK_THAT(missed("m", "x"), Catch::Contains("configs.\"m:5000\" is about another port than m"));
  CHECK(missed("ghcr.io", "x").empty());
  const auto plain = *made->resolve("ghcr.io", "x");
  CHECK(plain->alias.empty());
  CHECK(plain->mirror == "*");
}

TEST_CASE("wrong aliases are refused with the side, the reason and the remedy") {
  struct Row {
    AliasEntry rule;
    const char* says;
  };
  const Row rows[] = {
      {{"nexus/**", "docker.nexus.local/**"},
       "from: \"nexus/**\" names no registry: write \"docker.io/nexus/**\""},
      {{"nexus/**", "docker.nexus.local/**"}, "\"nexus:5000/**\""},
      {{"admin-server", "docker.nexus.local/a"}, "write \"docker.io/admin-server\""},
      {{"*/team/**", "x.io/**"}, "write \"**/team/**\""},
      {{"docker.io/nexus/**", "nexus/**"}, "to: \"nexus/**\" names no registry: begin with one"},
      {{"docker.io/nexus/*", "x.io/*/*"},
       "to: \"x.io/*/*\" has 2 wildcards, but from \"docker.io/nexus/*\" has 1"},
      {{"docker.io/nexus/app", "x.io/**"}, "has 1 wildcard, but from \"docker.io/nexus/app\" has none"},
      {{"*.corp/**", "x.io/**"}, "has ** as wildcard number 1 where from \"*.corp/**\" has *"},
      {{"docker.io/nexus/app", "x.io"}, "to: \"x.io\" names no repository"},
      {{"docker.io/nexus/**", "x.io/Team/**"}, "must be lower case"},
      {{"docker.io/nexus/**", "x.io/-a/**"}, "is no legal name"},
      {{"docker.io/nexus/**", "x.io:99999/**"}, "the port must be a number"},
      {{"docker.io/nexus/**", "-x.io/**"}, "begins with no registry"},
      {{"docker.io/nexus/**", "https://x.io/**"}, "to: \"https://x.io/**\" is a URL"},
      {{"https://docker.io/nexus", "x.io/a"}, "from: \"https://docker.io/nexus\" is a URL"},
      {{"docker.io/nexus/app:v1", "x.io/a"}, "from: \"docker.io/nexus/app:v1\" has a tag"},
      {{"docker.io/nexus/**", "x.io/a:latest"}, "to: \"x.io/a:latest\" has a tag"},
      {{"docker.io/Nexus/**", "x.io/**"}, "from: \"docker.io/Nexus/**\" is no legal name"},
      {{"a.io:5000x/**", "x.io/**"}, "from: \"a.io:5000x/**\" begins with no registry"},
      {{"", "x.io/a"}, "from: the pattern \"\" is empty"},
      {{"docker.io/a b", "x.io/a"}, "character that no name has"},
      {{"docker.io/a**", "x.io/a"}, "whole labels"}};
  for (const Row& row : rows) {
    INFO(row.rule.from << " -> " << row.rule.to);
    CHECK_THAT(wrong(row.rule), Catch::Contains(row.says));
  }
  CHECK_FALSE(Alias::compile({std::string(600, 'a') + ".io/**", "x.io/**"}).ok());
  RulesInput many;
  many.aliases.assign(kMostAliases + 1, {"a.io", "b.io"});
  CHECK_FALSE(Rules::make(std::move(many)).ok());
}

TEST_CASE("a rule covers another when nothing is left for it") {
  const std::pair<const char*, const char*> covering[] = {{"docker.io/nexus/**", "docker.io/nexus/**"},
                                                          {"docker.io/nexus/**", "docker.io/nexus/a/*"},
                                                          {"docker.io/**", "docker.io/nexus/**"},
                                                          {"docker.io", "docker.io/nexus/a"},
                                                          {"docker.io/*", "docker.io/nginx"},
                                                          {"docker.io/team-*", "docker.io/team-a-*"},
                                                          {"**", "a.io/b"},
                                                          {"*.corp/**", "a.corp/x"},
                                                          {"**.corp/**", "*.corp/**"},
                                                          {"a.io:*/**", "a.io:5000/**"}};
  for (const auto& [wide, narrow] : covering) {
    INFO(wide << " and " << narrow);
    CHECK(alias(wide).covers(alias(narrow)));
  }
  const std::pair<const char*, const char*> open[] = {{"docker.io/nexus/*", "docker.io/nexus/**"},
                                                      {"docker.io/nexus/**", "docker.io/**"},
                                                      {"docker.io/nexus/a", "docker.io/nexus/*"},
                                                      {"docker.io/*/*/*", "docker.io/**"},
                                                      {"docker.io/team-*", "docker.io/*"},
                                                      {"*.corp/**", "**.corp/**"},
                                                      {"a.io/**", "a.io:5000/**"},
                                                      {"a.io/**", "**"}};
  for (const auto& [one, other] : open) {
    INFO(one << " and " << other);
    CHECK_FALSE(alias(one).covers(alias(other)));
  }
  CHECK(alias("hub.local").covers_registry("hub.local"));
  CHECK_FALSE(alias("hub.local/team/**").covers_registry("hub.local"));
  CHECK_FALSE(alias("hub.local/*").covers_registry("hub.local"));
}

TEST_CASE("a rule that makes one name of many says so") {
  CHECK_THAT(alias("docker.io/nexus/**", "x.io/app").doubt(),
             Catch::Contains("x.io/app") && Catch::Contains("number 1"));
  CHECK(alias("docker.io/nexus/**", "x.io/**").doubt().empty());
  CHECK(alias("hub.local", "x.io").doubt().empty());
  CHECK(alias("docker.io/nexus/app", "x.io/app").doubt().empty());
}

TEST_CASE("whatever aliases are made of, only legal names come out, and each rule covers itself") {
  const std::vector<std::string> words = {"docker.io", "nexus",   "**",  "*", "/",  "/",
                                          ".",         ":5000",   "a-*", "b", "/x", "-",
                                          "[::1]:5",   "library", "A.b", ":*"};
  const unsigned seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto pick = [&](std::size_t count) { return static_cast<std::size_t>(random() % count); };
  const auto text = [&] {
    std::string made;
    for (std::size_t i = 1 + pick(6); i > 0; --i) made += words[pick(words.size())];
    return made;
  };
  const std::pair<const char*, const char*> asked[] = {{"docker.io", "library/nexus"},
                                                       {"docker.io", "nexus/a/b"},
                                                       {"a.b", "x"},
                                                       {"nexus.b:5000", "x/x"},
                                                       {"docker.io", "library/a-1"},
                                                       {"localhost", "b/x"},
                                                       {"[::1]:5", "x"},
                                                       {"b.docker.io", "library/x"}};
  int compiled = 0, renamed_names = 0;
  for (int i = 0; i < 4000; ++i) {
    const AliasEntry entry{text(), text()};
    const auto made = Alias::compile(entry);
    if (!made) continue;
    ++compiled;
    INFO(entry.from << " -> " << entry.to);
    CHECK(made->covers(*made));
    for (const auto& [ns, repository] : asked) {
      const auto name = made->apply(*parse_registry_name(ns), repository);
      if (!name || !*name) continue;
      ++renamed_names;
      CHECK(parse_registry_name((*name)->registry.text).ok());
      CHECK(check_repository((*name)->repository).ok());
    }
  }
  CHECK(compiled > 0);
  CHECK(renamed_names > 0);
}

// rules: one-registry-two-spellings
TEST_CASE("a registry is the same with and without the port of https, on both sides of an alias") {
  const std::vector<AliasEntry> aliases = {{"a.io:443/team/**", "x.io/a/**"},
                                           {"b.io/**", "x.io/b/**"},
                                           {"*.c.io", "*.d.io"},
                                           {"e.io:5000/**", "x.io/e/**"},
                                           {"**", "cache.corp/**"}};
  CHECK(renamed(aliases, "a.io", "team/app") == "x.io/a/app");
  CHECK(renamed(aliases, "a.io:443", "team/app") == "x.io/a/app");
  CHECK(renamed(aliases, "b.io", "app") == "x.io/b/app");
  CHECK(renamed(aliases, "b.io:443", "app") == "x.io/b/app");
  CHECK(renamed(aliases, "eu.c.io:443", "app") == "eu.d.io/app");
  CHECK(renamed(aliases, "e.io", "app") == "cache.corp/e.io/app");
  CHECK(renamed(aliases, "e.io:443", "app") == "cache.corp/e.io/app");
  // What goes into the path is a name without a port.
  CHECK(renamed(aliases, "ghcr.io:443", "org/app") == "cache.corp/ghcr.io/org/app");
  CHECK(renamed({{"b.io:80/**", "x.io/**"}}, "b.io", "app") == "b.io/app");
}
