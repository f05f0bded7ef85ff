// Who feeds whom: who asks for a unit that we seek ourselves, chains with somebody slow in them, zones, and
// what members may bring after they spoiled a blob.
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
