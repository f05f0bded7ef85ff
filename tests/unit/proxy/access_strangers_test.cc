// Who is none of this node's runtimes, or may be none, and what he can find out.
#include "tests/unit/proxy/access_site.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;
using cache::RepositoryClass;

namespace {

// All that a client sees, with the repository's own name taken out.
std::string seen(const RecordedExchange& exchange, const std::string& repository) {
  auto words = fmt::format("{} {} {} {} {}", exchange.status(), exchange.reason(), exchange.body(),
                           exchange.header("Layerd-Source"), exchange.header("WWW-Authenticate"));
  for (auto at = words.find(repository); at != words.npos; at = words.find(repository))
    words.replace(at, repository.size(), "NAME");
  return words;
}

}  // namespace

// rules: strangers-one-way
TEST_CASE("a stranger does not learn which private names are known, with or without an upstream") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.rights["team/clients"] = {"alice:secret"};
  REQUIRE(site.status(site.by_tag("team/clients"), kAlice) == 200);
  site.pull();
  const net::SocketOwner stranger{kStranger, 0};
  const auto says = [&](const std::string& name, const std::string& kind, const std::string& reference,
                        const char* method) {
    const auto asked = site.asked();
    const auto exchange = site.ask(Site::url(kind, reference, name), {}, stranger, method);
    // Upstream was asked, which takes its time, or the answer of a moment ago was given.
    return fmt::format("{} after {} questions", seen(*exchange, name), site.asked() - asked);
  };
  const auto compare = [&] {
    const auto layer = sha256_of("layer").str();
    for (const auto& [kind, reference] :
         std::vector<std::pair<std::string, std::string>>{{"manifests", "1"},
                                                          {"manifests", "2"},
                                                          {"manifests", site.top.str()},
                                                          {"blobs", layer},
                                                          {"tags", "list"},
                                                          {"referrers", site.top.str()}})
      for (const char* method : {"GET", "HEAD"}) {
        CAPTURE(kind, reference, method);
        const auto unknown = says("team/never", kind, reference, method);
        CHECK(says("team/app", kind, reference, method) == unknown);
        CHECK(says("team/clients", kind, reference, method) == unknown);
      }
  };
  SECTION("upstream answers") {
    compare();
    CHECK(site.ask(site.by_tag(), {}, stranger)->status() == 403);
  }
  SECTION("upstream hides what it has") {
    site.hides = true;
    compare();
  }
  SECTION("the WAN is cut") {
    site.is_cut = true;
    compare();
    CHECK(site.ask(site.by_tag(), {}, stranger)->status() == 502);
  }
  SECTION("no upstream is asked by configuration") {
    site.bench.change([](proxy::MirrorSettings& settings) { settings.offline = true; });
    site.is_cut = true;
    compare();
  }
  CHECK(site.asked_as(Who::node) == 0);
}

TEST_CASE("credentials without a grant do not tell which private names are known while the WAN is cut") {
  Site site;
  site.rights["team/clients"] = {"alice:secret"};
  REQUIRE(site.status(site.by_tag("team/clients"), kAlice) == 200);
  site.is_cut = true;
  for (const auto* kind : {"manifests", "blobs"}) {
    const auto known = site.ask(Site::url(kind, site.top.str(), "team/clients"), kBob);
    const auto unknown = site.ask(Site::url(kind, site.top.str(), "team/never"), kBob);
    CHECK(known->status() == 502);
    CHECK(seen(*known, "team/clients") == seen(*unknown, "team/never"));
  }
}

TEST_CASE("however often strangers ask, upstream is asked once in a while") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.pull();
  for (int i = 0; i < 20; ++i)
    CHECK(site.ask(site.by_tag(), {}, net::SocketOwner{kStranger, 0})->status() == 403);
  CHECK(site.asked() == 1);
  // What becomes open is given to him soon.
  site.rights["team/app"].insert("nobody");
  site.bench.loop.advance(6s);
  CHECK(site.ask(site.by_tag(), {}, net::SocketOwner{kStranger, 0})->status() == 200);
}

// rules: unreadable-is-no-runtime
TEST_CASE("who may be a pod, since his cgroup cannot be read, gets what is open and nothing else") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.rights["team/open"] = {"nobody"};
  site.pull();
  site.bench.cgroups.next = net::CgroupKind::unreadable;
  const net::SocketOwner unsure{0, 5};
  for (const auto& target : {site.by_tag(), site.by_digest(), site.blob()}) {
    const auto refused = site.ask(target, kAlice, unsure);
    CHECK(refused->status() == 403);
    CHECK(refused->reason().find("whether this connection is a pod's is not known: no cgroups here") !=
          std::string::npos);
  }
  CHECK(site.bench.metrics.text().find("layerd_access_refused_total{why=\"cgroup_unreadable\"} 3") !=
        std::string::npos);
  CHECK(site.ask(site.by_tag("team/open"), {}, unsure)->status() == 200);
  CHECK(site.asked_as(Who::node) == 0);
  // A kernel that tells no groups apart is no reason to refuse, and another user is told as always.
  CHECK(site.status(site.by_tag()) == 200);
  CHECK(site.ask(site.by_tag(), {}, net::SocketOwner{kStranger, 6})->reason().find("access.runtime_uids") !=
        std::string::npos);
}

// rules: certificate-is-the-nodes
TEST_CASE(
    "what the node's client certificate opens is neither for strangers nor for who has to bring his own") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    site.rights["team/app"] = {"nobody"};  // the certificate is shown whoever asks
    auto reply = site.answer(request);
    reply.authenticated = true;
    return reply;
  };
  const net::SocketOwner stranger{kStranger, 0};
  CHECK(site.ask(site.by_tag(), {}, stranger)->status() == 403);
  CHECK(site.status(site.by_tag()) == 200);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::node);
  CHECK(site.ask(site.by_tag(), {}, stranger)->status() == 403);
  CHECK(site.ask(site.blob(), {}, stranger)->status() == 403);
  site.bench.loop.advance(11min);
  CHECK(site.status(site.by_tag()) == 200);  // its class is asked anew
  site.bench.loop.advance(1s);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::node);
  auto pattern = registry::Pattern::compile("private.example/**");
  REQUIRE(pattern);
  site.bench.change([&](proxy::MirrorSettings& settings) { settings.access.require_client = {*pattern}; });
  CHECK(site.status(site.by_tag()) == 401);
  CHECK(site.status(site.by_tag("team/new")) == 401);
}

TEST_CASE("a client's answer does not close a repository that is open") {
  Site site;
  site.rights["team/app"] = {"nobody"};
  site.pull();
  registry::Target client;
  client.registry = "private.example", client.repository = "team/app";
  client.as.who = Who::client;
  proxy::keep_class(site.bench.catalog, site.bench.loop, client, true);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::open);
}

TEST_CASE("Docker Hub's credentials follow no alias, by whatever name Docker Hub is asked for") {
  Site site;
  registry::RulesInput input;
  input.aliases = {{"docker.io/team/**", "private.example/team/**"}};
  auto rules = registry::Rules::make(std::move(input));
  REQUIRE(rules);
  site.bench.change([&](proxy::MirrorSettings& settings) { settings.rules = *rules; });
  site.rights["team/app"] = {"alice:secret"};
  for (const char* hub : {"docker.io", "index.docker.io", "registry-1.docker.io", "Docker.io"}) {
    CAPTURE(hub);
    const auto refused = site.ask(std::string("/v2/team/app/manifests/1?ns=") + hub, kAlice);
    CHECK(refused->status() == 403);
    CHECK(refused->reason().find("are not sent on") != std::string::npos);
  }
  CHECK(site.asked_as(Who::client) == 0);
}
