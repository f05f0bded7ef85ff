// Wrong bytes of members: thrown away, and by whom they were.
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

// node 3 was named for a unit that is "right" and brought another one, which was thrown away.
struct Refused {
  SiteBench bench;
  AskAnswer answer = from({node(3)});
  std::unique_ptr<BlobShare> share;
  const std::uint32_t unit = bench.unit_of(2);
  std::unique_ptr<SiteBench::Found> found;

  Refused() {
    answer.claim = digest("right");
    everybody_answers(bench, answer);
    share = bench.begin();
    found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    REQUIRE(found->is_member(node(3)));
    CHECK_FALSE(share->arrived(unit, digest("wrong"), false));
  }
};

}  // namespace

TEST_CASE("a unit that is not what its fetcher says is thrown away, and its giver avoided") {
  Refused at;
  auto& bench = at.bench;
  CHECK(bench.metrics.total("layerd_peer_wrong_units_total") == 1);
  CHECK_THAT(bench.metrics.text(),
             Catch::Contains("layerd_peer_wrong_units_by_member_total{member=\"" + node(3) + "\"} 1\n") &&
                 !Catch::Contains("member=\"" + node(4)));
  for (const auto& member : bench.site.snapshot().members)
    CHECK(member.wrong_units == (member.id == node(3) ? 1u : 0u));
  bench.wire.on_ask = [answer = at.answer](const std::string&, const Ask& ask) {
    auto other = answer;
    other.sources = {node(4)};
    return ask.avoid == std::vector<std::string>{node(3)} ? other : answer;
  };
  at.found.reset();
  auto again = bench.find(*at.share, at.unit);
  bench.loop.advance(100ms);
  CHECK(again->is_member(node(4)));
  SECTION("the right bytes are taken") { CHECK(at.share->arrived(at.unit, digest("right"), false)); }
  SECTION("the same bytes from another do not count against the claim; upstream decides") {
    CHECK_FALSE(at.share->arrived(at.unit, digest("wrong"), false));
    again.reset();
    auto third = bench.find(*at.share, at.unit);
    bench.loop.advance(1s);
    CHECK(third->is_upstream());
    CHECK(at.share->arrived(at.unit, digest("wrong"), true));
  }
}

TEST_CASE("wrong bytes do not count twice when they come by way of another") {
  Refused at;
  auto& bench = at.bench;
  at.found.reset();
  bench.wire.paths[node(4)] = {node(3)};
  bench.wire.on_ask = [](const std::string&, const Ask& ask) {
    auto other = from({node(4)});
    other.claim = digest("right");
    return ask.avoid.size() < 2 ? other : fetch();
  };
  auto again = bench.find(*at.share, at.unit);
  bench.loop.advance(500ms);
  CHECK(again->is_upstream());  // node 4 has it from node 3
}

TEST_CASE("after a wrong blob only who made it wrong is left out, where that can be found") {
  SiteBench bench;
  auto answer = from({node(3)});
  everybody_answers(bench, answer);
  auto share = bench.begin();
  const auto first = bench.unit_of(2), second = bench.unit_of(2, 4, first + 1);
  auto one = bench.find(*share, first);
  bench.loop.advance(100ms);
  CHECK(share->arrived(first, digest("a"), false));
  bench.wire.on_ask = [](const std::string&, const Ask&) { return from({node(4)}); };
  auto other = bench.find(*share, second);
  bench.loop.advance(100ms);
  CHECK(share->arrived(second, digest("wrong"), false));
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {  // upstream has told them by now
    auto claimed = from({node(3)});
    claimed.claim = digest(ask.unit.unit == first ? "a" : "b");
    return claimed;
  };
  share->mismatched();
  one.reset();
  other.reset();
  share = bench.begin();
  REQUIRE(share != nullptr);
  auto anew = bench.find(*share, first);
  bench.loop.advance(500ms);
  CHECK(anew->is_member(node(3)));
  for (const auto& row : bench.site.snapshot().members) CHECK((row.banned_for > 0s) == (row.id == node(4)));
}

TEST_CASE("after a blob was wrong twice nothing is taken from its givers, until it shows who was wrong") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  auto share = bench.begin();
  const auto first = bench.unit_of(2), second = bench.unit_of(2, 4, first + 1);
  auto one = bench.find(*share, first);
  bench.loop.advance(100ms);
  share->arrived(first, digest("a"), false);
  bench.wire.on_ask = [](const std::string&, const Ask&) { return from({node(4)}); };
  auto other = bench.find(*share, second);
  bench.loop.advance(100ms);
  share->arrived(second, digest("wrong"), false);
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {  // who fetched it lied about it as well
    auto claimed = from({node(4)});
    claimed.claim = digest(ask.unit.unit == first ? "a" : "wrong");
    return claimed;
  };
  share->mismatched();
  one.reset();
  other.reset();
  share.reset();
  bench.loop.advance(3s);
  share = bench.begin();
  REQUIRE(share != nullptr);
  for (const auto unit : {first, second}) {
    bench.wire.on_ask = [&](const std::string&, const Ask&) {
      auto claimed = from({node(unit == first ? 3 : 4)});
      claimed.claim = digest(unit == first ? "a" : "wrong");
      claimed.claimed_by = node(2);  // another liar
      return claimed;
    };
    auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    CHECK(share->arrived(unit, digest(unit == first ? "a" : "wrong"), false));
  }
  share->mismatched();
  share.reset();
  bench.loop.advance(3s);
  CHECK(bench.begin() == nullptr);  // the next attempt: upstream alone
  const auto banned = [&bench](int number) {
    for (const auto& row : bench.site.snapshot().members)
      if (row.id == node(number)) return row.banned_for > 0s;
    return false;
  };
  CHECK(banned(3));
  CHECK(banned(4));
  bench.shelf.hashes.assign(std::max(first, second) + 1, digest("b"));
  bench.shelf.hashes[first] = digest("a");
  bench.site.stored(kBlob.digest);
  CHECK_FALSE(banned(3));
  CHECK(banned(4));
  CHECK(bench.begin() != nullptr);
}

namespace {

BlobName blob_name(int number) {
  return {"docker.io", "library/nginx", digest("layer " + std::to_string(number))};
}

// Node 3 gave a unit of that blob, whose digest was wrong then; nobody says which bytes were.
void spoil(SiteBench& bench, int number) {
  auto share = bench.site.begin(blob_name(number), Rights::open);
  REQUIRE(share);
  for (std::uint32_t unit = 0;; ++unit) {
    const auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
    if (!found->is_member(node(3))) continue;  // we coordinate it
    CHECK(share->arrived(unit, digest("unit"), false));
    break;
  }
  share->mismatched();
  share.reset();
  bench.loop.advance(3s);
}

// Do members bring of that blob only what can be compared at once?
bool is_doubted(SiteBench& bench, int number) {
  auto share = bench.site.begin(blob_name(number), Rights::open);
  REQUIRE(share);
  bench.wire.asks.clear();
  for (std::uint32_t unit = 0; bench.wire.asks.empty(); ++unit) {
    const auto found = bench.find(*share, unit);
    bench.loop.advance(100ms);
  }
  return bench.wire.asks.front().second.needs_claim;
}

}  // namespace

// rules: doubts-age
TEST_CASE("of blobs that were wrong and never came the one of longest ago is forgotten, nobody is banned") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  for (int number = 0; number < 32; ++number) spoil(bench, number);
  CHECK(is_doubted(bench, 0));
  spoil(bench, 32);
  for (const auto& row : bench.site.snapshot().members) CHECK(row.banned_for == 0s);
  CHECK(is_doubted(bench, 32));
  CHECK(is_doubted(bench, 1));
  CHECK_FALSE(is_doubted(bench, 0));
}
