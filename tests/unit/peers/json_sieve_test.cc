#include "proxy/peers/json_sieve.h"

#include "proxy/peers/kubernetes_nodes.h"
#include "runtime/json.h"
#include "tests/support/catch.h"
#include "tests/unit/peers/fake_api.h"

using namespace layerd;
using namespace layerd::peers;

namespace {

struct Sieved {
  std::vector<std::string> items, documents;
  std::size_t too_large = 0;
  bool is_broken = false, is_between = false;
};

Sieved sieve(std::string_view text, std::size_t step,
             std::set<std::string, std::less<>> wanted = {"a", "b"}) {
  Sieved out;
  JsonSieve sieve(std::move(wanted));
  while (!text.empty() && !out.is_broken) {
    const auto part = text.substr(0, step);
    text.remove_prefix(part.size());
    out.is_broken = !sieve
                         .feed(part,
                               [&](JsonSieve::Piece piece) {
                                 if (!piece.is_whole) ++out.too_large;
                                 (piece.is_item ? out.items : out.documents).push_back(std::move(piece.text));
                               })
                         .ok();
  }
  out.is_between = sieve.is_between();
  return out;
}

}  // namespace

TEST_CASE("of each object only the members with wanted names are left, however the bytes are cut") {
  const std::string text =
      R"({"x":[1,{"a":2}],"a":{"y":"}]","b":[1,2,{"z":0}],"c":{}},"b":"q\"}","d":-1.5e3} {"b":true})";
  for (const std::size_t step : {1, 2, 3, 7, 1000}) {
    const auto out = sieve(text, step);
    CAPTURE(step);
    CHECK_FALSE(out.is_broken);
    CHECK(out.is_between);
    CHECK(out.documents == std::vector<std::string>{R"({"a":{"b":[1,2,{}]},"b":"q\"}"})", R"({"b":true})"});
  }
}

TEST_CASE("the items of a list come one by one, and the list without them") {
  const std::string text = R"({"a":1,"items":[{"a":1,"c":2},{"b":[{"a":3}]},[],7],"b":{"items":[{"a":1}]}})";
  for (const std::size_t step : {1, 5, 1000}) {
    const auto out = sieve(text, step);
    CHECK(out.items == std::vector<std::string>{R"({"a":1})", R"({"b":[{"a":3}]})", "[]", "7"});
    CHECK(out.documents == std::vector<std::string>{R"({"a":1,"items":[],"b":{}})"});
  }
}

TEST_CASE("what is not wanted may be of any size, what is wanted may not") {
  const std::string large(JsonSieve::kMostPiece + 10, 'x');
  const auto unwanted = sieve(R"({"items":[{"c":")" + large + R"(","a":1}]})", 4096);
  CHECK(unwanted.items == std::vector<std::string>{R"({"a":1})"});
  const auto wanted = sieve(R"({"items":[{"a":")" + large + R"("},{"a":2}]})", 4096);
  CHECK(wanted.too_large == 1);
  CHECK(wanted.items == std::vector<std::string>{"", R"({"a":2})"});
}

TEST_CASE("garbage and bottomless nesting end a stream") {
  for (const char* text : {"<html>", "{]", "{\"a\":}", "]", "{a:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "[1}",
                           "{,}", "{\"a\":1}}"}) {
    CAPTURE(text);
    const auto out = sieve(text, 100);
    // A word that is none passes here and is found out by who parses it.
    const bool is_refused =
        out.is_broken || (out.documents.size() == 1 && !parse_json(out.documents[0]).ok());
    CHECK((is_refused || !out.is_between));
  }
  CHECK(sieve(std::string(JsonSieve::kMostDepth + 1, '['), 10).is_broken);
  CHECK_FALSE(sieve(R"({"a":[1)", 10).is_between);
}

TEST_CASE("a node is read from what the sieve leaves of it") {
  KubernetesMembers settings;
  settings.site_label = "example.com/site";
  test::FakeNode node{"n1", "10.0.0.1", "rack-2", "plant-7"};
  const auto out = sieve(test::node_list({node}, "77", "next"), 10, wanted_of_nodes(settings));
  REQUIRE(out.items.size() == 1);
  CHECK(out.items[0].size() < 450);
  const auto facts = parse_node(out.items[0], settings, "plant-7");
  REQUIRE(facts.ok());
  CHECK(*facts == NodeFacts{"n1", "10.0.0.1", "rack-2", true, true});
  CHECK_FALSE(parse_node(out.items[0], settings, "plant-8")->is_of_site);
  const auto end = parse_list_end(out.documents.at(0));
  REQUIRE(end.ok());
  CHECK(end->resource_version == "77");
  CHECK(end->more == "next");
}

TEST_CASE("nodes that make no sense are refused or left without what makes none") {
  const KubernetesMembers settings;
  CHECK_FALSE(parse_node("{}", settings, "").ok());
  CHECK_FALSE(parse_node("[]", settings, "").ok());
  CHECK_FALSE(parse_node(R"({"metadata":{"name":7}})", settings, "").ok());
  const auto bare = parse_node(R"({"metadata":{"name":"n"},"status":7})", settings, "");
  REQUIRE(bare.ok());
  CHECK(*bare == NodeFacts{"n", "", "", false, true});
  const auto odd = parse_node(R"({"metadata":{"name":"n","labels":{"topology.kubernetes.io/zone":"a b\n"}},
    "status":{"addresses":[{"type":"InternalIP","address":"nowhere"},{"type":"InternalIP","address":"127.0.0.1"},
    {"type":"InternalIP","address":"10.0.0.9"}]}})",
                              settings, "");
  REQUIRE(odd.ok());
  CHECK(odd->address == "10.0.0.9");
  CHECK(odd->zone.empty());
}
