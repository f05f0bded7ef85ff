// How long a client's right is kept, and what wrong passwords cost.
#include <algorithm>
#include <set>

#include "tests/support/hashes.h"
#include "tests/unit/proxy/access_site.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

std::string basic(const std::string& account) { return "Basic " + base64(account); }

// Whoever is not let in has a wrong password.
void refuse_with_401(Site& site) {
  site.bench.fetcher.script = [&site](const upstream::FetchRequest& request) {
    auto reply = site.answer(request);
    if (reply.error) reply.error->status = 401;
    return reply;
  };
}

}  // namespace

// rules: grants-end
TEST_CASE("grants older than the grace are removed, by and by") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  const auto now = proxy::unix_seconds(site.bench.loop.wall_now());
  const auto row = [](int i) { return fmt::format("g{:064}", i); };
  for (int i = 0; i < 1000; ++i) {
    const auto age = i % 2 == 0 ? 72 * 3600 : 71 * 3600;
    site.bench.catalog.grants[row(i)] = fmt::format("{} 0 latest", now - age);
  }
  site.bench.catalog.grants[row(1000)] = "rubbish";
  site.restart();
  CHECK(site.bench.catalog.grants.size() == 1002);
  site.bench.loop.advance(1min);
  CHECK(site.bench.catalog.grants.size() == 501);  // the first look, in several steps
  site.bench.loop.advance(2h);
  CHECK(site.bench.catalog.grants.size() == 1);
  site.bench.loop.advance(73h);
  CHECK(site.bench.catalog.grants.empty());
}

TEST_CASE("a look for old grants takes few rows at once") {
  Site site;
  for (int i = 0; i < 1000; ++i) site.bench.catalog.grants[fmt::format("g{:064}", i)] = "1 0 latest";
  site.restart();
  for (std::size_t most = 1000; !site.bench.catalog.grants.empty();) {
    site.bench.loop.advance(5s);
    const auto left = site.bench.catalog.grants.size();
    REQUIRE(left < most);
    REQUIRE(most - left <= 256);
    most = left;
  }
}

TEST_CASE("an old grant is removed when it is met") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  REQUIRE(site.bench.catalog.grants.size() == 1);
  auto& value = site.bench.catalog.grants.begin()->second;
  value = fmt::format("{} 0 1", proxy::unix_seconds(site.bench.loop.wall_now()) - 73 * 3600);
  site.restart();
  site.is_cut = true;
  CHECK(site.status(site.blob(), kAlice) == 502);
  CHECK(site.bench.catalog.grants.empty());
}

TEST_CASE("a grant is kept as long as the configured grace says, and as access.grant says") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  site.bench.change([](proxy::MirrorSettings& settings) {
    settings.access.offline_grace = 0s;
    settings.access.grant = 3h;
  });
  site.is_cut = true;
  site.bench.loop.advance(2h);
  CHECK(site.bench.catalog.grants.size() == 1);
  site.restart();
  CHECK(site.status(site.blob(), kAlice) == 200);
  site.bench.loop.advance(3h);
  CHECK(site.bench.catalog.grants.empty());
}

TEST_CASE("a grant of the future, after the clock was set back, ends as well") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  site.pull(kAlice);
  auto& value = site.bench.catalog.grants.begin()->second;
  value = fmt::format("{} 0 1", proxy::unix_seconds(site.bench.loop.wall_now()) + 10 * 365 * 86400LL);
  site.restart();
  site.is_cut = true;
  site.bench.loop.advance(71h);
  CHECK(site.status(site.blob(), kAlice) == 200);
  site.bench.loop.advance(3h);
  CHECK(site.bench.catalog.grants.empty());
  CHECK(site.status(site.blob(), kAlice) == 502);
}

// rules: one-password-counts-once
TEST_CASE("one wrong password counts once, however often and for however much it is brought") {
  Site site;
  for (const char* name : {"team/app", "team/b", "team/c", "team/d", "team/e"})
    site.rights[name] = {"alice:secret"};
  refuse_with_401(site);
  for (const char* name : {"team/app", "team/b", "team/c", "team/d"})
    CHECK(site.status(site.by_tag(name), kWrong) == 403);
  // Requests that are under way together, and tries after the time of refusal.
  std::vector<std::unique_ptr<RecordedExchange>> together;
  for (const auto& target : {site.by_tag("team/e"), site.by_digest("team/e"), site.blob("team/e"),
                             Site::url("tags", "list", "team/e")}) {
    together.push_back(std::make_unique<RecordedExchange>(site.bench.loop, "GET", target, with(kWrong)));
    together.back()->serve_with(*site.bench.mirror);
  }
  for (auto& exchange : together) {
    site.bench.wait_for(*exchange);
    CHECK(exchange->status() == 403);
  }
  for (int i = 0; i < 5; ++i) {
    site.bench.loop.advance(10min);
    CHECK(site.status(site.by_tag(), kWrong) == 403);
  }
  CHECK(site.status(site.by_tag(), kAlice) == 200);
}

TEST_CASE("answers that were under way together are one refusal, of 30 seconds") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  refuse_with_401(site);
  REQUIRE(site.status(site.by_tag()) == 401);
  std::vector<std::unique_ptr<RecordedExchange>> together;
  for (const auto& target : {site.by_tag(), site.by_digest(), site.blob()}) {
    together.push_back(std::make_unique<RecordedExchange>(site.bench.loop, "GET", target, with(kBob)));
    together.back()->serve_with(*site.bench.mirror);
  }
  for (auto& exchange : together) site.bench.wait_for(*exchange);
  site.rights["team/app"].insert("bob:secret");
  site.bench.loop.advance(31s);
  CHECK(site.status(site.by_tag(), kBob) == 200);
}

// rules: guesses-at-once
TEST_CASE(
    "passwords tried at the same time are no more than may be wrong, and the right one waits its turn") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  refuse_with_401(site);
  REQUIRE(site.status(site.by_tag()) == 401);
  site.bench.fetcher.requests.clear();
  std::vector<std::unique_ptr<RecordedExchange>> together;
  const auto ask = [&](const std::string& authorization) {
    together.push_back(
        std::make_unique<RecordedExchange>(site.bench.loop, "GET", site.by_tag(), with(authorization)));
    together.back()->serve_with(*site.bench.mirror);
  };
  SECTION("all wrong") {
    for (int i = 0; i < 10; ++i) ask(basic("alice:guess" + std::to_string(i)));
    for (auto& exchange : together) site.bench.wait_for(*exchange);
    for (auto& exchange : together) CHECK(exchange->status() == 403);
    std::set<std::string> tried;
    for (const auto& request : site.bench.fetcher.requests) tried.insert(request.target->as.name);
    CHECK(tried.size() == 3);
    CHECK(std::count_if(together.begin(), together.end(), [](const auto& exchange) {
            return exchange->body().find("several passwords of this account were wrong") != std::string::npos;
          }) == 7);
  }
  SECTION("all wrong, by lists") {
    for (int i = 0; i < 10; ++i) {
      together.push_back(std::make_unique<RecordedExchange>(site.bench.loop, "GET", Site::url("tags", "list"),
                                                            with(basic("alice:guess" + std::to_string(i)))));
      together.back()->serve_with(*site.bench.mirror);
    }
    for (auto& exchange : together) site.bench.wait_for(*exchange);
    for (auto& exchange : together) CHECK(exchange->status() == 403);
    CHECK(site.asked_as(Who::client) == 3);
  }
  SECTION("all right") {
    for (int i = 0; i < 10; ++i) {
      site.rights["team/app"].insert("key:secret" + std::to_string(i));
      ask(basic("key:secret" + std::to_string(i)));
    }
    for (auto& exchange : together) site.bench.wait_for(*exchange);
    for (auto& exchange : together) CHECK(exchange->status() == 200);
  }
  SECTION("after the time of refusal the right one is tried") {
    for (int i = 0; i < 10; ++i) ask(basic("alice:guess" + std::to_string(i)));
    for (auto& exchange : together) site.bench.wait_for(*exchange);
    site.bench.loop.advance(31s);
    CHECK(site.status(site.by_tag(), kAlice) == 200);
  }
  SECTION("others are not kept waiting") {
    for (int i = 0; i < 10; ++i) ask(basic("alice:guess" + std::to_string(i)));
    ask(basic("bob:guess"));
    for (auto& exchange : together) site.bench.wait_for(*exchange);
    CHECK(std::any_of(site.bench.fetcher.requests.begin(), site.bench.fetcher.requests.end(),
                      [](const auto& request) { return request.target->as.credentials.username == "bob"; }));
  }
  SECTION("who leaves while he waits is forgotten") {
    for (int i = 0; i < 10; ++i) ask(basic("alice:guess" + std::to_string(i)));
    together.clear();
    site.bench.loop.advance(30s);
    std::set<std::string> tried;
    for (const auto& request : site.bench.fetcher.requests) tried.insert(request.target->as.name);
    CHECK(tried.size() <= 3);
  }
}

// rules: no-endless-line
TEST_CASE("a password that waits for others of its account does not wait for ever") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  refuse_with_401(site);
  REQUIRE(site.status(site.by_tag()) == 401);
  site.bench.fetcher.requests.clear();
  const auto answer = site.bench.fetcher.script;
  site.bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    auto reply = answer(request);
    reply.never = request.target->as.credentials.password != "secret";
    return reply;
  };
  std::vector<std::unique_ptr<RecordedExchange>> guesses;
  for (const char* guess : {"alice:a", "alice:b", "alice:c"}) {
    guesses.push_back(
        std::make_unique<RecordedExchange>(site.bench.loop, "GET", site.by_tag(), with(basic(guess))));
    guesses.back()->serve_with(*site.bench.mirror);
  }
  RecordedExchange alice(site.bench.loop, "GET", site.by_tag(), with(kAlice));
  alice.serve_with(*site.bench.mirror);
  site.bench.loop.advance(7s);
  CHECK_FALSE(alice.head_sent());
  site.bench.loop.advance(2s);
  CHECK(alice.status() == 502);
  CHECK(alice.body().find("this one was not tried") != std::string::npos);
  CHECK(alice.body().find("\"connect_timeout\"") != std::string::npos);
  CHECK(site.asked_as(Who::client) == 3);
  // Nothing is held against it.
  guesses.clear();
  site.bench.fetcher.script = answer;
  site.restart();
  CHECK(site.status(site.by_tag(), kAlice) == 200);
}

TEST_CASE("a password that was held back, and an identity token, lock no account") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  refuse_with_401(site);
  const auto answer = site.bench.fetcher.script;
  site.bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    auto reply = answer(request);
    if (reply.error && request.target->as.who == Who::client) reply.error->diagnosis = "credentials_withheld";
    return reply;
  };
  for (const char* guess : {"alice:a", "alice:b", "alice:c", "alice:d"})
    CHECK(site.status(site.by_tag(), basic(guess)) == 403);
  CHECK(site.status(site.by_tag(), kAlice) == 200);
  site.bench.fetcher.script = answer;
  for (const char* token : {":a", ":b", ":c", ":d"}) {
    site.bench.fetcher.requests.clear();
    CHECK(site.status(site.by_tag(), basic(token)) == 403);
    CHECK(site.asked_as(Who::client) == 1);
  }
}

TEST_CASE("wrong passwords of long ago count no longer") {
  Site site;
  site.rights["team/app"] = {"alice:secret"};
  refuse_with_401(site);
  for (const char* guess : {"alice:a", "alice:b", "alice:c"}) {
    CHECK(site.status(site.by_tag(), basic(guess)) == 403);
    site.bench.loop.advance(61min);
  }
  CHECK(site.status(site.by_tag(), kAlice) == 200);
}
