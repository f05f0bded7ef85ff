// Addresses: text forms and which network an address belongs to.
#include "proxy/net/address.h"

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::net;

namespace {
AddressKind kind(const char* text) {
  auto address = parse_address(text, 1);
  REQUIRE(address);
  return kind_of(*address);
}
}  // namespace

TEST_CASE("every special IPv4 network is told from the public ones") {
  const std::pair<const char*, AddressKind> table[] = {
      {"8.8.8.8", AddressKind::public_net},         {"1.1.1.1", AddressKind::public_net},
      {"0.0.0.0", AddressKind::unspecified},        {"0.1.2.3", AddressKind::unspecified},
      {"10.0.0.1", AddressKind::private_net},       {"9.255.255.255", AddressKind::public_net},
      {"11.0.0.0", AddressKind::public_net},        {"100.63.255.255", AddressKind::public_net},
      {"100.64.0.0", AddressKind::shared},          {"100.100.100.200", AddressKind::metadata},
      {"100.127.255.255", AddressKind::shared},     {"100.128.0.0", AddressKind::public_net},
      {"127.0.0.1", AddressKind::loopback},         {"127.255.255.255", AddressKind::loopback},
      {"169.254.169.254", AddressKind::link_local}, {"168.63.129.16", AddressKind::metadata},
      {"168.63.129.17", AddressKind::public_net},   {"172.15.255.255", AddressKind::public_net},
      {"172.16.0.0", AddressKind::private_net},     {"172.31.255.255", AddressKind::private_net},
      {"172.32.0.0", AddressKind::public_net},      {"192.0.0.192", AddressKind::reserved},
      {"192.0.2.1", AddressKind::documentation},    {"192.168.0.1", AddressKind::private_net},
      {"192.169.0.1", AddressKind::public_net},     {"198.18.0.1", AddressKind::reserved},
      {"198.19.255.255", AddressKind::reserved},    {"198.20.0.0", AddressKind::public_net},
      {"198.51.100.1", AddressKind::documentation}, {"203.0.113.1", AddressKind::documentation},
      {"223.255.255.255", AddressKind::public_net}, {"224.0.0.1", AddressKind::multicast},
      {"239.255.255.255", AddressKind::multicast},  {"240.0.0.1", AddressKind::reserved},
      {"255.255.255.255", AddressKind::reserved},
  };
  for (const auto& [text, expected] : table) {
    INFO(text);
    CHECK(kind(text) == expected);
  }
}

TEST_CASE("IPv6 networks are told apart, and addresses that carry an IPv4 one are what that is") {
  const std::pair<const char*, AddressKind> table[] = {
      {"2606:4700::1111", AddressKind::public_net},
      {"2a00:1450:4001::1", AddressKind::public_net},
      {"::", AddressKind::unspecified},
      {"::1", AddressKind::loopback},
      {"::7f00:1", AddressKind::loopback},
      {"::ffff:127.0.0.1", AddressKind::loopback},
      {"::ffff:10.1.2.3", AddressKind::private_net},
      {"::ffff:8.8.8.8", AddressKind::public_net},
      {"64:ff9b::10.0.0.1", AddressKind::private_net},
      {"64:ff9b::169.254.169.254", AddressKind::link_local},
      {"64:ff9b::8.8.8.8", AddressKind::public_net},
      {"64:ff9b:1::1", AddressKind::private_net},
      {"2002:7f00:1::", AddressKind::loopback},
      {"2002:808:808::1", AddressKind::public_net},
      {"2001::1", AddressKind::reserved},
      {"2001:db8::1", AddressKind::documentation},
      {"3fff::1", AddressKind::documentation},
      {"fc00::1", AddressKind::private_net},
      {"fd00:ec2::254", AddressKind::metadata},
      {"fe80::1", AddressKind::link_local},
      {"febf::1", AddressKind::link_local},
      {"fec0::1", AddressKind::private_net},
      {"ff02::1", AddressKind::multicast},
      {"100::1", AddressKind::reserved},
      {"4000::1", AddressKind::reserved},
  };
  for (const auto& [text, expected] : table) {
    INFO(text);
    CHECK(kind(text) == expected);
  }
}

TEST_CASE("only canonical numeric forms are addresses") {
  for (const char* text : {"", "localhost", "127.1", "0x7f.0.0.1", "127.0.0.01x", "2130706433", "[::1]",
                           "fe80::1%eth0", "1.2.3.4.5"}) {
    INFO(text);
    CHECK_FALSE(parse_address(text, 1));
  }
  CHECK(parse_address("2001:DB8:0::1", 443)->str() == "[2001:db8::1]:443");
  CHECK(parse_address("10.1.2.3", 443)->str() == "10.1.2.3:443");
  CHECK(same_host(*parse_address("::ffff:10.1.2.3", 1), *parse_address("10.1.2.3", 2)));
  CHECK_FALSE(same_host(*parse_address("::1", 1), *parse_address("127.0.0.1", 1)));
}

TEST_CASE("listen addresses are numeric with a port, or localhost for both loopbacks") {
  auto both = parse_listen("localhost:5151");
  REQUIRE(both);
  REQUIRE(both->size() == 2);
  CHECK((*both)[1].str() == "[::1]:5151");
  CHECK((*parse_listen("[::1]:0"))[0].host == "::1");
  CHECK((*parse_listen(":5151"))[0].str() == "[::]:5151");
  for (const char* text :
       {"", "127.0.0.1", "::1:5151", "[::1]", "127.0.0.1:x", "127.0.0.1:65536", "name:80", "127.0.0.1:"}) {
    INFO(text);
    auto bad = parse_listen(text);
    REQUIRE_FALSE(bad);
    CHECK(bad.error().code == Errc::config);
  }
}

TEST_CASE("a host with an optional port is split") {
  CHECK(parse_host_port("10.43.0.10", 53)->port == 53);
  CHECK(parse_host_port("10.43.0.10:5353", 53)->port == 5353);
  CHECK(parse_host_port("::1", 53)->host == "::1");
  CHECK(parse_host_port("[fd00::1]:54", 53)->port == 54);
  CHECK(parse_host_port("[fd00::1]:54", 53)->host == "fd00::1");
  CHECK_FALSE(parse_host_port("", 53));
  CHECK_FALSE(parse_host_port("a:b", 53));
  CHECK_FALSE(parse_host_port("[::1", 53));
}
