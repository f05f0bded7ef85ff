#include "proxy/peers/merge_members.h"

#include "proxy/net/address.h"
#include "proxy/peers/member_source.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;

namespace {

struct Site {
  MembersSettings settings;
  std::vector<std::string> addresses{"127.0.0.1", "10.42.0.1", "10.0.0.1", "fd00::1"};
  std::string source = "10.0.0.1";
  Merged merge(const std::vector<SourceList>& lists) const {
    Machine machine;
    machine.addresses = [this] {
      std::vector<net::Address> own;
      for (const auto& text : addresses) own.push_back(*net::parse_address(text, 0));
      return own;
    };
    machine.source_towards = [this](const net::Address&) { return net::parse_address(source, 0); };
    return merge_members(lists, settings, machine);
  }
  Site() { settings.listen = net::Address{"::", 5152, true}; }
};

Member at(const std::string& host, const std::string& zone = "", const std::string& name = "",
          std::uint16_t port = 5152) {
  return member_at(*net::parse_address(host, port), zone, name);
}

std::string ids(const Merged& merged) {
  const MemberList list(merged.members, merged.self);
  std::string text;
  for (const Member& member : list.all()) text += (text.empty() ? "" : " ") + member.id;
  return text;
}

std::string all(const Merged& merged) {
  std::string text;
  for (const auto& complaint : merged.complaints) text += complaint + "\n";
  return text;
}

}  // namespace

TEST_CASE("one address and port is one member, whoever lists it") {
  const Site site;
  const auto merged =
      site.merge({{"peers.members", true, {at("10.0.0.1", "", "n1"), at("10.0.0.2")}},
                  {"peers.kubernetes", false, {at("10.0.0.2", "b", "node-2"), at("10.0.0.3", "c")}}});
  CHECK(ids(merged) == "10.0.0.1:5152 10.0.0.2:5152 10.0.0.3:5152");
  CHECK(merged.self == "10.0.0.1:5152");
  CHECK(merged.complaints.empty());
  const MemberList list(merged.members, merged.self);
  CHECK(list.find("10.0.0.2:5152")->zone == "b");
  CHECK(list.find("10.0.0.2:5152")->name == "node-2");
  CHECK(list.find("10.0.0.2:5152")->sources == std::vector<std::string>{"peers.members", "peers.kubernetes"});
  CHECK(list.others() == 2);
}

TEST_CASE("two sources that disagree about a zone are named, the first counts") {
  const Site site;
  const auto merged = site.merge({{"peers.members_file", true, {at("10.0.0.2", "a")}},
                                  {"peers.kubernetes", false, {at("10.0.0.2", "b")}}});
  CHECK_THAT(all(merged), Catch::Contains("10.0.0.2:5152 is in zone a by peers.members_file and in zone b by "
                                          "peers.kubernetes"));
  CHECK(MemberList(merged.members, "").find("10.0.0.2:5152")->zone == "a");
}

TEST_CASE("a host name that leads to a loopback address here is this node") {
  const Site site;
  const auto merged = site.merge({{"peers.members", true, {at("127.0.1.1", "", "n1:5152"), at("10.0.0.2")}}});
  CHECK(merged.self == "10.0.0.1:5152");
  CHECK(ids(merged) == "10.0.0.1:5152 10.0.0.2:5152");
  CHECK_THAT(all(merged), Catch::Contains("127.0.1.1:5152 (n1:5152) is a loopback address") &&
                              Catch::Contains("10.0.0.1:5152 counts"));
}

TEST_CASE("two addresses of this node are one member") {
  const Site site;
  const auto merged = site.merge({{"peers.dns", false, {at("10.0.0.1"), at("fd00::1"), at("10.0.0.2")}}});
  CHECK(ids(merged) == "10.0.0.1:5152 10.0.0.2:5152");
  CHECK_THAT(all(merged), Catch::Contains("are both this node"));
}

TEST_CASE("another port at our address is another member") {
  const Site site;
  const auto merged = site.merge({{"peers.members", true, {at("10.0.0.1", "", "", 6000), at("10.0.0.1")}}});
  CHECK(ids(merged) == "10.0.0.1:5152 10.0.0.1:6000");
  CHECK(merged.complaints.empty());
}

TEST_CASE("people who list the others mean themselves too, other sources do not") {
  const Site site;
  CHECK(ids(site.merge({{"peers.members", true, {at("10.0.0.2")}}})) == "10.0.0.1:5152 10.0.0.2:5152");
  const auto by_cluster = site.merge({{"peers.kubernetes", false, {at("10.0.0.2")}}});
  CHECK(ids(by_cluster) == "10.0.0.2:5152");
  CHECK(by_cluster.self == "10.0.0.1:5152");
}

TEST_CASE("peers.address and a listener at one address say who we are") {
  Site site;
  site.settings.address = "192.168.7.7";
  const auto said = site.merge({{"peers.members", true, {at("192.168.7.7"), at("10.0.0.2")}}});
  CHECK(said.self == "192.168.7.7:5152");
  CHECK(ids(said) == "10.0.0.2:5152 192.168.7.7:5152");
  site.settings.address.clear();
  site.settings.listen = net::Address{"127.0.0.2", 5152, false};
  const auto bound =
      site.merge({{"peers.members", true, {at("127.0.0.1"), at("127.0.0.2"), at("10.0.0.1")}}});
  CHECK(bound.self == "127.0.0.2:5152");
  CHECK(bound.members.size() == 3);
}

TEST_CASE("this node's own zone wins over what others say of it, and is told") {
  Site site;
  site.settings.zone = "mine";
  const auto merged =
      site.merge({{"peers.kubernetes", false, {at("10.0.0.1", "theirs"), at("10.0.0.2", "x")}}});
  CHECK(MemberList(merged.members, "").find("10.0.0.1:5152")->zone == "mine");
  CHECK_THAT(all(merged), Catch::Contains("zone mine by peers.zone and in zone theirs"));
}

TEST_CASE("without an address yet there is no own id, and others count all the same") {
  Site site;
  site.addresses = {"127.0.0.1"};
  site.source = "127.0.0.1";
  const auto merged = site.merge({{"peers.members", true, {at("10.0.0.2")}}});
  CHECK(merged.self.empty());
  CHECK(merged.members.size() == 1);
}

TEST_CASE("ten thousand members are the most") {
  const Site site;
  SourceList list{"peers.kubernetes", false, {}};
  for (int i = 0; i < 10'050; ++i)
    list.members.push_back(at("10." + std::to_string(1 + i / 62500) + "." + std::to_string(i / 250 % 250) +
                              "." + std::to_string(i % 250 + 1)));
  const auto merged = site.merge({list});
  CHECK(merged.members.size() == kMostMembers);
  CHECK_THAT(all(merged), Catch::Contains("10050 members are listed, 10000 are taken"));
}
