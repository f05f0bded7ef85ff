// When a right ends and when it does not: taken away, hidden, the WAN cut, a restart, wrong passwords.
#include "tests/unit/proxy/access_site.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

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
