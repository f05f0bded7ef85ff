#include "proxy/peers/kubernetes_members.h"

#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/virtual_loop.h"
#include "tests/unit/peers/fake_api.h"

using namespace layerd;
using namespace layerd::peers;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

KubernetesMembers settings_for() {
  KubernetesMembers settings;
  settings.host = "10.0.0.1";
  settings.port = 6443;
  settings.token = "t0ken";
  return settings;
}

struct Cluster {
  VirtualLoop loop;
  Workers workers{loop, 1};
  FakeApi api{loop};
  std::unique_ptr<KubernetesMemberSource> source;
  int changes = 0;

  explicit Cluster(KubernetesMembers settings = settings_for(), std::vector<Member> kept = {}) {
    source = std::make_unique<KubernetesMemberSource>(KubernetesMemberSource::Parts{loop, workers, api},
                                                      std::move(settings), "plant-7");
    source->start(std::move(kept), [this] { ++changes; });
    advance(0s);
  }
  void advance(Duration time) {
    loop.run();
    loop.advance(time);
    loop.run();
  }
  // Until somebody asks again; false after `most` of virtual time.
  bool asks_within(Duration most) {
    loop.run();
    for (Duration passed{}; passed <= most; passed += 100ms) {
      if (api.is_asked()) return true;
      advance(100ms);
    }
    return api.is_asked();
  }
  void list(const std::vector<FakeNode>& nodes, const std::string& version = "10") {
    REQUIRE(asks_within(2min));
    api.answer(200, node_list(nodes, version));
    loop.run();
    REQUIRE(asks_within(1s));
    api.open();
    loop.run();
  }
  void send(std::string_view text) {
    api.send(text);
    loop.run();
  }
  std::string ids() const {
    std::string text;
    for (const Member& member : source->members())
      text += (text.empty() ? "" : " ") + member.name + "=" + member.id +
              (member.zone.empty() ? "" : "@" + member.zone);
    return text;
  }
  std::string complaints() const {
    std::string text;
    for (const auto& complaint : source->complaints()) text += complaint + "\n";
    return text;
  }
};

const FakeNode kN1{"n1", "10.0.0.1", "a"}, kN2{"n2", "10.0.0.2", "b"};

}  // namespace

TEST_CASE("nodes are listed once and watched from there") {
  Cluster cluster;
  CHECK(cluster.api.target() == "/api/v1/nodes?limit=500&resourceVersion=0");
  CHECK(cluster.api.header("Authorization") == "Bearer t0ken");
  CHECK(cluster.api.call(0).where.tls);
  cluster.list({kN1, kN2});
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a n2=10.0.0.2:5152@b");
  CHECK(cluster.source->has_answered());
  CHECK(cluster.api.target() ==
        "/api/v1/nodes?watch=1&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion=10");
  CHECK(cluster.api.calls() == 2);
  cluster.advance(100s);
  CHECK(cluster.api.calls() == 2);
}

TEST_CASE("nodes that come, change and go are followed") {
  Cluster cluster;
  cluster.list({kN1});
  const int before = cluster.changes;
  cluster.send(kN2.event("ADDED"));
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a n2=10.0.0.2:5152@b");
  FakeNode moved = kN2;
  moved.address = "10.0.0.22";
  cluster.send(moved.event("MODIFIED"));
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a n2=10.0.0.22:5152@b");
  CHECK(cluster.changes == before + 2);
  moved.version = "99";
  cluster.send(moved.event("MODIFIED"));
  CHECK(cluster.changes == before + 2);  // a heartbeat is no change
  cluster.send(moved.event("DELETED"));
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a");
}

TEST_CASE("events that come in pieces, or many at once, are taken whole") {
  Cluster cluster;
  cluster.list({kN1});
  const std::string text = kN2.event("ADDED") + FakeNode{"n3", "10.0.0.3"}.event("ADDED");
  for (const char c : text) cluster.send(std::string(1, c));
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a n2=10.0.0.2:5152@b n3=10.0.0.3:5152");
}

// rules: ready-nodes
TEST_CASE("a node that is not Ready is no member, unless most of them are not") {
  Cluster cluster;
  FakeNode ill = kN2;
  ill.is_ready = false;
  cluster.list({kN1, ill, FakeNode{"n3", "10.0.0.3"}});
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a n3=10.0.0.3:5152");
  FakeNode other = kN1;
  other.is_ready = false;
  cluster.send(other.event("MODIFIED"));
  CHECK(cluster.source->members().size() == 3);
  CHECK_THAT(cluster.complaints(), Catch::Contains("only 1 of 3 nodes are Ready"));
}

TEST_CASE("the site's label bounds the list, for the server and here") {
  auto settings = settings_for();
  settings.site_label = "example.com/site";
  Cluster cluster(settings);
  CHECK_THAT(cluster.api.target(), Catch::Contains("&labelSelector=example.com%2Fsite%3Dplant-7"));
  cluster.list({FakeNode{"n1", "10.0.0.1", "", "plant-7"}, FakeNode{"n2", "10.0.0.2", "", "plant-8"}});
  CHECK(cluster.ids() == "n1=10.0.0.1:5152");
  CHECK_THAT(cluster.api.target(), Catch::Contains("watch=1") && Catch::Contains("labelSelector"));
}

TEST_CASE("a label that no node has is told") {
  auto settings = settings_for();
  settings.site_label = "example.com/site";
  Cluster cluster(settings);
  cluster.list({});
  CHECK_THAT(cluster.complaints(), Catch::Contains("no node has the label example.com/site=plant-7"));
}

TEST_CASE("pages of a list are put together, and one that breaks off counts for nothing") {
  Cluster cluster;
  cluster.api.answer(200, node_list({kN1}, "10", "page/2"));
  REQUIRE(cluster.asks_within(1s));
  CHECK(cluster.api.target() == "/api/v1/nodes?limit=500&continue=page%2F2");
  CHECK(cluster.ids().empty());
  cluster.api.open();
  cluster.send(node_list({kN2}, "10").substr(0, 200));
  cluster.api.close();
  cluster.loop.run();
  CHECK(cluster.ids().empty());
  CHECK_THAT(cluster.complaints(), Catch::Contains("broke off"));
  cluster.list({kN1, kN2});
  CHECK(cluster.source->members().size() == 2);
  CHECK(cluster.complaints().empty());
}

TEST_CASE("a watch that the server ends goes on behind the last event or bookmark") {
  Cluster cluster;
  cluster.list({kN1});
  FakeNode later = kN2;
  later.version = "15";
  cluster.send(later.event("ADDED"));
  cluster.send(R"({"type":"BOOKMARK","object":{"kind":"Node","metadata":{"resourceVersion":"42"}}})"
               "\n");
  cluster.advance(290s);
  cluster.api.close();
  REQUIRE(cluster.asks_within(1s));
  CHECK_THAT(cluster.api.target(), Catch::EndsWith("resourceVersion=42"));
  CHECK(cluster.source->members().size() == 2);
}

// rules: gone-is-listed-anew
TEST_CASE("a version that is too old leads to a new list, not of the cache") {
  for (const bool is_event : {true, false}) {
    Cluster cluster;
    cluster.list({kN1, kN2});
    if (is_event) {
      cluster.send(R"({"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}})"
                   "\n");
    } else {
      cluster.advance(290s);
      cluster.api.close();
      REQUIRE(cluster.asks_within(1s));
      cluster.api.answer(410, R"({"kind":"Status","code":410,"message":"too old"})");
    }
    REQUIRE(cluster.asks_within(2s));
    CHECK(cluster.api.target() == "/api/v1/nodes?limit=500");
    CHECK(cluster.source->members().size() == 2);
    cluster.list({kN1}, "500");
    CHECK(cluster.ids() == "n1=10.0.0.1:5152@a");
    CHECK_THAT(cluster.api.target(), Catch::EndsWith("resourceVersion=500"));
  }
}

TEST_CASE("a broken watch is taken up again where it broke, with patience") {
  Cluster cluster;
  cluster.list({kN1});
  cluster.send(kN2.event("ADDED").substr(0, 60));
  cluster.api.break_off({Errc::upstream_unreachable, "reset"});
  cluster.loop.run();
  CHECK_THAT(cluster.complaints(), Catch::Contains("reset") && Catch::Contains("last count"));
  REQUIRE(cluster.asks_within(2s));
  CHECK_THAT(cluster.api.target(), Catch::EndsWith("resourceVersion=10"));
  cluster.api.open();
  cluster.send(kN2.event("ADDED"));
  CHECK(cluster.source->members().size() == 2);
  CHECK(cluster.complaints().empty());
}

TEST_CASE("a server that ends every watch at once is not asked without pause") {
  Cluster cluster;
  cluster.list({kN1});
  for (int i = 0; i < 20; ++i) {
    cluster.api.close();
    REQUIRE(cluster.asks_within(70s));
    cluster.api.open();
    cluster.loop.run();
  }
  const auto calls = cluster.api.calls();
  cluster.api.close();
  cluster.advance(25s);
  CHECK(cluster.api.calls() <= calls + 1);
}

TEST_CASE("a server that is away for hours is asked once a minute and its nodes stay") {
  Cluster cluster;
  cluster.list({kN1, kN2});
  cluster.api.break_off({Errc::upstream_unreachable, "reset"});
  const auto before = cluster.api.calls();
  for (Duration passed{}; passed < 5h; passed += 1s) {
    cluster.advance(1s);
    if (cluster.api.is_asked()) cluster.api.refuse({Errc::upstream_unreachable, "connection refused"});
  }
  const auto tries = cluster.api.calls() - before;
  CHECK(tries > 250);
  CHECK(tries < 700);
  CHECK(cluster.source->members().size() == 2);
  CHECK_THAT(cluster.complaints(), Catch::Contains("https://10.0.0.1:6443: connection refused"));
  REQUIRE(cluster.asks_within(2min));
  cluster.api.answer(410, "{}");
  cluster.list({kN2}, "900");
  CHECK(cluster.ids() == "n2=10.0.0.2:5152@b");
  CHECK(cluster.complaints().empty());
}

TEST_CASE("a token is read from its file again when the server refuses it") {
  TempDir folder;
  write_text(folder / "token", "first\n");
  auto settings = settings_for();
  settings.token.clear();
  settings.token_file = folder / "token";
  Cluster cluster(settings);
  const auto asked = [&] {
    for (int i = 0; i < 2000 && !cluster.api.is_asked(); ++i) {
      cluster.advance(10ms);
      std::this_thread::sleep_for(1ms);
    }
    return cluster.api.is_asked();
  };
  REQUIRE(asked());
  CHECK(cluster.api.header("Authorization") == "Bearer first");
  write_text(folder / "token", "second\n");
  cluster.api.answer(401, R"({"kind":"Status","code":401,"message":"Unauthorized"})");
  cluster.loop.run();
  CHECK_THAT(cluster.complaints(), Catch::Contains("answers 401: Unauthorized") && !Catch::Contains("first"));
  REQUIRE(asked());
  CHECK(cluster.api.header("Authorization") == "Bearer second");
}

// rules: files-of-the-cluster-read-again
TEST_CASE("files for asking the server that are not there are tried every 2 s, however long it takes") {
  TempDir folder;
  auto settings = settings_for();
  SECTION("the token") {
    settings.token_file = folder / "token";
    Cluster cluster(settings);
    // The pool has one thread: when this job is through, so is the reading before it.
    const auto settle = [&] {
      bool is_done = false;
      cluster.loop.run();
      const Ticket job = cluster.workers.run<Ok>(
          "test", [] { return Result<Ok>(Ok{}); }, [&](Result<Ok>) { is_done = true; });
      while (!is_done) {
        std::this_thread::sleep_for(1ms);
        cluster.loop.run();
      }
    };
    for (int tries = 0; tries < 12; ++tries) {  // a backoff would be at a minute by now
      settle();
      CHECK_THAT(cluster.complaints(), Catch::Contains("cannot open " + (folder / "token")));
      cluster.advance(2s);
    }
    settle();
    write_text(folder / "token", "late");
    cluster.advance(2s);
    settle();
    REQUIRE(cluster.api.is_asked());
    CHECK(cluster.api.header("Authorization") == "Bearer late");
  }
  SECTION("the CA") {
    Cluster cluster(settings);
    for (int tries = 0; tries < 12; ++tries) {
      REQUIRE(cluster.asks_within(2s));
      cluster.api.refuse({Errc::upstream_unreachable, "cannot open ca", 0, 0, "tls_ca_file", {}});
      cluster.loop.run();
    }
    CHECK(cluster.asks_within(2s));
  }
}

TEST_CASE("who may not see nodes is told what is missing") {
  Cluster cluster;
  cluster.api.answer(403, R"({"kind":"Status","message":"nodes is forbidden","code":403})");
  cluster.loop.run();
  CHECK_THAT(cluster.complaints(),
             Catch::Contains("nodes is forbidden") && Catch::Contains("get, list and watch"));
}

TEST_CASE("a busy server is left alone for as long as it says") {
  Cluster cluster;
  cluster.api.answer(429, "{}", {{"Retry-After", "90"}});
  CHECK_FALSE(cluster.asks_within(89s));
  CHECK(cluster.asks_within(5s));
}

TEST_CASE("garbage in place of a list or of an event harms nothing") {
  for (const char* text : {"<html>no</html>", "{}", "[]", "{\"items\":{}}", "{\"metadata\":{}}", "}"}) {
    CAPTURE(text);
    Cluster cluster;
    cluster.api.answer(200, text);
    cluster.loop.run();
    CHECK(cluster.ids().empty());
    CHECK_FALSE(cluster.complaints().empty());
    cluster.list({kN1});
    cluster.send(text);
    cluster.loop.run();
    CHECK(cluster.ids() == "n1=10.0.0.1:5152@a");
  }
}

TEST_CASE("giant nodes take no room, giant labels are passed over") {
  Cluster cluster;
  FakeNode huge = kN1;
  huge.images = 20000;
  cluster.list({huge});
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a");
  FakeNode odd = kN2;
  odd.name = std::string(300'000, 'n');
  cluster.send(odd.event("ADDED") + FakeNode{"n3", "10.0.0.3"}.event("ADDED"));
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a n3=10.0.0.3:5152");
  CHECK_THAT(cluster.complaints(), Catch::Contains("passed over"));
}

TEST_CASE("nodes without an address are named, five of them") {
  Cluster cluster;
  std::vector<FakeNode> nodes{kN1};
  for (int i = 0; i < 7; ++i) nodes.push_back({"bare-" + std::to_string(i), ""});
  cluster.list(nodes);
  CHECK(cluster.source->members().size() == 1);
  CHECK_THAT(cluster.complaints(), Catch::Contains("7 nodes have no InternalIP: bare-0, bare-1") &&
                                       Catch::Contains("…") && !Catch::Contains("bare-5"));
}

TEST_CASE("nodes of another day count until the server is reached") {
  Member kept;
  kept.id = "10.0.0.7:5152";
  kept.address = {"10.0.0.7", 5152, false};
  Cluster cluster(settings_for(), {kept});
  cluster.api.refuse({Errc::upstream_unreachable, "no route"});
  cluster.loop.run();
  CHECK(cluster.ids() == "=10.0.0.7:5152");
  CHECK_FALSE(cluster.source->has_answered());
  cluster.list({kN1});
  CHECK(cluster.ids() == "n1=10.0.0.1:5152@a");
}

TEST_CASE("five thousand nodes are listed without holding their text") {
  Cluster cluster;
  cluster.api.open();
  std::string items;
  cluster.send(R"({"kind":"NodeList","items":[)");
  for (int i = 0; i < 5000; ++i) {
    FakeNode node{"n" + std::to_string(i),
                  "10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1)};
    node.images = 50;
    cluster.send((i ? "," : "") + node.text());
  }
  cluster.send(R"(],"metadata":{"resourceVersion":"9"}})");
  cluster.api.close();
  cluster.loop.run();
  CHECK(cluster.source->members().size() == 5000);
}
