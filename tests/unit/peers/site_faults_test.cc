// Members that refuse us, members whose bytes were wrong, letters that must not overtake each other.
#include "proxy/peers/recheck.h"
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

AskAnswer sent_to(std::vector<std::string> sources) {
  AskAnswer answer;
  answer.kind = AskAnswer::Kind::from;
  answer.sources = std::move(sources);
  return answer;
}

void all_answer(SiteBench& bench, AskAnswer answer) {
  bench.wire.on_ask = [answer](const std::string&, const Ask&) { return answer; };
  bench.wire.on_who = [](const std::string&, const Who&) { return WhoAnswer{}; };
  bench.wire.on_probe = [](const std::string&, const Probe&) {
    return ProbeAnswer{0, true, 0, false, {}, 0};
  };
  bench.wire.on_get = [](const std::string&, const UnitGet&) { return std::nullopt; };
}

SiteSnapshot::MemberRow row_of(const SiteBench& bench, const std::string& id) {
  for (const auto& row : bench.site.snapshot().members)
    if (row.id == id) return row;
  return {};
}

Received wrong_unit(std::uint32_t unit, std::vector<std::string> chain) {
  return {unit, digest("wrong"), std::move(chain)};
}

// A unit that came wrong along a chain, of a blob whose digest was wrong then, and of which upstream gave
// something else to others.
void spoil(SiteBench& bench, const std::string& giver, std::vector<std::string> path) {
  all_answer(bench, sent_to({giver}));
  bench.wire.paths[giver] = std::move(path);
  auto share = bench.begin();
  REQUIRE(share);
  const auto unit = bench.unit_of(5, 5);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(giver));
  CHECK(share->arrived(unit, digest("wrong"), false));
  auto claimed = sent_to({giver});
  claimed.claim = digest("right");
  bench.wire.on_ask = [claimed](const std::string&, const Ask&) { return claimed; };
  share->mismatched();
  found.reset();
  share.reset();
  bench.loop.advance(3s);
  // It is here rightly in the end.
  bench.shelf.hashes.assign(unit + 1, digest("right"));
  bench.site.stored(kBlob.digest);
}

}  // namespace

// rules: refused-and-left-alone
TEST_CASE("a member that does not admit us is asked ever more seldom, and its reason is told") {
  SiteBench bench(2);
  Error refusal{Errc::denied, "member 10.0.0.2:5152: it does not know our secret"};
  refusal.diagnosis = "peer_other_secret";
  bench.wire.on_ask = [&](const std::string&, const Ask&) { return Result<AskAnswer>(refusal); };
  bench.wire.on_who = [&](const std::string&, const Who&) { return Result<WhoAnswer>(refusal); };
  bench.wire.on_probe = [&](const std::string&, const Probe&) { return Result<ProbeAnswer>(refusal); };
  for (int second = 0; second < 600; ++second) {  // somebody pulls all the time
    if (auto share = bench.begin()) {
      auto found = bench.find(*share, bench.unit_of(2, 2));
      bench.loop.advance(1s);
    } else {
      bench.loop.advance(1s);
    }
  }
  CHECK(bench.wire.asks.size() <= 6);  // at 0 s, 30 s, 90 s, 210 s, 450 s
  CHECK(bench.wire.asks.size() >= 4);
  const auto row = row_of(bench, node(2));
  CHECK(row.refuses);
  CHECK(row.dead_for > 1min);
  CHECK(row.last_fault.find("does not know our secret") != std::string::npos);
  // What was wrong is put right.
  if (GENERATE(true, false))
    bench.loop.advance(5min);
  else
    bench.site.trust_changed();  // here
  all_answer(bench, sent_to({node(2)}));
  auto share = bench.begin();
  REQUIRE(share);
  auto found = bench.find(*share, bench.unit_of(2, 2));
  bench.loop.advance(1s);
  CHECK(found->is_member(node(2)));
  CHECK_FALSE(row_of(bench, node(2)).refuses);
}

TEST_CASE("a member that refuses one thing is not left alone for that") {
  SiteBench bench(2);
  const Error refusal{Errc::denied, "docker.io/library/nginx is not shared by this node", 403};
  bench.wire.on_ask = [&](const std::string&, const Ask&) { return Result<AskAnswer>(refusal); };
  auto share = bench.begin();
  REQUIRE(share);
  auto found = bench.find(*share, bench.unit_of(2, 2));
  bench.loop.advance(1s);
  CHECK_FALSE(row_of(bench, node(2)).refuses);
  CHECK(bench.begin() != nullptr);
}

// rules: letters-in-turn
TEST_CASE("a letter of records waits until the one before it was answered") {
  SiteBench bench(4);
  bench.loop.advance(5s);  // the round of all blobs
  for (int i = 2; i <= 4; ++i) bench.wire.delays[node(i)] = 5s;
  std::vector<std::pair<std::string, bool>> letters;  // to whom, and whether the blob is there
  bench.wire.tells.clear();
  bench.site.stored(digest("come and gone"));
  bench.loop.advance(2s);
  const auto keepers = bench.wire.tells.size();
  REQUIRE(keepers >= 1);
  bench.site.removed(digest("come and gone"));
  bench.loop.advance(2s);
  CHECK(bench.wire.tells.size() == keepers);
  bench.loop.advance(10s);
  REQUIRE(bench.wire.tells.size() == 2 * keepers);
  for (std::size_t i = 0; i < keepers; ++i) {
    CHECK(bench.wire.tells[i].second.have->blobs.size() == 1);
    CHECK(bench.wire.tells[keepers + i].second.have->gone.size() == 1);
  }
}

TEST_CASE("letters to a member that died meanwhile are not sent") {
  SiteBench bench(2);
  bench.loop.advance(5s);
  bench.wire.tells.clear();
  bench.wire.delays[node(2)] = 10s;
  bench.wire.on_tell = [](const std::string&, const Tell&) { return Result<Ok>(ScriptedWire::nobody()); };
  for (int i = 0; i < 3; ++i) {
    bench.site.stored(digest("blob " + std::to_string(i)));
    bench.loop.advance(1500ms);
  }
  REQUIRE(bench.wire.tells.size() == 1);
  bench.loop.advance(10s);
  CHECK(bench.wire.tells.size() == 1);
  bench.wire.on_tell = [](const std::string&, const Tell&) { return Result<Ok>(Ok{}); };
  bench.loop.advance(40s);
  bench.site.stored(digest("another"));
  bench.loop.advance(2s);
  CHECK(bench.wire.tells.size() == 2);
}

TEST_CASE("who is in most of the wrong chains made them wrong, and of several who was suspected before") {
  SiteSettings settings;
  Metrics metrics;
  SiteMetrics counted{metrics};
  Acquaintances known{settings, counted};
  const TimePoint now = TimePoint{} + 1h;
  const std::string a = node(2), b = node(3), c = node(4);
  auto blame = blamed({wrong_unit(0, {a, b}), wrong_unit(1, {b})}, known);
  CHECK(blame.guilty == std::set<std::string>{b});
  CHECK(blame.suspects.empty());
  blame = blamed({wrong_unit(0, {a, b})}, known);
  CHECK(blame.guilty.empty());
  CHECK(blame.suspects == std::set<std::string>{a, b});
  known.suspect(a, 5min, now);
  known.suspect(b, 5min, now);
  blame = blamed({wrong_unit(0, {c, b})}, known);
  CHECK(blame.guilty == std::set<std::string>{b});
  CHECK(blame.suspects.empty());
  CHECK(blamed({}, known).guilty.empty());
}

// rules: relays-are-not-guilty
TEST_CASE("who passed wrong bytes on is avoided for minutes, who gives them again for an hour") {
  SiteBench bench(5);
  spoil(bench, node(3), {node(4)});
  for (const int number : {3, 4}) {
    CHECK(row_of(bench, node(number)).banned_for > 1min);
    CHECK(row_of(bench, node(number)).banned_for <= 5min);
  }
  CHECK(row_of(bench, node(2)).banned_for == Duration::zero());
  bench.loop.advance(6min);
  spoil(bench, node(2), {node(4)});
  CHECK(row_of(bench, node(4)).banned_for > 30min);
  CHECK(row_of(bench, node(2)).banned_for == Duration::zero());
  CHECK(row_of(bench, node(3)).banned_for == Duration::zero());
}

TEST_CASE("what is sought while the guilty are found goes on as soon as they are") {
  SiteBench bench(5);
  all_answer(bench, sent_to({node(3)}));
  auto share = bench.begin();
  const auto unit = bench.unit_of(5, 5);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  CHECK(share->arrived(unit, digest("wrong"), false));
  auto claimed = sent_to({node(2)});
  claimed.claim = digest("right");
  bench.wire.on_ask = [claimed](const std::string&, const Ask&) { return claimed; };
  share->mismatched();
  found.reset();
  share = bench.begin();
  bench.loop.advance(7ms);
  auto anew = bench.find(*share, unit);
  bench.wire.log.clear();
  const auto get = "get " + node(2);
  while (row_of(bench, node(3)).banned_for == Duration::zero()) bench.loop.advance(1ms);
  CHECK(bench.wire.count(get) == 0);
  bench.loop.advance(4ms);  // an ask and a get
  CHECK(bench.wire.count(get) == 1);
}
