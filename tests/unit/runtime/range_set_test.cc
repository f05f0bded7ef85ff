#include "runtime/range_set.h"

#include <random>

#include "tests/support/catch.h"

using layerd::ByteRange;
using layerd::RangeSet;

TEST_CASE("touching and overlapping ranges become one") {
  RangeSet set;
  set.add({10, 20});
  set.add({30, 40});
  set.add({20, 30});
  CHECK(set.ranges() == std::vector<ByteRange>{{10, 40}});
  set.add({0, 5});
  set.add({4, 11});
  CHECK(set.ranges() == std::vector<ByteRange>{{0, 40}});
  CHECK(set.total() == 40);
}

TEST_CASE("gaps and runs are found at every position") {
  RangeSet set;
  set.add({10, 20});
  set.add({30, 40});
  CHECK(set.run_end(5) == 5);
  CHECK(set.run_end(10) == 20);
  CHECK(set.run_end(19) == 20);
  CHECK(set.run_end(20) == 20);
  CHECK(set.contains({30, 40}));
  CHECK_FALSE(set.contains({30, 41}));
  CHECK(set.first_gap({0, 50}) == ByteRange{0, 10});
  CHECK(set.first_gap({12, 50}) == ByteRange{20, 30});
  CHECK(set.first_gap({35, 50}) == ByteRange{40, 50});
  CHECK_FALSE(set.first_gap({31, 39}).has_value());
}

TEST_CASE("a range set agrees with a plain bitmap over random adds and removes") {
  const unsigned seed = GENERATE(1u, 2u, 3u, 4u);
  CAPTURE(seed);
  std::mt19937 random(seed);
  RangeSet set;
  std::vector<bool> bits(200, false);
  for (int step = 0; step < 400; ++step) {
    const std::uint64_t first = random() % 200;
    const std::uint64_t end = first + random() % (201 - first);
    const bool adding = random() % 3 != 0;
    adding ? set.add({first, end}) : set.remove({first, end});
    for (auto i = first; i < end; ++i) bits[i] = adding;
    std::uint64_t count = 0;
    for (std::uint64_t i = 0; i < 200; ++i) {
      count += bits[i];
      REQUIRE(set.contains({i, i + 1}) == bits[i]);
      std::uint64_t run = i;
      while (run < 200 && bits[run]) ++run;
      REQUIRE(set.run_end(i) == run);
    }
    REQUIRE(set.total() == count);
  }
}
