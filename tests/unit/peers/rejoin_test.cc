// What a node fetched while it did not reach who coordinates it: it asks again when that is back.
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

// Everybody but that one is there, and sends who asks upstream.
void without_node_3(SiteBench& bench) {
  bench.wire.on_ask = [](const std::string& to, const Ask&) -> Result<AskAnswer> {
    if (to == node(3)) return ScriptedWire::nobody();
    return fetch();
  };
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(3)) return ScriptedWire::nobody();
    return free_slot(0);
  };
}

}  // namespace

// rules: back-to-members
TEST_CASE("what a node fetched while it was cut off it asks for again as soon as it is back") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  std::vector<std::uint32_t> taken;
  share->when_taken([&taken](std::uint32_t unit) { taken.push_back(unit); });
  auto first = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(4s);
  const auto unit = bench.unit_of(3, 4, 1);
  const bool is_alone = GENERATE(true, false);
  CAPTURE(is_alone);
  if (is_alone) {  // every member was out of reach
    bench.wire.on_ask = nullptr;
    bench.wire.on_probe = nullptr;
    for (int other = 2; other <= 4; ++other) {
      auto found = bench.find(*share, bench.unit_of(other, 4, unit + 1));
      bench.loop.advance(300ms);
    }
  }
  if (!is_alone) without_node_3(bench);  // who coordinates it was
  auto found = bench.find(*share, unit);
  bench.loop.advance(2s);
  REQUIRE(found->is_upstream());
  share->progress(unit, 1_MiB);
  CHECK(taken.empty());
  bench.wire.tells.clear();
  const auto back = [&](AskAnswer answer, ByteCount have) {
    bench.wire.on_ask = [answer](const std::string&, const Ask&) { return answer; };
    bench.wire.on_probe = [have](const std::string&, const Probe&) { return free_slot(0, have); };
    bench.loop.advance(4s);
    share->progress(unit, 1_MiB);
    bench.loop.advance(300ms);
    share->progress(unit, 1_MiB);  // it was asked once
    bench.loop.advance(300ms);
  };
  const auto told_taken = [&] {
    std::size_t count = 0;
    for (const auto& [to, tell] : bench.wire.tells) count += tell.taken.size();
    return count;
  };
  SECTION("another has more of it") {
    back(from({node(4)}), 3_MiB);
    CHECK(taken == std::vector<std::uint32_t>{unit});
    CHECK(told_taken() == 0);
    share->handed_over(unit);
    auto rest = bench.find(*share, unit, 1_MiB);
    bench.loop.advance(300ms);
    CHECK(rest->is_member(node(4)));
  }
  SECTION("another fetches it and has less") {
    back(from({node(4)}), 500'000);
    CHECK(taken.empty());
    CHECK(told_taken() == 1);
  }
  SECTION("nobody else fetches it") {
    back(fetch(), 0);
    CHECK(taken.empty());
    CHECK(told_taken() == 0);
    bool is_leased = false;
    for (const auto& blob : bench.site.snapshot().blobs)
      for (const auto& row : blob.units) is_leased |= row.unit == unit && row.is_leased;
    CHECK(is_leased);
  }
}

// rules: who-asks-has-no-lease
TEST_CASE("a node that asks again for what it fetches and is told to wait has no lease of that coordinator") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  auto first = bench.find(*share, bench.unit_of(2));
  const auto unit = bench.unit_of(3, 4, bench.unit_of(2) + 1);
  const bool had_lease_there = GENERATE(true, false);
  CAPTURE(had_lease_there);
  const auto seek_unit = [&] {
    auto found = bench.find(*share, unit);
    bench.loop.advance(2s);
    REQUIRE(found->is_upstream());
    share->progress(unit, 1_MiB);
  };
  const auto is_leased = [&] {
    for (const auto& blob : bench.site.snapshot().blobs)
      for (const auto& row : blob.units)
        if (row.unit == unit) return row.is_leased;
    return false;
  };
  if (had_lease_there) seek_unit();
  bench.loop.advance(4s);  // nobody was heard of lately
  // Who coordinates it is away for a while.
  without_node_3(bench);
  if (!had_lease_there) seek_unit();  // the next one gives the lease
  auto other = bench.find(*share, bench.unit_of(3, 4, unit + 1));
  bench.loop.advance(1s);
  REQUIRE(is_leased());
  const auto asked = bench.wire.count("ask " + node(3));
  bench.wire.on_ask = [](const std::string& to, const Ask&) {
    AskAnswer busy;
    busy.kind = AskAnswer::Kind::busy;
    busy.wait = 200ms;
    return to == node(3) ? busy : fetch();
  };
  bench.wire.on_probe = [](const std::string&, const Probe&) { return free_slot(0); };
  bench.loop.advance(4s);
  share->progress(unit, 1_MiB);
  bench.loop.advance(300ms);
  REQUIRE(bench.wire.count("ask " + node(3)) > asked);
  CHECK(is_leased() == !had_lease_there);
}
