// Leases over failures of upstream, and upstreams that ignore Range, in downloads that are shared with a
// site.
#include "proxy/download_relay.h"
#include "tests/unit/proxy/download_site.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::sharing;
using namespace std::chrono_literals;

TEST_CASE("an upstream that ignores Range is asked once for the whole") {
  SharedBench at;
  at.fetcher.at("a").ranges = false;
  at.join();
  check_right(at);
  CHECK(at.upstream_bytes() <= at.content.size() + 64_KiB);
  CHECK(at.site.begun == 1);
}

// rules: one-whole-body
TEST_CASE(
    "a node that finds upstream ignoring Range asks the site who brings the whole, and takes it from there") {
  SharedBench at;
  at.fetcher.at("a").ranges = false;
  at.fetcher.at("a").chunk_after = 20ms;
  at.site.somebody_has_whole = true;
  at.join();
  check_right(at);
  CHECK(at.upstream_bytes() <= 128_KiB);
  CHECK(at.site.found.size() == 2);
  CHECK(at.site.begun == 1);
}

// rules: relays-in-order
TEST_CASE("a member that waits for bytes in the middle is told when the blob comes from its first byte on") {
  SharedBench at;
  at.fetcher.at("a").chunk_after = 20ms;
  at.join();
  at.loop.advance(100ms);
  const auto download = at.table->running_download(at.digest);
  REQUIRE(download);
  proxy::DownloadRelay first(*download), third(*download);
  std::optional<Result<Bytes>> from_first, from_third;
  const auto reading = first.read(0, 64_KiB, [&](Result<Bytes> bytes) { from_first = std::move(bytes); });
  const auto waiting =
      third.read(19_MiB, 64_KiB, [&](Result<Bytes> bytes) { from_third = std::move(bytes); });
  at.loop.advance(10ms);
  REQUIRE(from_first);
  CHECK(*from_first);
  CHECK_FALSE(from_third);
  at.fetcher.at("a").ranges = false;
  at.fetcher.at("a").cut_after = 0;  // the next request is answered with the whole
  at.fetcher.at("a").cuts = 2;
  at.loop.advance(200ms);
  REQUIRE(from_third);
  CHECK_FALSE(*from_third);
  std::optional<Result<Bytes>> more;
  const auto going_on = first.read(64_KiB, 64_KiB, [&](Result<Bytes> bytes) { more = std::move(bytes); });
  check_right(at);
  REQUIRE(more);
  CHECK(*more);
}

TEST_CASE("an upstream without lengths and ranges still gives the blob") {
  SharedBench at;
  at.fetcher.at("a").ranges = false;
  at.fetcher.at("a").length = false;
  at.join();
  check_right(at);
}

// rules: lease-kept-over-a-break
TEST_CASE("a lease whose upstream breaks off is kept, and the unit goes on at the byte where it stood") {
  SharedBench at;
  at.fetcher.at("a").cut_after = 5_MiB;
  at.fetcher.at("a").cuts = 2;
  at.join();
  check_right(at);
  CHECK(at.site.failures.empty());
  CHECK(at.site.found.size() == 3);
  CHECK(at.upstream_bytes() == at.content.size());
}

TEST_CASE("while a registry is started anew its leases are kept, and nothing is looked for") {
  SharedBench at(24_MiB);
  Script& upstream = at.fetcher.at("a");
  upstream.chunk_after = 1ms;
  at.join();
  at.loop.advance(50ms);
  upstream.cut_after = 0;
  upstream.cuts = 3;
  upstream.error = Error{Errc::upstream_unreachable, "a refused the connection"};
  at.loop.advance(5s);
  CHECK(at.site.failures.empty());
  upstream.error.reset();
  check_right(at);
  CHECK(at.site.found.size() == 3);
  CHECK(at.upstream_bytes() == at.content.size());
}

// rules: upstream-tried-beside-members
TEST_CASE("an upstream that is back is found although members stay silent") {
  SharedBench at(24_MiB);
  Script& upstream = at.fetcher.at("a");
  upstream.chunk_after = 1ms;
  at.site.from_member = {{2, ""}};
  at.site.silent = true;
  at.join();
  at.loop.advance(50ms);
  upstream.cut_after = 0;
  upstream.cuts = 2;
  upstream.error = Error{Errc::upstream_unreachable, "a refused the connection"};
  at.loop.advance(3s);
  upstream.error.reset();
  const auto before = at.upstream_bytes();
  at.loop.advance(3s);
  CHECK(at.upstream_bytes() > before);
}

// rules: taken-over-and-dropped
TEST_CASE("units that wait for upstream in vain are taken from whoever has taken them over") {
  SharedBench at(24_MiB);
  Script& upstream = at.fetcher.at("a");
  upstream.chunk_after = 1ms;
  at.join();
  at.loop.advance(50ms);
  upstream.cut_after = 0;
  upstream.cuts = 3;
  upstream.never_answers = true;  // the bodies break off and are asked for in vain
  at.loop.advance(20ms);
  at.site.from_member = {{0, ""}, {1, ""}, {2, ""}};
  for (std::uint32_t unit = 0; unit < 3; ++unit) at.site.taken(unit);
  check_right(at);
  CHECK(at.upstream_bytes() < 10_MiB);
}

// rules: more-at-the-first-head
TEST_CASE("the units behind the first are looked for as soon as the size is known") {
  SharedBench at(24_MiB);
  at.fetcher.at("a").chunk_after = 1ms;
  at.join();
  at.loop.advance(10ms);
  CHECK(at.site.found.size() == 3);
  check_right(at);
}

// rules: taken-over-and-dropped
TEST_CASE("a unit that another member fetches faster is taken from it, and upstream sends no more of it") {
  SharedBench at(24_MiB);
  at.fetcher.at("a").chunk_after = 1ms;
  at.join();
  at.loop.advance(50ms);
  at.site.from_member = {{1, ""}};
  REQUIRE(at.site.taken);
  at.site.taken(1);
  at.site.taken(1);  // it comes from a member already
  at.site.taken(7);  // there is none
  check_right(at);
  CHECK(at.site.failures.empty());
  CHECK(at.site.arrived == std::map<std::uint32_t, bool>{{0, true}, {1, false}, {2, true}});
  CHECK(at.upstream_bytes() < 20_MiB);
  CHECK(at.upstream_bytes() > 16_MiB);
}

// rules: mixed-is-no-claim
TEST_CASE("of a unit that a member began and upstream ended nobody says that upstream gave it") {
  SharedBench at;
  at.site.cut = 3_MiB;
  check_right_beside(at, 0);
  CHECK(at.site.arrived == std::map<std::uint32_t, bool>{{0, false}, {1, true}, {2, true}});
}

// rules: site-is-looked-for-alone
TEST_CASE("what the site is looking for is not fetched beside it, however long that takes") {
  SharedBench at(120_MiB);
  at.settings.ahead_wait = 0s;
  at.start();
  at.table->share_with(&at.site, nullptr);
  at.fetcher.at("a").chunk_after = 5ms;
  at.join();
  at.loop.advance(200ms);
  at.site.find_after = 5s;
  at.join({100_MiB, 101_MiB});
  at.loop.advance(3s);
  for (const auto& asked : at.fetcher.asked()) CHECK(asked.range->first % 8_MiB == 0);
  REQUIRE(at.run());
  at.site.late.clear();
}

TEST_CASE("who never had a byte from upstream keeps no lease for it") {
  SharedBench at(24_MiB);
  at.site.from_member = {{0, ""}};
  at.fetcher.at("a").error = Error{Errc::upstream_unreachable, "a refused the connection"};
  at.join();
  at.loop.advance(300ms);
  CHECK(at.site.failures.size() >= 2);
}

TEST_CASE("a download that fails while several units wait for upstream ends once") {
  SharedBench at(24_MiB);
  Script& upstream = at.fetcher.at("a");
  upstream.chunk_after = 1ms;
  const auto& client = at.join();
  at.loop.advance(50ms);
  upstream.cut_after = 0;  // two of three bodies break off, and the blob is gone; the third falls silent
  upstream.cuts = 2;
  upstream.stall_after = 0;
  upstream.stalls = 1;
  upstream.error = Error{Errc::not_found, "a has no such blob", 404};
  REQUIRE(at.run());
  CHECK(client.error);
  CHECK(at.site.failures.size() >= 3);
}

// rules: lease-not-kept-in-vain
TEST_CASE(
    "a lease is not kept for ever while upstream is away; a member that has the unit by then gives it") {
  SharedBench at(24_MiB);
  Script& upstream = at.fetcher.at("a");
  upstream.chunk_after = 1ms;
  at.join();
  at.loop.advance(50ms);
  upstream.cut_after = 0;
  upstream.cuts = 3;
  upstream.error = Error{Errc::upstream_unreachable, "a refused the connection"};
  at.loop.advance(12s);
  const auto sought = at.site.found.size();
  CHECK(at.site.failures.size() >= 3);
  at.site.from_member = {{0, ""}, {1, ""}, {2, ""}};
  check_right(at);
  CHECK(at.site.found.size() >= sought + 3);
}

TEST_CASE("a site that has found that upstream ignores Range has the blob asked for whole") {
  SharedBench at;
  at.fetcher.at("a").ranges = false;
  at.site.turns_whole_at = 2;  // the second look hears of it from another member
  at.site.from_member = {{0, ""}};
  at.join();
  check_right(at);
}

// rules: rest-without-ranges
TEST_CASE("the rest of what a member began comes from an upstream that ignores Range") {
  SECTION("of a blob of many units, which is one to a site that knows of it") {
    SharedBench at;
    at.site.turns_whole_at = 1;
    at.site.from_member = {{0, ""}};
    at.site.cut = 3_MiB;
    at.site.leaves_when_it_fails = true;
    at.fetcher.at("a").ranges = false;
    at.join();
    check_right(at);
    CHECK(at.site.failures.size() == 1);
  }
  SECTION("of a blob of one unit") {
    SharedBench at(6_MiB);
    at.site.from_member = {{0, ""}};
    at.site.cut = 300_KiB;
    at.site.leaves_when_it_fails = true;
    at.fetcher.at("a").ranges = false;
    at.join();
    check_right(at);
    CHECK(at.site.failures.size() == 1);
  }
}
