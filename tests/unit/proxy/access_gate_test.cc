// Who gets what, from the request to the answer: classes, challenge, handles, grants, grace, revocation.
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

TEST_CASE("a client's repository: challenge, handle, one HEAD, and then from the cache") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  const auto challenged = site.ask(site.by_tag());
  REQUIRE(challenged->status() == 401);
  CHECK(challenged->header("WWW-Authenticate") ==
        "Bearer realm=\"http://127.0.0.1:5151/"
        "token?ns=private.example\",service=\"layerd\",scope=\"repository:team/app:pull\"");
  CHECK(challenged->header("OCI-Namespace") == "private.example");
  // Nothing is cached yet, so nothing is on disk.
  CHECK(site.bench.catalog.repositories.empty());
  const auto alice = site.handle_for(*challenged, kAlice);
  CHECK(alice.find("secret") == std::string::npos);
  site.pull(alice);
  CHECK(site.bench.catalog.repository(kKey)->repository_class == RepositoryClass::client);
  CHECK(site.status(site.blob(), alice) == 200);
  CHECK(site.status(site.by_digest(), alice) == 200);
  CHECK(site.asked() == 0);
  // Only the client's own credentials were used, and what is kept tells nothing of them.
  for (const auto& [key, value] : site.bench.catalog.grants) {
    CHECK((key + value).find("alice") == std::string::npos);
    CHECK((key + value).find("secret") == std::string::npos);
  }
  CHECK(site.bench.catalog.grants.size() == 1);
}

// rules: own-right-alone, handle-for-its-repositories
TEST_CASE("of two users of one private repository the one without the right gets nothing of it") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  const auto challenged = site.ask(site.by_tag());
  const auto alice = site.handle_for(*challenged, kAlice);
  const auto bob = site.handle_for(*challenged, kBob);
  const auto nobody = site.handle_for(*challenged, {});
  site.pull(alice);
  for (const auto& other : {bob, nobody, kBob}) {
    for (const auto& target : {site.by_tag(), site.by_digest(), site.blob(), Site::url("tags", "list"),
                               Site::url("referrers", site.top.str())}) {
      CAPTURE(target);
      const auto refused = site.ask(target, other);
      CHECK(refused->status() == 403);
      CHECK_FALSE(refused->has_header("Docker-Content-Digest"));
    }
  }
  CHECK(site.status(site.blob(), alice) == 200);
  // A handle is good for what it was given for, and for nobody after its end.
  const auto elsewhere = site.ask(site.by_tag("team/other"), alice);
  CHECK(elsewhere->status() == 401);
  CHECK(elsewhere->header("WWW-Authenticate").find("error=\"invalid_token\"") != std::string::npos);
  site.bench.loop.advance(61min);
  CHECK(site.status(site.blob(), alice) == 401);
}

TEST_CASE("a follower without the right gets no byte of a download that another began") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  const auto challenged = site.ask(site.by_tag());
  const auto alice = site.handle_for(*challenged, kAlice);
  const auto bob = site.handle_for(*challenged, kBob);
  REQUIRE(site.status(site.by_tag(), alice) == 200);
  const auto digest = sha256_of("layer");
  RecordedExchange first(site.bench.loop, "GET", site.blob(), with(alice));
  first.serve_with(*site.bench.mirror);
  site.bench.loop.run();
  const auto download = site.bench.downloads.of(digest);
  download->confirm(5);
  download->grow("lay");
  site.bench.loop.run();
  CHECK(first.state() == RecordedExchange::State::body);
  CHECK(site.ask(site.blob(), bob)->status() == 403);
  // Under another repository, which anybody may read: it does not have the blob.
  site.rights["team/open"] = {"nobody"};
  site.gone.insert(digest.str());
  CHECK(site.ask(site.blob("team/open"))->status() == 404);
  CHECK(site.ask(site.blob("team/open"), {}, net::SocketOwner{kStranger, 0})->status() == 404);
  download->grow("er");
  site.bench.loop.run();
  site.bench.wait_for(first);
  CHECK(first.body() == "layer");
}

// rules: same-words
TEST_CASE("a digest asked for under another repository is answered in the same words whether it is here") {
  Site site;
  site.rights["team/app"] = {"node"};
  site.rights["team/open"] = {"nobody"};
  site.pull();
  const auto here = sha256_of("layer").str(), not_here = sha256_of("something else").str();
  site.gone.insert(here);
  site.gone.insert(site.top.str());
  REQUIRE(site.status(Site::url("tags", "list", "team/open")) == 200);
  const auto said = [&](const std::string& kind, const std::string& digest, const char* method) {
    auto exchange = std::make_unique<RecordedExchange>(site.bench.loop, method,
                                                       Site::url(kind, digest, "team/open"), http::Headers());
    exchange->serve_with(*site.bench.mirror);
    site.bench.loop.run();
    if (!exchange->ended())
      if (auto download = site.bench.downloads.sources[*Digest::parse(digest)].lock())
        download->fail({Errc::not_found, "https://private.example answered 404: BLOB_UNKNOWN"});
    site.bench.wait_for(*exchange);
    std::string words = fmt::format("{} {} {} {}", exchange->status(), exchange->reason(), exchange->body(),
                                    exchange->header("Layerd-Source"));
    for (auto at = words.find(digest); at != words.npos; at = words.find(digest))
      words.replace(at, digest.size(), "D");
    return words;
  };
  for (const char* method : {"GET", "HEAD"}) {
    CHECK(said("blobs", here, method) == said("blobs", not_here, method));
    CHECK(said("manifests", site.top.str(), method) == said("manifests", not_here, method));
  }
}

TEST_CASE("a right that was taken away ends with the grant; upstream is then left alone for a while") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  const auto alice = site.handle_for(*site.ask(site.by_tag()), kAlice);
  site.pull(alice);
  site.rights["team/app"].clear();
  CHECK(site.status(site.blob(), alice) == 200);  // within access.grant
  site.bench.loop.advance(11min);
  site.bench.fetcher.requests.clear();
  const auto refused = site.ask(site.blob(), alice);
  CHECK(refused->status() == 403);
  CHECK(refused->reason() == "https://private.example says no in its own words");
  CHECK(site.bench.catalog.grants.empty());
  const auto asked = site.asked();
  CHECK(site.status(site.by_tag(), alice) == 403);
  CHECK(site.status(site.blob(), alice) == 403);
  CHECK(site.asked() == asked);
  // Without an upstream there is no grace for what was taken away.
  site.is_cut = true;
  site.bench.loop.advance(31s);
  CHECK(site.status(site.blob(), alice) == 502);
  site.is_cut = false;
  site.rights["team/app"] = {"alice:secret"};
  CHECK(site.status(site.blob(), alice) == 200);
}

// rules: no-stale-for-private
TEST_CASE("a tag check that is refused gives no stale record of what has to be let in") {
  for (const char* who : {"node", "alice:secret"}) {
    CAPTURE(who);
    Site site;
    site.rights["team/app"] = {who};
    const bool is_client = std::string(who) != "node";
    const auto alice = is_client ? site.handle_for(*site.ask(site.by_tag()), kAlice) : std::string();
    site.pull(alice);
    site.rights["team/app"].clear();
    site.bench.loop.advance(5s);
    const auto refused = site.ask(site.by_tag(), alice);
    CHECK(refused->status() == (is_client ? 403 : 401));  // a client may have what the node has lost
    CHECK_FALSE(refused->has_header("Docker-Content-Digest"));
    site.bench.loop.advance(1s);
    if (!is_client) CHECK(site.status(site.blob()) == 401);        // the class was asked anew meanwhile
    if (is_client) CHECK(site.status(site.blob(), alice) == 403);  // the grant is gone with it
  }
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

TEST_CASE("with the WAN cut a grant holds for the grace, and nobody else gets anything") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  const auto bob_may_not = kBob;
  site.pull(kAlice);
  site.is_cut = true;
  site.bench.loop.advance(20h);
  CHECK(site.status(site.blob(), kAlice) == 200);
  const auto asked = site.asked();
  CHECK(site.status(site.by_digest(), kAlice) == 200);
  CHECK(site.asked() == asked);  // upstream was silent a moment ago
  const auto stale = site.ask(site.by_tag(), kAlice);
  CHECK(stale->status() == 200);
  CHECK(stale->header("Layerd-Source") == "stale");
  CHECK(site.status(site.blob(), bob_may_not) == 502);
  CHECK(site.status(site.blob()) == 401);
  site.bench.loop.advance(53h);
  CHECK(site.status(site.blob(), kAlice) == 502);
}

TEST_CASE("an upstream that hangs is waited for shortly by who has a grant of earlier") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  site.bench.loop.advance(11min);
  site.bench.fetcher.script = [](const upstream::FetchRequest&) {
    Reply reply;
    reply.never = true;
    return reply;
  };
  RecordedExchange exchange(site.bench.loop, "GET", site.by_digest(), with(kAlice));
  exchange.serve_with(*site.bench.mirror);
  site.bench.loop.advance(1900ms);
  CHECK_FALSE(exchange.ended());
  site.bench.loop.advance(200ms);
  CHECK(exchange.status() == 200);
}

TEST_CASE("a restart costs nothing: handles, grants and classes hold") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  const auto alice = site.handle_for(*site.ask(site.by_tag()), kAlice);
  site.pull(alice);
  site.restart();
  site.is_cut = true;
  CHECK(site.status(site.blob(), alice) == 200);
  CHECK(site.asked() == 0);
  CHECK(site.status(site.blob()) == 401);
  site.bench.loop.advance(30min);
  site.restart();
  CHECK(site.status(site.blob(), alice) == 200);  // the grace counts from the grant, not from the start
}

// rules: refused-is-left-alone
TEST_CASE("a wrong password is tried once, and many of them lock no account") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  REQUIRE(site.status(site.by_tag()) == 401);
  site.bench.fetcher.requests.clear();
  for (int i = 0; i < 20; ++i) CHECK(site.status(site.by_tag(), kWrong) == 403);
  CHECK(site.asked_as(Who::client) == 1);
  site.bench.loop.advance(31s);
  CHECK(site.status(site.by_tag(), kWrong) == 403);
  CHECK(site.asked_as(Who::client) == 2);
  site.bench.loop.advance(31s);
  CHECK(site.status(site.by_tag(), kWrong) == 403);  // twice as long each time
  CHECK(site.asked_as(Who::client) == 2);
  CHECK(site.status(site.by_tag(), kAlice) == 200);
}

TEST_CASE("after several wrong passwords of one account no further one is tried, but the right one holds") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  site.bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    auto reply = site.answer(request);
    if (reply.error) reply.error->status = 401;
    return reply;
  };
  // alice:a, alice:b, ...
  for (const char* guess : {"YWxpY2U6YQ==", "YWxpY2U6Yg==", "YWxpY2U6Yw==", "YWxpY2U6ZA==", "YWxpY2U6ZQ=="})
    CHECK(site.status(site.by_tag(), "Basic " + std::string(guess)) == 403);
  CHECK(site.asked_as(Who::client) == 3);
  site.bench.loop.advance(11min);
  CHECK(site.status(site.blob(), kAlice) == 200);
}

TEST_CASE("a missing tag costs nobody the right to the rest") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  CHECK(site.status(Site::url("manifests", "2"), kAlice) == 404);
  CHECK(site.status(Site::url("manifests", "3"), kAlice) == 404);
  CHECK(site.bench.catalog.grants.size() == 1);
  site.is_cut = true;
  CHECK(site.status(site.blob(), kAlice) == 200);
}

TEST_CASE("a registry that hides what one may not see takes the right away with a 404") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.hides = true;
  const auto challenged = site.ask(site.by_tag());
  REQUIRE(challenged->status() == 401);
  const auto alice = site.handle_for(*challenged, kAlice), nobody = site.handle_for(*challenged, {});
  site.pull(alice);
  site.rights["team/app"].clear();
  site.bench.loop.advance(11min);
  CHECK(site.status(site.blob(), alice) == 404);
  CHECK(site.bench.catalog.grants.empty());
}

TEST_CASE("a 404 that may hide something leads to a challenge once") {
  Site site;
  site.hides = true;
  const auto challenged = site.ask(site.by_tag());
  REQUIRE(challenged->status() == 401);
  const auto nobody = site.handle_for(*challenged, {});
  CHECK(site.status(site.by_tag(), nobody) == 404);
  site.bench.loop.advance(6s);
  CHECK(site.status(site.by_tag(), nobody) == 404);
  // From a registry that asks nobody for anything it is what it says.
  Site plain;
  plain.rights["team/app"] = {"nobody"};
  CHECK(plain.status(Site::url("manifests", "2")) == 404);
  CHECK(site.bench.catalog.repositories.empty());
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

// rules: own-address-alone
TEST_CASE("a client's credentials go to the registry's own address by TLS and nowhere else") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  for (const auto& request : site.bench.fetcher.requests) {
    if (request.target->as.who != Who::client) continue;
    for (const auto& endpoint : request.target->endpoints) CHECK(endpoint.is_own);
  }
  const auto configured = [&](const std::string& endpoint, bool has_default) {
    registry::RulesInput input;
    auto url = registry::parse_url(endpoint);
    REQUIRE(url);
    url->path = "/v2";
    input.mirrors["private.example"] = {{*url}, {}, has_default};
    auto rules = registry::Rules::make(std::move(input));
    REQUIRE(rules);
    site.bench.change([&](proxy::MirrorSettings& settings) { settings.rules = *rules; });
    site.bench.fetcher.requests.clear();
    return site.ask(Site::url("manifests", "new"), kAlice);
  };
  // Beside a mirror the registry's own address is asked; without one, nothing.
  configured("https://mirror.example", true);
  for (const auto& request : site.bench.fetcher.requests)
    if (request.target->as.who == Who::client) {
      REQUIRE(request.target->endpoints.size() == 1);
      CHECK(request.target->endpoints[0].base.host == "private.example");
    }
  CHECK(site.asked_as(Who::client) > 0);
  const auto withheld = configured("https://mirror.example", false);
  CHECK(withheld->status() == 403);
  CHECK(withheld->reason().find("are not sent on") != std::string::npos);
  CHECK(site.asked_as(Who::client) == 0);
}

TEST_CASE("the ping asks for credentials only when it is told to") {
  Site site;
  CHECK(site.status("/v2/") == 200);
  site.bench.change([](proxy::MirrorSettings& settings) { settings.access.challenge_ping = true; });
  const auto challenged = site.ask("/v2/");
  REQUIRE(challenged->status() == 401);
  CHECK(challenged->header("WWW-Authenticate") ==
        "Bearer realm=\"http://127.0.0.1:5151/token\",service=\"layerd\"");
  const auto handle = site.handle_for(*challenged, {});
  CHECK(site.status("/v2/", handle) == 200);
  CHECK(site.status("/v2/", "Bearer rubbish") == 401);
  // The client writes the scope by itself then, with the registry in the name.
  site.rights["team/app"] = {"alice:secret"};
  const auto token = site.ask(
      "/token?account=alice&service=layerd&scope=repository%3Aprivate.example%2Fteam%2Fapp%3Apull", kAlice);
  const auto json = parse_json(token->body());
  REQUIRE(json);
  CHECK(site.status("/v2/private.example/team/app/manifests/1", "Bearer " + json_string(*json, "token")) ==
        200);
}

TEST_CASE("our token endpoint refuses nobody, asks nobody and keeps nothing") {
  Site site;
  for (const char* authorization : {"", "Basic !!!", "Basic bm9jb2xvbg==", "Digest x", "Bearer y"}) {
    CAPTURE(authorization);
    const auto token =
        site.ask("/token?service=layerd&scope=repository:team/app:pull&ns=private.example", authorization);
    CHECK(token->status() == 200);
    CHECK(token->header("Cache-Control") == "no-store");
  }
  for (const char* query : {"", "?", "?scope=", "?scope=repository::pull", "?scope=x:y:z&ns=%zz",
                            "?ns=/&scope=repository:A:pull"})
    CHECK(site.status("/token" + std::string(query)) == 200);
  CHECK(site.ask("/token", {}, net::SocketOwner{0, 0}, "POST")->status() == 404);
  CHECK(site.asked() == 0);
  CHECK(site.bench.catalog.grants.empty());
  CHECK(site.bench.catalog.repositories.empty());
}

TEST_CASE("names that others make up fill no disk and no memory") {
  Site site;
  for (int i = 0; i < 50; ++i) {
    const auto name = fmt::format("made/up{}", i);
    CHECK(site.status(site.by_tag(name)) == 401);
    CHECK(site.ask(site.by_tag(name), {}, net::SocketOwner{kStranger, 0})->status() == 403);
    CHECK(site.status(site.by_tag(name), kBob) == 403);
  }
  CHECK(site.bench.catalog.repositories.empty());
  CHECK(site.bench.catalog.grants.empty());
  CHECK(site.bench.catalog.links.empty());
}
