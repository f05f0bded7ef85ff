// "host" and "host:443" are one registry, unless the rules have an entry for each.
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/pattern.h"
#include "proxy/registry/rules.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::registry;

namespace {

MirrorEntry mirror(std::vector<std::string> endpoints, bool default_endpoint = true) {
  MirrorEntry entry;
  for (const auto& text : endpoints) entry.endpoints.push_back(*parse_endpoint(text));
  entry.default_endpoint = default_endpoint;
  return entry;
}

HostSettingsPtr user(const std::string& name) {
  HostSettings settings;
  settings.credentials.username = name;
  return std::make_shared<const HostSettings>(settings);
}

RulesPtr rules(std::map<std::string, MirrorEntry> mirrors,
               std::map<std::string, HostSettingsPtr> configs = {}) {
  auto made = Rules::make({std::move(mirrors), std::move(configs)});
  REQUIRE(made);
  return *made;
}

std::string first_of(const RulesPtr& rules, std::string_view ns) {
  return (*rules->resolve(ns, "x"))->endpoints.at(0).base.str();
}

}  // namespace

TEST_CASE("443 and 80 are the default ports of a host name, others are hosts of their own") {
  const auto made = rules({}, {{"a.io", user("a")}, {"b.io:443", user("b")}});
  CHECK(made->settings_for("a.io", 443)->credentials.username == "a");
  CHECK(made->settings_for("a.io", 80)->credentials.username == "a");
  CHECK(made->settings_for("a.io", 8443)->credentials.empty());
  CHECK((*made->resolve("b.io", "x"))->endpoints[0].settings->credentials.username == "b");
}

TEST_CASE(
    "patterns of what may be asked know both spellings of a registry, and of two entries each its own") {
  RulesInput input;
  input.allow = {"a.io", "b.io:443/team/**"};
  const auto made = *Rules::make(std::move(input));
  for (const char* ns : {"a.io", "a.io:443"}) CHECK(made->resolve(ns, "app").ok());
  for (const char* ns : {"b.io", "b.io:443"}) {
    CHECK(made->resolve(ns, "team/app").ok());
    CHECK_FALSE(made->resolve(ns, "other/app").ok());
  }
  CHECK_FALSE(made->resolve("a.io:5000", "app").ok());
  // As in k3s, where each has a folder of its own.
  const auto both =
      rules({{"c.io", mirror({"https://plain"}, false)}, {"c.io:443", mirror({"https://port"}, false)}});
  CHECK(first_of(both, "c.io") == "https://plain/v2");
  CHECK(first_of(both, "c.io:443") == "https://port/v2");
}

TEST_CASE("what is kept of a registry has one name for both spellings, unless the rules tell them apart") {
  const auto key = [](const RulesPtr& rules, const char* ns) {
    const auto target = *rules->resolve(ns, "team/app");
    CHECK(target->ns == ns);
    return target->key() + " " + target->older_key;
  };
  for (const auto& made : {rules({}), rules({{"a.io", mirror({"https://m"})}}, {{"a.io:443", user("u")}}),
                           rules({{"a.io:443", mirror({"https://m"})}, {"*", mirror({"https://any"})}}),
                           rules({}, {{"a.io", user("one")}, {"a.io:443", user("two")}})}) {
    CHECK(key(made, "a.io") == "a.io/team/app ");
    CHECK(key(made, "a.io:443") == "a.io/team/app a.io:443/team/app");
    CHECK(key(made, "[fd00::1]:443") == "[fd00::1]/team/app [fd00::1]:443/team/app");
    CHECK(key(made, "a.io:5000") == "a.io:5000/team/app ");
    CHECK(key(made, "a.io:80") == "a.io:80/team/app ");
  }
  const auto apart = {
      rules({{"a.io", mirror({"https://plain"}, false)}, {"a.io:443", mirror({"https://port"}, false)}}),
      rules({{"a.io", mirror({"https://m"})}, {"a.io:443", mirror({"https://m"}, false)}}),
      // Asked at one place, with the credentials of two names.
      rules({{"a.io", mirror({"https://m"})}}, {{"a.io", user("one")}, {"a.io:443", user("two")}})};
  for (const auto& made : apart) CHECK(key(made, "a.io:443") == "a.io:443/team/app ");
}

TEST_CASE("a pattern of a registry alone is about every repository of it, whichever way it is written") {
  const auto matches = [](const char* pattern, const char* key) {
    return Pattern::compile(pattern)->matches_repository(key);
  };
  for (const char* pattern : {"a.io", "a.io:443", "a.io/**", "a.io:443/**", "*", "*.io"})
    for (const char* key : {"a.io/app", "a.io:443/app", "a.io/team/app"}) {
      CAPTURE(pattern, key);
      CHECK(matches(pattern, key));
    }
  for (const char* pattern : {"a.io:80", "a.io/team", "b.io", "a.io:5000/**"})
    CHECK_FALSE(matches(pattern, "a.io/app"));
  CHECK_FALSE(matches("a.io", "a.io:5000/app"));
  CHECK(matches("[fd00::1]", "[fd00::1]:443/app"));
}
