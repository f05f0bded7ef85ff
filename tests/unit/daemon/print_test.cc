// Sizes, ages and tables for people.
#include "daemon/print.h"

#include "tests/support/catch.h"

using namespace layerd::daemon;

TEST_CASE("sizes are told in the largest unit that leaves a whole number") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(1023) == "1023 B");
  CHECK(human_bytes(1024) == "1.0 KiB");
  CHECK(human_bytes(32925286) == "31.4 MiB");
  CHECK(human_bytes(~std::uint64_t{0}) == "16777216.0 TiB");
}

TEST_CASE("ages are told in one unit") {
  CHECK(human_seconds(0.25) == "250 ms");
  CHECK(human_seconds(119) == "119 s");
  CHECK(human_seconds(121) == "2 min");
  CHECK(human_seconds(2 * 3600) == "2 h");
  CHECK(human_seconds(9 * 86400) == "9 d");
  CHECK(human_age(0, 1000) == "never");
  CHECK(human_age(1000, 1000) == "now");
  CHECK(human_age(2000, 1000) == "now");  // a clock that was set back
  CHECK(human_age(1000, 1300) == "5 min ago");
}

TEST_CASE("columns are as wide as their widest cell, lines end without blanks") {
  CHECK(table({{"NAME", "SIZE", ""}, {"a", "10", ""}, {"longer", "1"}}) ==
        "NAME    SIZE\na       10\nlonger  1\n");
  CHECK(table({}).empty());
  CHECK(table({{""}}) == "\n");
}
