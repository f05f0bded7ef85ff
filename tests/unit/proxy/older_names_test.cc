// "host" and "host:443" are one registry: what is kept of it, and what versions before kept apart.
#include "proxy/older_names.h"

#include "tests/unit/proxy/access_site.h"

using namespace layerd;
using namespace layerd::test;
using cache::RepositoryClass;

namespace {

const std::string kOlder = "private.example:443/team/app";

std::string with_port(std::string url) {
  return url.replace(url.find("?ns="), url.npos, "?ns=private.example%3A443");
}

// As an earlier version left it that was asked by the name with the port.
void keep_by_older_name(Site& site, const std::string& asker) {
  auto& catalog = site.bench.catalog;
  for (auto& [key, record] : std::exchange(catalog.repositories, {})) catalog.repositories[kOlder] = record;
  for (auto& [key, link] : std::exchange(catalog.links, {})) catalog.links[{kOlder, key.second}] = link;
  for (auto& [key, record] : std::exchange(catalog.tags, {})) catalog.tags[{kOlder, key.second}] = record;
  for (auto& [key, value] : std::exchange(catalog.grants, {}))
    catalog.grants["g" + site.bench.sealing_key.name_of(kOlder + "\n" + asker)] = value;
}

std::string pull_as_alice(Site& site) {
  REQUIRE(site.status(site.by_tag(), kAlice) == 200);
  const auto name = site.bench.fetcher.requests.back().target->as.name;
  site.pull(kAlice);
  return name;
}

}  // namespace

// rules: one-name-with-443
TEST_CASE("a repository is one with and without the port of https: rights, tags and digests") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  CHECK(site.bench.catalog.repository(kKey).has_value());
  site.is_cut = true;
  for (const auto& target : {site.by_tag(), site.by_digest(), site.blob()}) {
    CAPTURE(target);
    CHECK(site.status(with_port(target), kAlice) == 200);
    CHECK(site.status(with_port(target), kBob) == 502);
    CHECK(site.status(with_port(target)) == 401);
  }
}

// rules: older-name-taken-over
TEST_CASE("what an earlier version kept by the name with the port is not lost") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  const auto alice = pull_as_alice(site);
  keep_by_older_name(site, alice);
  site.restart();
  site.is_cut = true;
  for (const auto& target : {site.by_tag(), site.by_digest(), site.blob()}) {
    CAPTURE(target);
    CHECK(site.status(with_port(target), kBob) == 502);
    CHECK(site.status(with_port(target), kAlice) == 200);
  }
  // By now it is known by both.
  CHECK(site.status(site.blob(), kAlice) == 200);
  CHECK(site.bench.catalog.grants.size() == 1);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::client);
}

// rules: older-name-opens-nothing
TEST_CASE("what was kept by the name with the port for a few is not opened by what is known without it") {
  Site site;
  auto& catalog = site.bench.catalog;
  const auto layer = sha256_of("layer");
  site.rights["team/app"] = {"nobody"};
  site.pull();
  const auto now = catalog.repository(kKey)->checked_at;
  const auto take_over = [&](RepositoryClass older, std::int64_t checked_at) {
    catalog.links.clear();
    catalog.put_repository(kKey, {RepositoryClass::open, now});
    catalog.put_repository(kOlder, {older, checked_at});
    catalog.put_links(kOlder, {{layer, cache::LinkKind::listed, 5, {}}});
    registry::Target target;
    target.registry = "private.example";
    target.repository = "team/app";
    target.older_key = kOlder;
    proxy::take_over_older_name(catalog, target, layer.str(), layer);
  };
  take_over(RepositoryClass::node, now - 1);
  CHECK_FALSE(catalog.link(kKey, layer));
  CHECK(catalog.repository(kKey)->repository_class == RepositoryClass::open);
  take_over(RepositoryClass::open, now - 1);
  CHECK(catalog.link(kKey, layer));
  // What upstream said last counts.
  take_over(RepositoryClass::client, now + 1);
  CHECK(catalog.link(kKey, layer));
  CHECK(catalog.repository(kKey)->repository_class == RepositoryClass::client);
}
