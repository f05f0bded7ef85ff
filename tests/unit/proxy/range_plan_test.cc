#include "proxy/range_plan.h"

#include "proxy/download_ramp.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::proxy;

namespace {

RangePicture picture_of(ByteCount size, std::vector<ByteRange> covered, std::vector<ByteRange> running) {
  RangePicture picture;
  picture.size = size;
  for (const ByteRange& range : covered) picture.covered.add(range);
  picture.running = std::move(running);
  return picture;
}

}  // namespace

// Red without first_covered() in stop_of: the segment would bring present bytes again.
TEST_CASE("a segment stops where present bytes begin") {
  const auto picture = picture_of(100, {{40, 60}}, {});
  CHECK(stop_of(picture, 0, 100) == 40);
  CHECK(stop_of(picture, 60, 100) == 100);
  CHECK(stop_of(picture, 45, 100) == 45);
}

// Red without the loop over running segments in stop_of.
TEST_CASE("a segment stops where another one began") {
  const auto picture = picture_of(100, {}, {{50, 80}});
  CHECK(stop_of(picture, 0, 100) == 50);
  CHECK(stop_of(picture, 60, 100) == 100);
  CHECK(stop_of(picture, 0, 30) == 30);
}

// Red if claims of running segments are not taken off in first_unclaimed.
TEST_CASE("the first unclaimed stretch is neither present nor on its way") {
  CHECK(first_unclaimed(picture_of(100, {}, {})) == ByteRange{0, 100});
  CHECK(first_unclaimed(picture_of(100, {{0, 10}}, {{10, 30}})) == ByteRange{30, 100});
  CHECK(first_unclaimed(picture_of(100, {{30, 100}}, {{0, 100}})) == std::nullopt);
}

// Red if unit_from_end takes from the front, or all of the rest.
TEST_CASE("a further stream takes the end of what the longest segment would bring") {
  const auto unit = unit_from_end(picture_of(64_MiB, {{0, 4_MiB}}, {{4_MiB, 64_MiB}}), 2);
  REQUIRE(unit);
  CHECK(unit->end == 64_MiB);
  CHECK(unit->first >= 32_MiB);
  CHECK(unit->first < 64_MiB);
}

// Red without kLeastTaken: the last bytes would cost a connection each.
TEST_CASE("a short rest is left to the stream that is under way") {
  CHECK_FALSE(unit_from_end(picture_of(64_MiB, {{0, 63_MiB + 512_KiB}}, {{63_MiB + 512_KiB, 64_MiB}}), 4));
}

// Red without the search for the last gap in unit_from_end.
TEST_CASE("what nobody brings is taken before what somebody brings") {
  const auto unit = unit_from_end(picture_of(64_MiB, {}, {{0, 8_MiB}}), 2);
  REQUIRE(unit);
  CHECK(unit->end == 64_MiB);
}

// Red if unit_ahead ignores `near`, or ends beyond what is covered.
TEST_CASE("a reader far ahead gets a stretch of its own, one near a segment does not") {
  const auto picture = picture_of(100_MiB, {{52_MiB, 60_MiB}}, {{0, 100_MiB}});
  CHECK_FALSE(unit_ahead(picture, 6_MiB, 8_MiB, 8_MiB));
  CHECK(unit_ahead(picture, 48_MiB, 8_MiB, 8_MiB) == ByteRange{48_MiB, 52_MiB});
  CHECK_FALSE(unit_ahead(picture, 55_MiB, 8_MiB, 8_MiB));
  CHECK_FALSE(unit_ahead(picture, 100_MiB, 8_MiB, 8_MiB));
}

namespace {

// Feeds a ramp with streams that bring `each` bytes per second, at most `all` together.
unsigned ramp_after(double each, double all, Duration time, ByteCount size) {
  DownloadRamp ramp(6, 16_MiB);
  TimePoint now{std::chrono::hours(1)};
  const Duration step = std::chrono::milliseconds(250);
  double received = 0;
  unsigned streams = 1;
  for (Duration t{}; t < time; t += step, now += step) {
    received += std::min(each * streams, all) / 4;
    const auto have = static_cast<ByteCount>(received);
    if (have >= size) break;
    streams = ramp.tick(now, have, size - have, streams);
  }
  return streams;
}

}  // namespace

// Red if try_more() does not go on after a gain.
TEST_CASE("an upstream that throttles each connection is asked over several") {
  CHECK(ramp_after(4e6, 1e9, std::chrono::seconds(8), 512_MiB) == 6);
}

// Red without settle(before_) when the sum has not grown.
TEST_CASE("a link that one stream fills keeps to one") {
  CHECK(ramp_after(10e6, 10e6, std::chrono::seconds(20), 512_MiB) == 1);
}

// Red without worth_more().
TEST_CASE("a small or nearly finished blob is not worth a second stream") {
  CHECK(ramp_after(4e6, 1e9, std::chrono::seconds(8), 12_MiB) == 1);
}
