// The watchdog: streams that are left for a better source.
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

TEST_CASE("a source that says nothing any more is left") {
  SiteBench bench;
  auto [share, unit, found] = seek(bench, from({node(3)}));
  REQUIRE(found->is_member(node(3)));
  Reading reading(**found->result);
  bench.wire.on_probe = nullptr;
  bench.loop.advance(3s);
  REQUIRE(reading.left);
  CHECK(reading.why->diagnosis == "member_left");
}

// rules: bytes-outweigh-probes
TEST_CASE("a source whose bytes come is not left because it does not answer a probe") {
  SiteBench bench;
  auto [share, unit, found] = seek(bench, from({node(3)}));
  REQUIRE(found->is_member(node(3)));
  Reading reading(**found->result);
  bench.wire.on_probe = nullptr;
  for (int i = 0; i < 60; ++i) {
    bench.wire.taps[node(3)]->give(1'000);
    bench.loop.advance(100ms);
  }
  CHECK_FALSE(reading.left);
  CHECK(bench.wire.count("probe " + node(3)) > 0);
  bench.loop.advance(6s);
  CHECK(reading.left);  // now it is silent
}

TEST_CASE("a source that is fed by ourselves is left") {
  SiteBench bench;
  auto [share, unit, found] = seek(bench, from({node(3)}));
  REQUIRE(found->is_member(node(3)));
  Reading reading(**found->result);
  bench.wire.on_probe = [](const std::string&, const Probe&) {
    return ProbeAnswer{0, true, 0, false, {node(4), node(1)}, 0};
  };
  bench.loop.advance(3s);
  CHECK(reading.left);
}

TEST_CASE("a slow stream is left for a member that has the whole unit and is faster") {
  SiteBench bench;
  auto [share, unit, found] = seek(bench, from({node(3)}));
  REQUIRE(found->is_member(node(3)));
  Reading reading(**found->result);
  bench.wire.paths[node(3)] = {};
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(3)) return ProbeAnswer{1, true, 0, false, {node(4)}, 0};
    return free_slot(0, 8_MiB, true, 50'000'000);
  };
  for (int i = 0; i < 100 && !reading.left; ++i) {
    bench.wire.taps[node(3)]->give(10'000);
    bench.loop.advance(100ms);
  }
  REQUIRE(reading.left);
  share->progress(unit, reading.have);
  share->failed(unit, {Errc::canceled, "left"});
  auto again = bench.find(*share, unit, reading.have);
  bench.loop.advance(100ms);
  CHECK(again->is_member(node(4)));
  CHECK(bench.metrics.total("layerd_peer_left_total") == 1);
}
