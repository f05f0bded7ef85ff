// Who feeds whom: who asks for a unit that we seek ourselves, chains with somebody slow in them, zones, and
// what members may bring after they spoiled a blob.
#include "proxy/peers/message_fields.h"
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

struct Asked {
  std::optional<Result<std::unique_ptr<Upload>>> answer;
  Ticket ticket;
};
std::unique_ptr<Asked> get(SiteBench& bench, int from, std::uint32_t unit, ByteCount at = 0) {
  auto asked = std::make_unique<Asked>();
  const UnitGet message{unit_name(unit), {unit * kUnit + at, (unit + 1) * kUnit}, {node(from)}};
  asked->ticket = bench.site.on_get(
      node(from), message,
      [to = asked.get()](Result<std::unique_ptr<Upload>> upload) { to->answer = std::move(upload); });
  return asked;
}

}  // namespace

// rules: fed-before-feeding
TEST_CASE("who asks for a unit that is still sought here is told in the end by whom it would be fed") {
  SiteBench bench(6);
  everybody_answers(bench, from({node(3)}));
  bench.wire.paths[node(3)] = {node(5)};
  const auto unit = bench.unit_of(2, 6);
  bench.wire.delays[node(2)] = 100ms;  // the coordinator takes its time
  bench.shelf.here = Shelf::Held{false, true, 100_MiB, 0};
  auto share = bench.begin();
  auto found = bench.find(*share, unit);
  bench.loop.advance(20ms);
  auto other = get(bench, 4, unit);
  bench.loop.advance(50ms);
  CHECK_FALSE(other->answer);
  SECTION("a source is found") {
    bench.loop.advance(100ms);
    REQUIRE(found->is_member(node(3)));
    REQUIRE(other->answer);
    REQUIRE(other->answer->ok());
    CHECK((**other->answer)->path == std::vector<std::string>{node(3), node(5)});
    auto feeder = get(bench, 5, unit);  // it would be fed by itself
    bench.loop.advance(10ms);
    REQUIRE(feeder->answer);
    REQUIRE_FALSE(feeder->answer->ok());
    CHECK(feeder->answer->error().code == Errc::not_found);
  }
  SECTION("none is found in time") {
    found->ticket.reset();
    bench.loop.advance(400ms);
    CHECK_FALSE(other->answer);
    bench.loop.advance(200ms);
    REQUIRE(other->answer);
    REQUIRE_FALSE(other->answer->ok());
    CHECK(other->answer->error().code == Errc::overloaded);
    CHECK(bench.site.snapshot().uploads == 0);
  }
  SECTION("bytes that are here go at once") {
    bench.shelf.here->have = 1_MiB;
    auto late = get(bench, 6, unit, 65536);
    bench.loop.advance(10ms);
    REQUIRE(late->answer);
    CHECK(late->answer->ok());
  }
  SECTION("the download does not want the unit any more") {
    share->dropped(unit);
    bench.loop.advance(10ms);
    REQUIRE(other->answer);
  }
}

// rules: a-slow-root-alone-is-refused
TEST_CASE("of a chain that is slow at its root only the root is refused") {
  SiteBench bench(6);
  everybody_answers(bench, from({node(3)}));
  const auto unit = bench.unit_of(2, 6);
  bench.wire.paths[node(3)] = {node(5), node(4)};
  auto share = bench.begin();
  once_fast(bench, *share, bench.unit_of(2, 6, unit + 1));
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  Reading slow(**found->result);
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(3)) return ProbeAnswer{1, true, 0, false, {node(5), node(4)}, 0};
    return ProbeAnswer{1, true, 0, false, {}, 50'000};  // 100 kB/s is all it can give
  };
  bench.wire.asks.clear();
  for (int i = 0; i < 60 && bench.wire.asks.empty(); ++i) {
    bench.wire.taps[node(3)]->give(1'000);
    bench.loop.advance(100ms);
  }
  REQUIRE_FALSE(bench.wire.asks.empty());
  CHECK(bench.wire.asks.back().second.avoid == std::vector<std::string>{node(4)});
  // Who feeds us is in the stand-in's tree by now: it stays.
  bench.loop.advance(50ms);
  CHECK_FALSE(slow.left);
}

// rules: root-judged-by-now
TEST_CASE("a root that has become fast is no reason to ask upstream beside it, whatever it was before") {
  SiteBench bench(6);
  everybody_answers(bench, from({node(3)}));
  const auto unit = bench.unit_of(2, 6);
  auto share = bench.begin();
  once_fast(bench, *share, bench.unit_of(2, 6, unit + 1), 100_KiB);
  bench.wire.paths[node(3)] = {node(4)};
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  Reading slow(**found->result);
  ByteCount have = 0, each = 10_KiB;
  SECTION("it has become fast") { each = 400_KiB; }
  SECTION("it has not") {}
  bench.wire.on_probe = [&](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(3)) return ProbeAnswer{1, true, 0, false, {node(4)}, 0};
    have += each;  // a second passes between two probes
    return ProbeAnswer{1, true, have, false, {}, 50'000};
  };
  bench.wire.asks.clear();
  for (int i = 0; i < 35 && bench.wire.asks.empty(); ++i) {
    bench.wire.taps[node(3)]->give(1'000);
    bench.loop.advance(100ms);
  }
  CHECK(bench.wire.count("probe " + node(4)) >= 2);
  CHECK(bench.wire.asks.empty() == (each > 100_KiB));
}

// rules: taken-from-a-slow-root
TEST_CASE("who fetches a unit too slowly is told when another one does, and takes it from there") {
  SiteBench bench(6);
  const auto unit = bench.unit_of(2, 6);
  SECTION("we are the faster one") {
    everybody_answers(bench, from({node(3)}));
    auto share = bench.begin();
    once_fast(bench, *share, bench.unit_of(2, 6, unit + 1));
    bench.wire.paths[node(3)] = {node(4)};
    auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    REQUIRE(found->is_member(node(3)));
    Reading slow(**found->result);
    bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
      if (to == node(3)) return ProbeAnswer{1, true, 0, false, {node(4)}, 0};
      return ProbeAnswer{1, true, 0, false, {}, 50'000};
    };
    bench.wire.on_ask = [](const std::string&, const Ask&) { return fetch(); };
    for (int i = 0; i < 60 && !slow.left; ++i) {
      bench.wire.taps[node(3)]->give(1'000);
      bench.loop.advance(100ms);
    }
    REQUIRE(slow.left);
    bench.loop.advance(300ms);
    std::vector<std::string> told;
    for (const auto& [to, tell] : bench.wire.tells)
      for (const auto& taken : tell.taken)
        if (taken.unit.unit == unit) told.push_back(to);
    CHECK(told == std::vector<std::string>{node(4)});
  }
  SECTION("we are the slow one") {
    everybody_answers(bench, fetch());
    auto share = bench.begin();
    std::vector<std::uint32_t> taken;
    share->when_taken([&taken](std::uint32_t number) { taken.push_back(number); });
    auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    REQUIRE(found->is_upstream());
    share->progress(unit, 1_MiB);
    Tell tell;
    tell.taken.push_back({unit_name(unit)});
    bench.site.on_tell(node(4), tell);
    bench.site.on_tell(node(5), tell);  // once for each unit
    bench.loop.advance(1ms);
    CHECK(taken == std::vector<std::uint32_t>{unit});
    share->handed_over(unit);
    const auto asked = bench.wire.asks.size();
    auto rest = bench.find(*share, unit, 1_MiB);
    bench.loop.advance(300ms);
    CHECK(rest->is_member(node(4)));
    CHECK(bench.wire.asks.size() == asked);
    bool gave_up = false;
    for (const auto& [to, letter] : bench.wire.tells) gave_up |= to == node(2) && !letter.gave_up.empty();
    CHECK(gave_up);
  }
  SECTION("a unit that a member gives is nobody's to take") {
    everybody_answers(bench, from({node(3)}));
    auto share = bench.begin();
    bool is_taken = false;
    share->when_taken([&is_taken](std::uint32_t) { is_taken = true; });
    auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    REQUIRE(found->is_member(node(3)));
    Tell tell;
    tell.taken.push_back({unit_name(unit)});
    tell.taken.push_back({unit_name(unit + 1)});
    bench.site.on_tell(node(4), tell);
    bench.loop.advance(1ms);
    CHECK_FALSE(is_taken);
  }
}

// rules: a-zone-takes-it-once
TEST_CASE("what is slow between the zones is no reason to take a unit from another zone once more") {
  SiteBench bench(6);
  std::vector<Member> members;
  for (int i = 1; i <= 6; ++i) {
    members.emplace_back();
    members.back().id = node(i);
    members.back().zone = i == 4 || i == 6 ? "far" : "near";
  }
  bench.site.set_members(std::make_shared<const MemberList>(std::move(members), node(1)));
  everybody_answers(bench, from({node(3)}));
  const auto unit = bench.unit_of(2, 6);
  bench.wire.paths[node(3)] = {node(4)};
  auto share = bench.begin();
  once_fast(bench, *share, bench.unit_of(2, 6, unit + 1));
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  Reading reading(**found->result);
  ByteCount rate = 5'000'000;  // that node 3 would give
  SECTION("the link is slow") {}
  SECTION("who takes it from there for the zone is slow") { rate = 500'000; }
  bench.wire.on_probe = [rate](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(3)) return ProbeAnswer{1, true, 0, false, {node(4)}, rate};
    return free_slot(0, 8_MiB, true, 50'000'000);
  };
  bench.wire.on_ask = [](const std::string&, const Ask&) { return from({node(6)}); };
  for (int i = 0; i < 100 && !reading.left; ++i) {
    bench.wire.taps[node(3)]->give(1'000);
    bench.loop.advance(100ms);
  }
  CHECK(reading.left == (rate < 1'000'000));
}

// rules: spoiled-once-compared-always
TEST_CASE("after a wrong blob members bring only units whose hash is known") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  auto share = bench.begin();
  const auto first = bench.unit_of(2), second = bench.unit_of(2, 4, first + 1);
  for (const auto unit : {first, second}) {
    auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    REQUIRE(found->is_member(node(3)));
    CHECK(share->arrived(unit, digest("wrong"), false));
  }
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {  // of the second nobody told the hash
    auto answer = from({node(4)});
    if (ask.unit.unit == first) answer.claim = digest("right");
    return answer;
  };
  share->mismatched();
  share = bench.begin();
  REQUIRE(share != nullptr);
  auto known = bench.find(*share, first), unknown = bench.find(*share, second);
  bench.loop.advance(2s);
  CHECK(known->is_member(node(4)));
  CHECK_FALSE(unknown->result);
  SECTION("it is told later") {
    bench.wire.on_ask = [](const std::string&, const Ask&) {
      auto answer = from({node(4)});
      answer.claim = digest("right");
      return answer;
    };
    bench.loop.advance(1s);
    CHECK(unknown->is_member(node(4)));
  }
  SECTION("it is never told") {
    bench.loop.advance(12s);
    CHECK(unknown->is_upstream());
  }
}

// rules: claims-of-the-blamed
TEST_CASE("who is to blame for one unit of a wrong blob does not say what another of its units is") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  const auto first = bench.unit_of(2), second = bench.unit_of(2, 4, first + 1);
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {
    return from({node(ask.unit.unit == first ? 3 : 4)});
  };
  auto share = bench.begin();
  for (const auto unit : {first, second}) {
    auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    REQUIRE(found->is_member(node(unit == first ? 3 : 4)));
    CHECK(share->arrived(unit, digest("came"), false));
  }
  share->mismatched();
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {
    if (ask.unit.unit == second && contains(ask.avoid, node(3))) return fetch();
    auto answer = from({node(2)});
    answer.claim = digest("said");
    if (ask.unit.unit == second) answer.claimed_by = node(3);
    return answer;
  };
  share = bench.begin();
  REQUIRE(share != nullptr);
  auto known = bench.find(*share, first);
  bench.loop.advance(2s);
  REQUIRE(known->is_member(node(2)));
  auto unknown = bench.find(*share, second);
  bench.loop.advance(2s);
  CHECK(unknown->is_upstream());
  CHECK((*unknown->result)->is_leased);
}

// rules: a-fitting-claim-clears-nobody
TEST_CASE("after a wrong blob whose claims fit what came others than who gave it have to say so") {
  SiteBench bench;
  auto [share, unit, found] = seek(bench, from({node(3)}));
  CHECK(share->arrived(unit, digest("came"), false));
  std::string claimer = node(3);
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {
    if (contains(ask.avoid, claimer)) return fetch();
    auto answer = from({node(4)});
    answer.claim = digest("came");
    answer.claimed_by = claimer;
    return answer;
  };
  share->mismatched();
  found.reset();
  share.reset();
  bench.loop.advance(3s);
  for (const auto& row : bench.site.snapshot().members) CHECK(row.banned_for == 0s);
  share = bench.begin();
  REQUIRE(share != nullptr);
  SECTION("the one who gave it says so") {
    found = bench.find(*share, unit);
    bench.loop.advance(1s);
    CHECK(found->is_upstream());
    CHECK((*found->result)->is_leased);
  }
  SECTION("another one does") {
    claimer = node(2);
    found = bench.find(*share, unit);
    bench.loop.advance(1s);
    CHECK(found->is_member(node(4)));
  }
}

TEST_CASE("after a wrong blob of which nobody knows the hashes nobody is blamed for it") {
  SiteBench bench;
  auto [share, unit, found] = seek(bench, from({node(3)}));
  CHECK(share->arrived(unit, digest("wrong"), false));
  share->mismatched();
  found.reset();
  share.reset();
  bench.loop.advance(3s);
  for (const auto& row : bench.site.snapshot().members) CHECK(row.banned_for == 0s);
  share = bench.begin();
  REQUIRE(share != nullptr);
  bench.wire.on_ask = [](const std::string&, const Ask& ask) { return ask.needs_claim ? fetch() : from({}); };
  found = bench.find(*share, unit);
  bench.loop.advance(1s);
  CHECK(found->is_upstream());
}

// rules: who-said-the-right-hash
TEST_CASE("wrong bytes are laid to who says to have the right ones, not to those who passed them on") {
  SiteBench bench(8);
  everybody_answers(bench, from({node(3)}));
  bench.wire.paths[node(3)] = {node(5), node(4), node(7)};
  auto share = bench.begin();
  const auto unit = bench.unit_of(2, 8);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  CHECK(share->arrived(unit, digest("wrong"), false));
  bench.wire.asks.clear();
  bench.wire.on_ask = [](const std::string&, const Ask&) {
    auto answer = from({node(6)});
    answer.claim = digest("right");
    answer.agree = {node(5), node(4), node(7)};
    return answer;
  };
  share->mismatched();
  share.reset();
  bench.loop.advance(1s);
  REQUIRE_FALSE(bench.wire.asks.empty());
  CHECK(bench.wire.asks.front().second.about == std::vector<std::string>{node(3), node(5), node(4), node(7)});
  // Between node 5, which says that it has the right ones, and node 3, which does not, they became wrong.
  for (const auto& row : bench.site.snapshot().members)
    CHECK((row.banned_for > 0s) == (row.id == node(3) || row.id == node(5)));
}

// rules: a-stream-is-no-ping
TEST_CASE("how long a member takes to begin a stream is not the latency of the way to it") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  auto share = bench.begin();
  const auto latency = [&bench] {
    for (const auto& row : bench.site.snapshot().members)
      if (row.id == node(3)) return row.latency.value_or(0ms);
    return Duration::zero();
  };
  bench.wire.on_ask = [](const std::string&, const Ask&) { return from({node(3), node(4)}); };  // are probed
  bench.wire.on_probe = [&bench](const std::string& to, const Probe&) {
    if (to == node(3)) bench.wire.delays[to] = 500ms;  // from now on
    return free_slot(to == node(3) ? 0 : 1);
  };
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(300ms);
  CHECK_FALSE(found->result);
  bench.loop.advance(300ms);
  REQUIRE(found->is_member(node(3)));
  CHECK(latency() == 1ms);
}
