// What Docker Hub says about the pulls that are left.
#include "proxy/registry/pull_limit.h"

#include <limits>

#include "tests/support/catch.h"

using namespace layerd::registry;
using namespace std::chrono_literals;

TEST_CASE("limits of pulls are read with and without a window") {
  const auto hub = read_pull_limit("100;w=21600", "76;w=21600");
  REQUIRE(hub);
  CHECK(hub->most == 100);
  CHECK(hub->left == 76);
  CHECK(hub->window == 6h);
  CHECK(describe(*hub) == "76 of 100 pulls in 6 h are left");
  const auto bare = read_pull_limit("100", " 0 ");
  REQUIRE(bare);
  CHECK(bare->left == 0);
  CHECK(describe(*bare) == "0 of 100 pulls are left");
  CHECK(describe(*read_pull_limit("10, 10;w=1;burst=5", "3")) == "3 of 10 pulls are left");
  CHECK(describe(*read_pull_limit("10; W=90", "3")) == "3 of 10 pulls in 90 s are left");
  CHECK(describe(*read_pull_limit("10;w=120", "3")) == "3 of 10 pulls in 2 min are left");
}

TEST_CASE("what is no limit of pulls is nothing, and what is too large is bounded") {
  for (const char* text : {"", "unlimited", "-1", "w=21600", ";", "1e3"}) {
    INFO(text);
    CHECK_FALSE(read_pull_limit(text, "1"));
    CHECK_FALSE(read_pull_limit("1", text));
  }
  CHECK(read_pull_limit("1;w=99999999999999999999999", "1")->window == 366 * 24h);
  CHECK(read_pull_limit("99999999999999999999999", "1")->most == std::numeric_limits<std::uint64_t>::max());
}
