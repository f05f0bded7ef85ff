// Whose a repository is: the node's, the clients' or everybody's, how that changes, and who counts as a
// runtime.
#include "tests/unit/proxy/access_site.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;
using cache::RepositoryClass;

// rules: stranger-refused
TEST_CASE("what this node has by its own credentials is for its runtimes alone, on every way") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.pull();
  CHECK(site.status(site.by_tag()) == 200);
  CHECK(site.status(site.by_digest()) == 200);
  CHECK(site.status(site.blob()) == 200);

  http::Headers range, condition;
  range.add("Range", "bytes=0-1");
  condition.add("If-None-Match", "\"" + site.top.str() + "\"");
  const std::vector<std::optional<net::SocketOwner>> strangers{net::SocketOwner{kStranger, 0},
                                                               net::SocketOwner{0, kPod}, std::nullopt};
  site.bench.cgroups.known[kPod] = net::CgroupKind::container;
  const std::string none = sha256_of("never seen").str();
  site.bench.fetcher.requests.clear();
  for (const auto& owner : strangers) {
    CAPTURE(owner.has_value());
    std::set<std::string> said;
    for (const std::string& target :
         {site.by_tag(), site.by_digest(), site.blob(), Site::url("manifests", "2"), Site::url("blobs", none),
          Site::url("tags", "list"), Site::url("referrers", site.top.str())}) {
      for (const char* method : {"GET", "HEAD"}) {
        for (const auto& more : {http::Headers(), range, condition}) {
          CAPTURE(target, method);
          const auto exchange = site.ask(target, kAlice, owner, method, more);
          CHECK(exchange->status() == 403);
          CHECK_FALSE(exchange->has_header("Docker-Content-Digest"));
          CHECK_FALSE(exchange->has_header("ETag"));
          said.insert(exchange->reason());
        }
      }
    }
    // Cached or not: the same words.
    CHECK(said.size() == 1);
  }
  CHECK(site.asked_as(Who::stranger) == site.asked());
}

TEST_CASE("a pod is told from a service when its cgroup is not known yet") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.pull();
  site.bench.cgroups.next = net::CgroupKind::container;
  CHECK(site.ask(site.by_digest(), {}, net::SocketOwner{0, 5})->status() == 403);
  site.bench.cgroups.next = net::CgroupKind::plain;
  CHECK(site.ask(site.by_digest(), {}, net::SocketOwner{0, 6})->status() == 200);
}

TEST_CASE("the owner of a connection is asked for once") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.pull();
  site.bench.owners.owner = net::SocketOwner{kStranger, 0};
  RecordedExchange exchange(site.bench.loop, "GET", site.by_digest());
  exchange.owner() = {};
  exchange.serve_with(*site.bench.mirror);
  site.bench.wait_for(exchange);
  CHECK(exchange.status() == 403);
  CHECK(exchange.owner().was_looked_for);
  CHECK(exchange.owner().owner->uid == kStranger);
}

// rules: asked-as-nobody
TEST_CASE("the node's credentials find out nothing for who is no runtime") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.rights["team/open"] = {"nobody"};
  const net::SocketOwner stranger{kStranger, 0};
  CHECK(site.ask(site.by_tag(), {}, stranger)->status() == 403);
  CHECK(site.ask(site.by_tag("team/open"), {}, stranger)->status() == 200);
  CHECK(site.ask(Site::url("tags", "list", "team/open"), {}, stranger)->status() == 200);
  CHECK(site.asked_as(Who::node) == 0);
  CHECK(site.asked_as(Who::nobody) + site.asked_as(Who::stranger) == site.asked());
  CHECK_FALSE(site.bench.catalog.repository(kKey));
}

TEST_CASE("an open repository that becomes private is stale once and then the client's") {
  Site site;
  site.rights["team/app"] = {"nobody"};
  site.pull();
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::open);
  site.rights["team/app"] = {"alice:secret"};
  site.bench.loop.advance(5s);
  const auto stale = site.ask(site.by_tag());
  CHECK(stale->status() == 200);
  CHECK(stale->header("Layerd-Source") == "stale");
  site.bench.loop.advance(1s);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::client);
  CHECK(site.status(site.blob()) == 401);
  CHECK(site.status(site.blob(), kAlice) == 200);
}

TEST_CASE("an open repository stays open when the node's credentials go along, until nobody may ask") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.pull();
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::node);
  site.rights["team/app"] = {"node", "nobody"};
  site.bench.loop.advance(11min);
  CHECK(site.status(site.blob()) == 200);  // its use has the class asked anew
  site.bench.loop.advance(1s);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::open);
  site.rights["team/app"] = {"node"};
  site.bench.loop.advance(11min);
  CHECK(site.status(site.blob()) == 200);
  site.bench.loop.advance(1s);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::node);
}

// rules: asked-as-nobody
// rules: require-client-of-a-registry
TEST_CASE("for require_client the node's own credentials are never used") {
  Site site;
  site.rights["team/app"] = {"node", "alice:secret"};
  site.pull();
  auto pattern = registry::Pattern::compile(
      GENERATE("private.example/team/**", "private.example", "private.example:443/**"));
  REQUIRE(pattern);
  site.bench.change([&](proxy::MirrorSettings& settings) { settings.access.require_client = {*pattern}; });
  CHECK(site.status(site.by_tag()) == 401);
  CHECK(site.status(site.blob()) == 401);
  CHECK(site.status(site.by_tag() + "%3A443") == 401);
  CHECK(site.asked_as(Who::node) == 0);
  CHECK(site.status(site.blob(), kAlice) == 200);
  CHECK(site.status(site.blob(), kBob) == 403);
}

TEST_CASE("credentials that come by a reload count at once") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  CHECK(site.status(site.blob()) == 401);
  site.rights["team/app"].insert("node");
  site.bench.change([](proxy::MirrorSettings&) {});
  CHECK(site.status(site.blob()) == 200);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::node);
}
