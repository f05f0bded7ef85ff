// Who coordinates what: the same on every node, evenly, and with little moved when a member goes.
#include "proxy/peers/rendezvous.h"

#include <map>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;

namespace {

Ranking ranking_of(std::vector<std::string> ids, const std::string& self = {}) {
  std::vector<Member> members;
  for (auto& id : ids) {
    members.emplace_back();
    members.back().id = std::move(id);
  }
  return Ranking(std::make_shared<const MemberList>(std::move(members), self));
}

std::vector<std::string> ids(std::size_t count) {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < count; ++i)
    ids.push_back("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":5152");
  return ids;
}

const Digest kEmpty = digest_of(DigestAlgorithm::sha256, "");

}  // namespace

TEST_CASE("the hash gives what the protocol's page says") {
  CHECK(member_hash("10.0.0.1:5152") == 0x2e23d6872578ef7aull);
  CHECK(unit_hash(kEmpty, 0) == 0xd6008a0041500483ull);
  CHECK(unit_hash(kEmpty, 1) == 0xfff7f0f767d1cd31ull);
  CHECK(unit_hash(kEmpty, kRecords) == 0xf6684055a6e653ceull);
  CHECK(weight(member_hash("10.0.0.1:5152"), unit_hash(kEmpty, 0)) == 0xe3fa5991f632d149ull);
  const auto ranking = ranking_of({"10.0.0.1:5152", "10.0.0.2:5152", "10.0.0.3:5152", "[fd00::1]:5152"});
  std::string order;
  for (std::uint32_t unit = 0; unit < 3; ++unit) {
    for (const auto* member : ranking.first(kEmpty, unit, 3)) order += member->id + " ";
    order += "| ";
  }
  CHECK(order ==
        "10.0.0.3:5152 [fd00::1]:5152 10.0.0.1:5152 | 10.0.0.3:5152 10.0.0.1:5152 [fd00::1]:5152 | "
        "10.0.0.1:5152 [fd00::1]:5152 10.0.0.3:5152 | ");
}

TEST_CASE("units are spread evenly over the members") {
  constexpr std::size_t kMembers = 100, kUnits = 20'000;
  const auto ranking = ranking_of(ids(kMembers));
  std::map<std::string, std::size_t> count;
  for (std::uint32_t unit = 0; unit < kUnits; ++unit) ++count[ranking.first(kEmpty, unit, 1).at(0)->id];
  CHECK(count.size() == kMembers);
  for (const auto& [id, units] : count) {  // 200 each; 5 standard deviations are 70
    CHECK(units > 130);
    CHECK(units < 270);
  }
}

TEST_CASE("a member that leaves moves its own units and no others") {
  auto names = ids(50);
  const auto before = ranking_of(names);
  const auto gone = names[17];
  names.erase(names.begin() + 17);
  const auto after = ranking_of(names);
  std::size_t moved = 0;
  for (std::uint32_t unit = 0; unit < 5'000; ++unit) {
    const auto was = before.first(kEmpty, unit, 2);
    const auto is = after.first(kEmpty, unit, 1);
    if (was[0]->id == gone) {
      ++moved;
      CHECK(is[0]->id == was[1]->id);  // the second rank takes over
    } else {
      CHECK(is[0]->id == was[0]->id);
    }
  }
  CHECK(moved > 50);
  CHECK(moved < 150);
}

TEST_CASE("ranks are as many as there are members, and none twice") {
  const auto ranking = ranking_of({"10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:1"});
  CHECK(ranking.first(kEmpty, 0, 3).size() == 2);
  CHECK(ranking.first(kEmpty, 0, 0).empty());
  CHECK(Ranking().first(kEmpty, 0, 3).empty());
}
