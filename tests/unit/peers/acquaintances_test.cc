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
  known.settings.misses = 0;
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
  known.all.gave("10.0.0.9:5152", 1000, known.now);
  for (int i = 0; i < 20'000; ++i)
    known.all.spoke(fmt::format("10.1.{}.{}:5152", i / 250, i % 250), known.now);
  CHECK(known.all.all().size() <= 8'192);
  CHECK(known.all.is_banned("10.0.0.8:5152", known.now));
  CHECK(known.all.all().contains("10.0.0.9:5152"));
}

// rules: come-back-together
TEST_CASE("who fell silent together comes back together, who was never heard of does not") {
  Known known;
  for (const char* id : {"10.0.0.2:5152", "10.0.0.3:5152", "10.0.0.4:5152"})
    known.all.answered(id, 1ms, known.now);
  known.now += 3s;
  CHECK(known.all.failed("10.0.0.4:5152", known.unreachable, known.now));
  known.now += 10s;
  for (const char* id : {"10.0.0.2:5152", "10.0.0.3:5152", "10.0.0.5:5152"})
    CHECK(known.all.failed(id, known.unreachable, known.now += 500ms));
  known.now += 4s;
  SECTION("by an answer") { known.all.answered("10.0.0.3:5152", 1ms, known.now); }
  SECTION("by a word") { known.all.spoke("10.0.0.3:5152", known.now); }
  CHECK_FALSE(known.all.is_dead("10.0.0.2:5152", known.now));
  CHECK_FALSE(known.all.is_dead("10.0.0.3:5152", known.now));
  CHECK(known.all.is_dead("10.0.0.4:5152", known.now));  // long before
  CHECK(known.all.is_dead("10.0.0.5:5152", known.now));
}

TEST_CASE(
    "the dead member that was left alone for longest is asked next, those that were ever heard of first") {
  Known known;
  std::vector<Member> all(4);
  for (std::size_t i = 0; i < all.size(); ++i) all[i].id = fmt::format("10.0.0.{}:5152", i + 1);
  const MemberList members(all, "10.0.0.1:5152");
  CHECK_FALSE(known.all.next_to_feel(members, known.now));
  known.all.answered("10.0.0.3:5152", 1ms, known.now);
  known.all.answered("10.0.0.4:5152", 1ms, known.now);
  known.now += 3s;
  for (int i = 2; i <= 9; ++i)  // 5 to 9 are not of the list
    known.all.failed(fmt::format("10.0.0.{}:5152", i), known.unreachable, known.now);
  std::vector<std::string> asked;
  for (int i = 0; i < 4; ++i) asked.push_back(known.all.next_to_feel(members, known.now += 1s).value_or(""));
  CHECK(asked ==
        std::vector<std::string>{"10.0.0.3:5152", "10.0.0.4:5152", "10.0.0.3:5152", "10.0.0.4:5152"});
  known.now += 40s;
  CHECK_FALSE(known.all.next_to_feel(members, known.now));
  known.all.failed("10.0.0.2:5152", known.unreachable, known.now);
  CHECK(known.all.next_to_feel(members, known.now) == "10.0.0.2:5152");
}

// rules: heard-is-not-dead
TEST_CASE("who was heard of a moment ago is not dead because a full link delays our call") {
  Known known;
  const auto fails = [&known] { return known.all.failed("10.0.0.7:5152", known.unreachable, known.now); };
  switch (GENERATE(0, 1, 2)) {
    case 0:
      known.all.answered("10.0.0.7:5152", 1ms, known.now);
      break;
    case 1:
      known.all.spoke("10.0.0.7:5152", known.now);
      break;
    default:
      known.all.gave("10.0.0.7:5152", 65'536, known.now);
  }
  known.now += 1s;
  CHECK_FALSE(fails());
  CHECK_FALSE(fails());
  CHECK_FALSE(known.all.is_dead("10.0.0.7:5152", known.now));
  CHECK(known.all.all().at("10.0.0.7:5152").faults == 2);
  SECTION("the third call is too many, though it goes on speaking") {
    known.all.spoke("10.0.0.7:5152", known.now);
    CHECK(fails());
  }
  SECTION("an answer forgives what was missed") {
    known.all.answered("10.0.0.7:5152", 1ms, known.now);
    CHECK_FALSE(fails());
  }
  SECTION("silence does not") {
    known.now += 1s;
    CHECK(fails());
  }
}
