// Members that promise what they do not give: the way to upstream stays open, and costs little time.
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

// Says to have all of it, and never has anything.
void promises_everything(SiteBench& bench) {
  bench.wire.on_probe = [](const std::string&, const Probe&) {
    return free_slot(0, 8_MiB, true, 50'000'000);
  };
  bench.wire.on_get = [](const std::string&, const UnitGet&) {
    return std::optional<Error>(Error{Errc::not_found, "it is not here", 404});
  };
}

bool contains(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Names node 3 to everybody who does not avoid it.
void coordinated_by_the_rules(SiteBench& bench) {
  bench.wire.on_ask = [](const std::string&, const Ask& ask) {
    return contains(ask.avoid, node(3)) ? fetch() : from({node(3)});
  };
}

// A source that gives `piece` every 100 ms, until it is left or `time` has passed.
void drip(SiteBench& bench, const Reading& reading, ByteCount piece, Duration time) {
  for (auto end = bench.loop.now() + time; bench.loop.now() < end && !reading.left;) {
    bench.wire.taps[node(3)]->give(piece);
    bench.loop.advance(100ms);
  }
}

}  // namespace

TEST_CASE("a member that says it has a unit and never gives it is asked for it once") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  promises_everything(bench);
  SECTION("the coordinator names another way") { coordinated_by_the_rules(bench); }
  SECTION("the coordinator names it again and again") {}
  SECTION("it is named by who says who holds the blob") {
    bench.wire.on_ask = [](const std::string&, const Ask&) { return fetch(); };
    bench.wire.on_who = [](const std::string&, const Who&) { return WhoAnswer{{node(3)}, 100_MiB, {}}; };
  }
  auto share = bench.begin();
  REQUIRE(share);
  for (std::uint32_t unit = 0; unit < 4; ++unit) {
    CAPTURE(unit);
    bench.wire.log.clear();
    auto found = bench.find(*share, unit);
    bench.loop.advance(3s);
    CHECK(found->is_upstream());
    CHECK(bench.wire.count("get " + node(3)) <= 1);
  }
  // It was heard of: nothing says that it is dead.
  CHECK(bench.begin() != nullptr);
}

TEST_CASE("when all members promise a unit and none gives it, upstream is asked") {
  SiteBench bench(6);
  everybody_answers(bench, from({node(2), node(3), node(4), node(5)}));
  promises_everything(bench);
  auto share = bench.begin();
  REQUIRE(share);
  const auto unit = bench.unit_of(6, 6);
  auto found = bench.find(*share, unit);
  bench.loop.advance(3s);
  CHECK(found->is_upstream());
  for (int number = 2; number <= 5; ++number) CHECK(bench.wire.count("get " + node(number)) == 1);
}

// rules: no-root-speaks-for-itself
TEST_CASE("a member that drips what nobody else has is left for upstream at the byte where it stood") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  const ByteCount says = GENERATE(1'000, 1'000'000'000);  // of what it can give
  CAPTURE(says);
  bench.wire.on_probe = [says](const std::string&, const Probe&) { return free_slot(1, 0, false, says); };
  auto share = bench.begin();
  REQUIRE(share);
  once_fast(bench, *share, bench.unit_of(2));
  share->dropped(bench.unit_of(2));
  coordinated_by_the_rules(bench);
  const auto unit = bench.unit_of(2, 4, bench.unit_of(2) + 1);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  Reading reading(**found->result);
  drip(bench, reading, 1'000, 5min);
  REQUIRE(reading.left);
  CHECK(reading.why->diagnosis == "member_left");
  share->progress(unit, reading.have);
  share->failed(unit, *reading.why);
  auto again = bench.find(*share, unit, reading.have);
  bench.loop.advance(3s);
  REQUIRE(again->is_upstream());
  CHECK((*again->result)->range.first == unit * kUnit + reading.have);
}

// The ladder goes on behind whatever a member refuses us for.
TEST_CASE("a member that speaks another version or whose certificate has expired costs no pull") {
  const auto [code, diagnosis, words] = GENERATE(table<Errc, std::string, std::string>(
      {{Errc::denied, "peer_version", "it speaks version 2 of the protocol, and this node version 1"},
       {Errc::denied, "peer_certificate", "its certificate has expired"},
       {Errc::denied, "peer_other_secret", "it does not know our secret"}}));
  CAPTURE(diagnosis);
  Error refusal{code, words};
  refusal.diagnosis = diagnosis;
  const int members = GENERATE(2, 4);
  SiteBench bench(members);
  everybody_answers(bench, fetch());
  bench.wire.on_ask = [&](const std::string& to, const Ask&) {
    return to == node(2) ? Result<AskAnswer>(refusal) : Result<AskAnswer>(fetch());
  };
  bench.wire.on_who = [&](const std::string& to, const Who&) {
    return to == node(2) ? Result<WhoAnswer>(refusal) : Result<WhoAnswer>(WhoAnswer{});
  };
  bench.wire.on_probe = [&](const std::string& to, const Probe&) {
    return to == node(2) ? Result<ProbeAnswer>(refusal) : Result<ProbeAnswer>(free_slot(0));
  };
  auto share = bench.begin();
  REQUIRE(share);
  auto found = bench.find(*share, bench.unit_of(2, members));
  bench.loop.advance(2s);
  CHECK(found->is_upstream());
  for (const auto& row : bench.site.snapshot().members)
    if (row.id == node(2)) {
      CHECK(row.refuses);
      CHECK(row.last_fault.find(words) != std::string::npos);
    }
  // From now on it is passed by.
  bench.wire.log.clear();
  if (auto next = bench.begin()) {
    auto more = bench.find(*next, bench.unit_of(2, members));
    bench.loop.advance(2s);
    CHECK(more->is_upstream());
  } else {
    CHECK(members == 2);  // nobody else is there
  }
  CHECK(bench.wire.count("ask " + node(2)) == 0);
}
