#include "proxy/peers/member_lines.h"

#include "proxy/peers/kept_members.h"
#include "proxy/peers/member_source.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;

TEST_CASE("members are read with and without port and zone") {
  const auto lines = parse_member_lines(
      "# the plant\nN1.Site:6000\n\n 10.0.0.2   # the second\n[FD00:0::1]:5152 "
      "rack-2\nfd00::2\tb\r\nn5.site.",
      5152);
  CHECK(lines.complaints.empty());
  REQUIRE(lines.members.size() == 5);
  CHECK(lines.members[0] == ListedMember{"n1.site", 6000, ""});
  CHECK(lines.members[1] == ListedMember{"10.0.0.2", 5152, ""});
  CHECK(lines.members[2] == ListedMember{"fd00::1", 5152, "rack-2"});
  CHECK(lines.members[3] == ListedMember{"fd00::2", 5152, "b"});
  CHECK(lines.members[4].host == "n5.site.");
  CHECK(lines.members[2].str() == "[fd00::1]:5152");
}

TEST_CASE("lines that are no members are named by number, the others count") {
  const auto lines =
      parse_member_lines("n1\nn1:x\n10.0.0.300\nn2 a b\n:5152\n0.0.0.0\nn3:0\nhttp://n4\nn5", 5152);
  CHECK(lines.members.size() == 2);
  REQUIRE(lines.complaints.size() == 7);
  CHECK_THAT(lines.complaints[0], Catch::Contains("line 2: \"n1:x\""));
  CHECK_THAT(lines.complaints[1], Catch::Contains("line 3"));
}

TEST_CASE("a file full of nonsense is complained of in a few lines") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "!!\n";
  const auto lines = parse_member_lines(text, 5152);
  CHECK(lines.complaints.size() == 20);
  CHECK(lines.complaints.back() == "and 981 more lines");
  std::string many;
  for (int i = 0; i < 11'000; ++i) many += "n" + std::to_string(i) + "\n";
  CHECK(parse_member_lines(many, 5152).members.size() == kMostMembers);
}

TEST_CASE("the kept lists are read as they were written, those of another site are not") {
  const std::vector<Member> members{member_at({"10.0.0.1", 5152, false}, "a", "n1.site:5152"),
                                    member_at({"fd00::1", 6000, true}, "", "")};
  const std::string text =
      kept_text("plant-7", {{"peers.dns", "layerd.site:5152", members}, {"peers.members", "", {}}});
  const auto read = parse_kept(text, "plant-7");
  REQUIRE(read.ok());
  REQUIRE(read->size() == 2);
  CHECK(read->front().of == "layerd.site:5152");
  CHECK(read->front().members == members);
  CHECK(parse_kept(text, "plant-8")->empty());
}

TEST_CASE("damaged kept lists are refused or lose what is damaged") {
  CHECK_FALSE(parse_kept("", "").ok());
  CHECK_FALSE(parse_kept("[]", "").ok());
  CHECK_FALSE(parse_kept(R"({"version":2})", "").ok());
  const auto some = parse_kept(
      R"({"version":1,"site":"","sources":[7,{"source":"a","of":"","members":[{"id":"x"},{"id":"10.0.0.1:0"},
      {"id":"10.0.0.2:1","zone":"a b"},{"id":"10.0.0.3:1"}]}]})",
      "");
  REQUIRE(some.ok());
  REQUIRE(some->size() == 1);
  REQUIRE(some->front().members.size() == 1);
  CHECK(some->front().members[0].id == "10.0.0.3:1");
}
