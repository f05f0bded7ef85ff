// The ladder: where a unit is looked for, one site whose members are scripted.
#include "proxy/peers/rendezvous.h"
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

std::uint32_t SiteBench::unit_of(int coordinator, int members, std::uint32_t from) const {
  std::vector<Member> all;
  for (int i = 1; i <= members; ++i) {
    all.emplace_back();
    all.back().id = node(i);
  }
  const Ranking ranking(std::make_shared<const MemberList>(std::move(all), node(1)));
  for (std::uint32_t unit = from;; ++unit)
    if (ranking.first(kBlob.digest, unit, 1).front()->id == node(coordinator)) return unit;
}

TEST_CASE("a node without living members does not share") {
  SiteBench alone(1);
  CHECK(alone.begin() == nullptr);
  SiteBench bench(2);
  auto share = bench.begin();
  REQUIRE(share);
  auto found = bench.find(*share, bench.unit_of(2, 2));
  bench.loop.advance(1s);
  CHECK(found->is_upstream());  // the other one is dead: as if it were not there
  CHECK(bench.begin() == nullptr);
  bench.loop.advance(31s);
  CHECK(bench.begin() != nullptr);  // it is tried again
  bench.is_shared = false;
  CHECK(bench.begin() == nullptr);
}

TEST_CASE("the least busy of the named members with a slot is taken") {
  SiteBench bench;
  everybody_answers(bench, from({node(2), node(3), node(4)}));
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(2)) return free_slot(7);
    if (to == node(3)) return free_slot(2);
    return ProbeAnswer{};  // no slot
  };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  CHECK(found->is_member(node(3)));
  CHECK(bench.wire.gets.back().second.path == std::vector<std::string>{node(1)});
}

TEST_CASE("a candidate that is silent is waited for thirty milliseconds and no longer") {
  SiteBench bench;
  everybody_answers(bench, from({node(2), node(3)}));
  bench.wire.delays[node(3)] = 900ms;
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(20ms);
  CHECK_FALSE(found->result);
  bench.loop.advance(20ms);
  CHECK(found->is_member(node(2)));
}

TEST_CASE("a dead coordinator costs its time-out once, and the next rank is told of it") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  const auto answers = bench.wire.on_ask;
  const auto unit = bench.unit_of(2);
  bench.wire.on_ask = [answers](const std::string& to, const Ask& ask) -> Result<AskAnswer> {
    if (to == node(2)) return ScriptedWire::nobody();
    return answers(to, ask);
  };
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(2)) return ScriptedWire::nobody();
    return free_slot(0);
  };
  bench.wire.delays[node(2)] = 250ms;
  auto share = bench.begin();
  auto found = bench.find(*share, unit);
  bench.loop.advance(240ms);
  CHECK_FALSE(found->result);
  bench.loop.advance(20ms);
  REQUIRE(found->is_upstream());
  const auto last = bench.wire.asks.empty() ? Ask{} : bench.wire.asks.back().second;
  if (bench.wire.asks.back().first != node(2)) CHECK(last.dead == std::vector<std::string>{node(2)});
  const auto tried = bench.wire.count("ask " + node(2));
  const auto unit_2 = bench.unit_of(2, 4, unit + 1), unit_3 = bench.unit_of(2, 4, unit_2 + 1);
  auto second = bench.find(*share, unit_2);
  bench.loop.advance(10ms);
  CHECK(second->is_upstream());
  CHECK(bench.wire.count("ask " + node(2)) == tried);
  bench.loop.advance(31s);
  auto third = bench.find(*share, unit_3);
  bench.loop.advance(1s);
  CHECK(bench.wire.count("ask " + node(2)) == tried + 1);
  bench.loop.advance(31s);  // twice as long now
  auto fourth = bench.find(*share, bench.unit_of(2, 4, unit_3 + 1));
  bench.loop.advance(1s);
  CHECK(bench.wire.count("ask " + node(2)) == tried + 1);
}

// rules: dead-are-felt
// rules: new-coordinator-knows-less
TEST_CASE(
    "who coordinates since a moment ago does not know who brings the unit, and those who gave others do") {
  SiteBench bench(6);
  everybody_answers(bench, from({node(3)}));
  const auto unit = bench.unit_of(2, 6);
  auto share = bench.begin();
  const auto before = bench.unit_of(5, 6);
  auto first = bench.find(*share, before);
  bench.loop.advance(100ms);
  REQUIRE(first->is_member(node(3)));
  share->arrived(before, digest("unit"), false);
  ByteCount have = 2_MiB;
  SECTION("one of them has more than we do") {}
  SECTION("none has") { have = 0; }
  bench.wire.on_ask = [](const std::string& to, const Ask&) -> Result<AskAnswer> {
    if (to == node(2)) return ScriptedWire::nobody();
    return fetch();
  };
  bench.wire.on_probe = [have](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(2)) return ScriptedWire::nobody();
    return free_slot(0, have);
  };
  auto found = bench.find(*share, unit);
  bench.loop.advance(2s);
  CHECK(found->is_member(node(3)) == (have > 0));
  CHECK(found->is_upstream() == (have == 0));
  CHECK((*found->result)->is_leased);
}

TEST_CASE("a node whose cable was out finds its site again as soon as one member answers") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  auto first = bench.find(*share, 0);
  bench.loop.advance(1s);
  CHECK(first->is_upstream());
  bench.loop.advance(3s);  // nobody was heard of lately
  const auto ask = bench.wire.on_ask;
  bench.wire.on_ask = nullptr;  // nobody is there
  bench.wire.on_probe = nullptr;
  for (int other = 2; other <= 4; ++other) {
    auto found = bench.find(*share, bench.unit_of(other, 4, 1));
    bench.loop.advance(300ms);
  }
  CHECK(bench.begin() == nullptr);
  bench.wire.on_ask = ask;
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to != node(3)) return ScriptedWire::nobody();  // one is enough
    return free_slot(0);
  };
  bench.loop.advance(4s);
  for (const auto& member : bench.site.snapshot().members) CHECK_FALSE(member.is_dead);
  CHECK(bench.begin() != nullptr);
  share.reset();
  bench.loop.advance(20s);
  const auto said = bench.wire.log.size();
  bench.loop.advance(20s);
  CHECK(bench.wire.log.size() == said);  // nobody pulls: nothing is asked
}

// rules: busy-is-bounded
TEST_CASE("a coordinator that is busy for a minute is asked again within a second, and then done without") {
  SiteBench bench;
  AskAnswer busy;
  busy.kind = AskAnswer::Kind::busy;
  busy.wait = 60s;
  everybody_answers(bench, busy);
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(6s);
  CHECK(found->is_upstream());
}

TEST_CASE("a redirect is followed, and one to a dead member makes the asked one accept") {
  SiteBench bench(3);
  everybody_answers(bench, fetch());
  bench.wire.on_ask = [](const std::string& to, const Ask& ask) -> Result<AskAnswer> {
    if (to == node(9)) return ScriptedWire::nobody();
    if (std::count(ask.dead.begin(), ask.dead.end(), node(9)) != 0) return fetch();
    AskAnswer answer;
    answer.kind = AskAnswer::Kind::redirect;
    answer.member = node(9);  // not in our list
    return answer;
  };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2, 3));
  bench.loop.advance(500ms);
  CHECK(found->is_upstream());
  CHECK(bench.wire.count("ask " + node(9)) == 1);
  const auto unit = bench.unit_of(2, 3, 50);
  auto again = bench.find(*share, unit);
  bench.loop.advance(500ms);
  CHECK(again->is_upstream());
  CHECK(bench.wire.count("ask " + node(9)) == 1);  // remembered
  CHECK(bench.wire.asks.back().second.hops <= 3);
}

TEST_CASE("the coordinator that we are ourselves is asked without a wire") {
  SiteBench bench;
  auto [share, unit, found] = seek(bench, from({node(2)}), 1);
  REQUIRE(found->is_upstream());
  CHECK((**found->result).is_leased);
  CHECK(bench.wire.asks.empty());
  Ask ask;
  ask.unit = unit_name(bench.unit_of(1));
  CHECK(bench.site.on_ask(node(2), ask).sources == std::vector<std::string>{node(1)});
}

TEST_CASE("a lease is kept alive, and done tells the hash") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_upstream());
  CHECK((*found->result)->is_leased);
  for (int i = 1; i <= 50; ++i) {
    share->progress(unit, ByteCount(i) * 64_KiB);
    bench.loop.advance(100ms);
  }
  std::size_t alive = 0;
  for (const auto& [to, tell] : bench.wire.tells) alive += to == node(2) ? tell.alive.size() : 0;
  CHECK(alive == 2);
  CHECK(share->arrived(unit, digest("unit"), true));
  bench.loop.advance(300ms);
  const auto& last = bench.wire.tells.back().second;
  REQUIRE(last.done.size() == 1);
  CHECK(last.done[0].sha256 == digest("unit"));
  CHECK(last.done[0].from_upstream);
}

TEST_CASE("a share that ends gives its leases back") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  found.reset();
  share.reset();
  bench.loop.advance(300ms);
  REQUIRE(bench.wire.tells.size() == 1);
  CHECK(bench.wire.tells[0].second.gave_up.size() == 1);
}

TEST_CASE("who holds the whole blob gives it although the coordinator knows of nobody") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  bench.wire.on_who = [](const std::string&, const Who&) { return WhoAnswer{{node(4)}, 100_MiB, {}}; };
  bench.wire.on_probe = [](const std::string&, const Probe&) { return free_slot(0, 8_MiB, true); };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(4)));
  CHECK((*found->result)->is_leased);  // the others are sent to us
}

TEST_CASE("a stream that breaks off is gone on with elsewhere at the byte where it stood") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  bench.wire.on_ask = [](const std::string&, const Ask& ask) {
    return ask.avoid.empty() ? from({node(3)}) : from({node(4)});
  };
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  share->progress(unit, 1_MiB);
  share->failed(unit, {Errc::upstream_unreachable, "reset"});
  found.reset();
  auto again = bench.find(*share, unit, 1_MiB);
  bench.loop.advance(100ms);
  CHECK(again->is_member(node(4)));
  CHECK(bench.wire.gets.back().second.range.first == unit * kUnit + 1_MiB);
  CHECK(bench.wire.asks.back().second.avoid == std::vector<std::string>{node(3)});
  CHECK(bench.wire.asks.back().second.have == 1_MiB);
}

TEST_CASE("members that are full are asked again before upstream is") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  int refusals = 3;
  bench.wire.on_get = [&refusals](const std::string&, const UnitGet&) -> std::optional<Error> {
    if (refusals-- > 0) return Error{Errc::overloaded, "no slot"};
    return std::nullopt;
  };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(550ms);
  CHECK_FALSE(found->result);
  bench.loop.advance(200ms);
  CHECK(found->is_member(node(3)));
}

TEST_CASE("a member that answers with another size or range than asked for is not taken") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  bench.wire.on_ask = [](const std::string&, const Ask& ask) {
    return ask.avoid.empty() ? from({node(3)}) : fetch();
  };
  auto share = bench.begin();
  share->sized(90_MiB);
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  CHECK(found->is_upstream());
}

TEST_CASE("without any coordinator at most four units go upstream at once, after a jitter") {
  SiteBench bench(60);  // so many that we are hardly among the ranks that are asked
  bench.wire.on_ask = [](const std::string&, const Ask&) -> Result<AskAnswer> {
    return Error{Errc::denied, "not admitted"};  // alive, but of no use
  };
  auto share = bench.begin();
  std::vector<std::unique_ptr<SiteBench::Found>> found;
  std::vector<std::uint32_t> units;
  for (std::uint32_t unit = 0; found.size() < 6; unit = units.back() + 1) {
    units.push_back(bench.unit_of(2, 60, unit));
    found.push_back(bench.find(*share, units.back()));
  }
  bench.loop.advance(2s);
  const auto count = [&found] {
    std::size_t upstream = 0;
    for (const auto& one : found) upstream += one->is_upstream() && !(**one->result).is_leased;
    return upstream;
  };
  CHECK(count() == 4);
  for (std::size_t i = 0; i < found.size(); ++i)
    if (found[i]->is_upstream()) {
      CHECK(share->arrived(units[i], digest("unit"), true));
      break;
    }
  bench.loop.advance(1s);
  CHECK(count() == 5);
}

TEST_CASE("a blob that has turned whole is asked for as unit 0") {
  SiteBench bench;
  AskAnswer whole;
  whole.whole = true;
  everybody_answers(bench, whole);
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  REQUIRE(found->result);
  REQUIRE_FALSE(found->result->ok());
  CHECK(found->result->error().diagnosis == "whole_blob");
  CHECK(share->is_whole());
}

TEST_CASE("what is sought again and again without a byte more is sought ever more slowly") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  int searches = 0;
  const auto start = bench.loop.now();
  for (int i = 0; i < 1'000; ++i) {  // an upstream that fails at once, and a download that asks at once again
    auto found = bench.find(*share, unit);
    const auto until = bench.loop.now() + 5s;
    while (!found->result && bench.loop.now() < until) bench.loop.advance(1ms);
    REQUIRE(found->result);
    ++searches;
    share->failed(unit, {Errc::upstream_unreachable, "refused"});
    if (bench.loop.now() > start + 20s) break;
  }
  CHECK(searches < 40);
  CHECK(bench.wire.asks.size() < 40);
}
