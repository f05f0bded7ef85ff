// A client's own right, from the request to the answer: challenge, handle, our token endpoint, and that it
// serves nobody else and goes nowhere else.
#include "tests/unit/proxy/access_site.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;
using cache::RepositoryClass;

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
