#include "proxy/peers/acquaintances.h"

#include <fmt/core.h>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

struct Known {
  SiteSettings settings;
  Metrics metrics;
  SiteMetrics counted{metrics};
  Acquaintances all{settings, counted};
  TimePoint now = TimePoint{} + 1h;
  const Error unreachable{Errc::upstream_unreachable, "nobody there"};
};

}  // namespace

// rules: dead-though-it-speaks
TEST_CASE(
    "a member that speaks to us and cannot be reached is tried now and then, not at each of its words") {
  Known known;
  CHECK(known.all.failed("10.0.0.7:5152", known.unreachable, known.now));
  known.all.spoke("10.0.0.7:5152", known.now += 1s);
  CHECK_FALSE(known.all.is_dead("10.0.0.7:5152", known.now));  // it may have come back
  CHECK(known.all.failed("10.0.0.7:5152", known.unreachable, known.now += 1s));
  for (int i = 0; i < 5; ++i) {
    known.all.spoke("10.0.0.7:5152", known.now += 1s);
    CHECK(known.all.is_dead("10.0.0.7:5152", known.now));
  }
  known.all.spoke("10.0.0.7:5152", known.now += 30s);
  CHECK_FALSE(known.all.is_dead("10.0.0.7:5152", known.now));
}

// rules: acquaintances-bounded
TEST_CASE("ids that somebody makes up are not remembered without end, who was banned is") {
  Known known;
  known.all.ban("10.0.0.8:5152", 1h, "wrong bytes", known.now);
  known.all.gave("10.0.0.9:5152", 1000);
  for (int i = 0; i < 20'000; ++i)
    known.all.spoke(fmt::format("10.1.{}.{}:5152", i / 250, i % 250), known.now);
  CHECK(known.all.all().size() <= 8'192);
  CHECK(known.all.is_banned("10.0.0.8:5152", known.now));
  CHECK(known.all.all().contains("10.0.0.9:5152"));
}
