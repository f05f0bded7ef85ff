// Who a member says to be, and which names of certificates are meant.
#include "proxy/net/peer_card.h"
#include "tests/support/catch.h"

namespace layerd::test {
namespace {

using namespace net;

bool fits(const char* pattern, const char* name) { return fits_any({pattern}, name); }

}  // namespace

TEST_CASE("a greeting is read as it was written") {
  const PeerGreeting greeting{1, "0123456789abcdef", "berlin-2", "[fd00::1]:5152"};
  const auto read = parse_greeting(text_of(greeting));
  REQUIRE(read);
  CHECK(read->version == 1);
  CHECK(read->key == greeting.key);
  CHECK(read->site == greeting.site);
  CHECK(read->id == greeting.id);
}

TEST_CASE("a greeting of a later version with more in it is understood") {
  const auto read =
      parse_greeting("layerd-peer/12 key=0123456789abcdef colour=green site= id=10.0.0.1:5152 role=dial");
  REQUIRE(read);
  CHECK(read->version == 12);
  CHECK(read->site.empty());
}

TEST_CASE("what is no greeting is none") {
  const std::string good = "layerd-peer/1 key=0123456789abcdef site=x id=10.0.0.1:5152 role=dial";
  CHECK(parse_greeting(good));
  for (const char* text : {"", "layerd-peer/", "layerd-peer/x", "layerd-peer/99999 ",
                           "layerd-peer/1 key=0123456789abcdef site=x id=10.0.0.1:5152",
                           "layerd-peer/1 key=0123456789abcdef site=x id=10.0.0.1:5152 role=answer",
                           "layerd-peer/1 key=0123456789ABCDEF site=x id=10.0.0.1:5152 role=dial",
                           "layerd-peer/1 key=0123456789abcdef site=x/y id=10.0.0.1:5152 role=dial",
                           "layerd-peer/1 key=0123456789abcdef site=x id=node-1:5152 role=dial",
                           "layerd-peer/1 key=0123456789abcdef site=x id=10.0.0.1 role=dial"}) {
    INFO(text);
    CHECK_FALSE(parse_greeting(text));
  }
  CHECK_FALSE(parse_greeting(good + " " + std::string(500, 'x')));
  CHECK_FALSE(parse_greeting(std::string_view("layerd-peer/1\0key=", 18)));
}

TEST_CASE("a star is one label of a name, two are any number") {
  CHECK(fits("*.nodes.example", "a.nodes.example"));
  CHECK(fits("*.NODES.example", "A.nodes.EXAMPLE"));
  CHECK_FALSE(fits("*.nodes.example", "a.b.nodes.example"));
  CHECK_FALSE(fits("*.nodes.example", "nodes.example"));
  CHECK_FALSE(fits("*.nodes.example", "a.nodes.example.evil.example"));
  CHECK(fits("**.nodes.example", "a.b.nodes.example"));
  CHECK(fits("node-*.example", "node-17.example"));
  CHECK_FALSE(fits("node-*.example", "node-1.7.example"));
  CHECK(fits("10.1.*.*", "10.1.2.3"));
  CHECK_FALSE(fits("10.1.*.*", "10.12.3.4.5"));
  CHECK(fits("spiffe://site/**", "spiffe://site/ns/kube/node"));
  CHECK(fits("spiffe://site/*/node", "spiffe://site/kube/node"));
  CHECK_FALSE(fits("spiffe://site/*/node", "spiffe://site/a/b/node"));
  CHECK(fits("**", "anything:at/all"));
  CHECK(fits("*a*b*", "xxaxxbxx"));
  CHECK(fits("**.a*.example", "x.ab.ac.example"));
  CHECK_FALSE(fits("", "a"));
  CHECK_FALSE(fits("a", ""));
  CHECK_FALSE(fits_any({}, "a"));
}

TEST_CASE("a pattern of many stars takes no time") {
  std::string pattern, name(255, 'a');
  for (int i = 0; i < 60; ++i) pattern += "*a**a";
  CHECK(fits_any({pattern + "b"}, name) == false);
}

TEST_CASE("patterns with blanks, none at all or too long are refused") {
  CHECK(check_name_pattern("*.nodes.example"));
  CHECK_FALSE(check_name_pattern(""));
  CHECK_FALSE(check_name_pattern("a b"));
  CHECK_FALSE(check_name_pattern(std::string(256, 'a')));
}

TEST_CASE("a member's id is a numeric address with a port, written one way") {
  CHECK(is_member_id("10.1.2.3:5152"));
  CHECK(is_member_id("[fd00::1]:5152"));
  for (const char* id : {"", "10.1.2.3", "10.1.2.3:0", "10.1.2.3:70000", "host:5152", "10.1.2.3:05152",
                         "fd00::1:5152", " 10.1.2.3:5152", "10.1.2.3:5152 ", "010.1.2.3:5152"}) {
    INFO(id);
    CHECK_FALSE(is_member_id(id));
  }
}

TEST_CASE("a certificate with addresses is good for these and for where it comes from") {
  PeerCard card;
  card.address = "10.0.0.9";
  CHECK(check_plausible(card, "10.0.0.1:5152"));  // it names none
  card.own_ips = {"10.0.0.1", "fd00::1"};
  CHECK(check_plausible(card, "10.0.0.1:5152"));
  CHECK(check_plausible(card, "[fd00::1]:5152"));
  CHECK(check_plausible(card, "10.0.0.9:5152"));
  const auto other = check_plausible(card, "10.0.0.2:5152");
  REQUIRE_FALSE(other);
  CHECK(other.error().code == Errc::denied);
  CHECK_FALSE(check_plausible(card, "node-1:5152"));
}

}  // namespace layerd::test
