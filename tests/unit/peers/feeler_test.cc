// Members are greeted before anything is pulled.
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

struct Greeting : SiteBench {
  explicit Greeting(int members) : SiteBench(members, {}, Greets::all) {
    wire.on_probe = [](const std::string&, const Probe&) { return free_slot(0); };
  }
  SiteSnapshot::MemberRow row(int number) const {
    for (const auto& one : site.snapshot().members)
      if (one.id == node(number)) return one;
    return {};
  }
};

Result<ProbeAnswer> but_for(int number, const std::string& to) {
  if (to == node(number)) return ScriptedWire::nobody();
  return free_slot(0);
}

}  // namespace

// rules: unheard-are-greeted
TEST_CASE("each member is greeted once when the list has it, one a second, without any pull") {
  Greeting bench(4);
  bench.loop.advance(1500ms);
  CHECK(bench.wire.log.size() == 1);
  bench.loop.advance(10s);
  CHECK(bench.wire.log ==
        std::vector<std::string>{"probe " + node(2), "probe " + node(3), "probe " + node(4)});
  for (int i = 2; i <= 4; ++i) CHECK(bench.row(i).latency);
  bench.list(5);
  bench.loop.advance(1h);
  CHECK(bench.wire.log.size() == 4);
  CHECK(bench.wire.count("probe " + node(5)) == 1);
}

TEST_CASE("a greeting names nothing of this node") {
  Greeting bench(2);
  std::optional<Probe> said;
  bench.wire.on_probe = [&said](const std::string&, const Probe& probe) {
    said = probe;
    return free_slot(0);
  };
  bench.loop.advance(2s);
  REQUIRE(said);
  CHECK(said->unit.blob.registry == "layerd.invalid");
  // It is a message as others are, which the other end takes.
  CHECK(parse_probe(text_of(*said)).ok());
}

TEST_CASE("a member that is not there is greeted once, and again when it speaks") {
  Greeting bench(3);
  bench.wire.on_probe = [](const std::string& to, const Probe&) { return but_for(3, to); };
  bench.loop.advance(3s);
  CHECK(bench.row(2).latency);
  CHECK(bench.row(3).is_dead);
  bench.loop.advance(1h);
  CHECK(bench.wire.count("probe " + node(3)) == 1);
  bench.wire.on_probe = [](const std::string&, const Probe&) { return free_slot(0); };
  bench.site.on_probe(node(3), Probe{unit_name()});
  bench.loop.advance(2s);
  CHECK(bench.row(3).latency);
  CHECK_FALSE(bench.row(3).is_dead);
  CHECK(bench.wire.count("probe " + node(3)) == 2);
  // It is known now.
  bench.site.on_probe(node(3), Probe{unit_name()});
  bench.loop.advance(1h);
  CHECK(bench.wire.count("probe " + node(3)) == 2);
}

// rules: a-missed-greeting-is-no-death
TEST_CASE("a greeting that is missed keeps nobody from sharing") {
  Greeting bench(2);
  bench.wire.on_probe = [](const std::string& to, const Probe&) { return but_for(2, to); };
  bench.loop.advance(3s);
  CHECK(bench.row(2).is_dead);  // so it is shown
  CHECK(bench.row(2).last_fault == "connection refused");
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  REQUIRE(share);
  auto found = bench.find(*share, bench.unit_of(2, 2));
  bench.loop.advance(1s);
  CHECK(bench.wire.count("ask " + node(2)) == 1);
  CHECK_FALSE(bench.row(2).is_dead);
}

TEST_CASE("one that refuses is shown as such, and greeted again when secrets are other ones") {
  Greeting bench(2);
  bench.wire.on_probe = [](const std::string&, const Probe&) -> Result<ProbeAnswer> {
    return Error{Errc::denied, "it does not know our site secret", 0, 0, "peer_other_secret", {}};
  };
  bench.loop.advance(3s);
  CHECK(bench.row(2).refuses);
  bench.wire.on_probe = [](const std::string&, const Probe&) { return free_slot(0); };
  bench.site.trust_changed();
  bench.loop.advance(3s);
  CHECK_FALSE(bench.row(2).refuses);
  CHECK(bench.row(2).latency);
}

// rules: looking-asks-anew
TEST_CASE("people who look see how the members are, not how they were") {
  Greeting bench(4);
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to != node(4)) return but_for(3, to);
    return Error{Errc::denied, "it does not know our site secret", 0, 0, "peer_other_secret", {}};
  };
  bench.loop.advance(5s);
  CHECK(bench.row(2).latency);
  CHECK(bench.row(3).is_dead);
  CHECK(bench.row(4).refuses);
  const auto said = bench.wire.log.size();
  bench.loop.advance(1min);
  REQUIRE(bench.wire.log.size() == said);
  // The other way round now.
  bench.wire.on_probe = [](const std::string& to, const Probe&) { return but_for(2, to); };
  CHECK(bench.site.look() == 3);
  bench.loop.advance(10ms);
  CHECK(bench.site.look() == 0);
  CHECK(bench.row(2).is_dead);
  CHECK_FALSE(bench.row(3).is_dead);
  CHECK_FALSE(bench.row(4).refuses);
  CHECK(bench.wire.log.size() == said + 3);
  // However often they look.
  for (int i = 0; i < 40; ++i) {
    bench.site.look();
    bench.loop.advance(100ms);
  }
  CHECK(bench.wire.log.size() == said + 3);
  // Whoever was heard of since is not asked.
  bench.loop.advance(10s);
  bench.site.on_probe(node(3), Probe{unit_name()});
  CHECK(bench.site.look() == 2);
  bench.loop.advance(10ms);
  CHECK(bench.wire.log.size() == said + 5);
  // That one misses a greeting keeps nobody from sharing, and a pull is not disturbed.
  bench.loop.advance(20s);
  auto share = bench.begin();
  REQUIRE(share);
  CHECK(bench.site.look() == 0);
}

// rules: not-asked-is-no-answer
TEST_CASE("who was not asked, since this node has no secret, has not answered") {
  Greeting bench(2);
  bench.wire.on_probe = [](const std::string&, const Probe&) -> Result<ProbeAnswer> {
    return Error{Errc::denied, "peers.secret_file: it is not there", 0, 0, kNotAsked, {}};
  };
  bench.loop.advance(3s);
  CHECK(bench.wire.log.size() == 1);
  CHECK_FALSE(bench.row(2).latency);
  CHECK_FALSE(bench.row(2).refuses);
  CHECK(bench.row(2).faults == 0);
}

TEST_CASE("greetings wait while something is pulled, and go one at a time") {
  Greeting bench(4);
  for (int i = 2; i <= 4; ++i) bench.wire.delays[node(i)] = 20s;
  auto share = bench.begin();
  bench.loop.advance(5s);
  CHECK(bench.wire.log.empty());
  share.reset();
  bench.loop.advance(15s);
  CHECK(bench.wire.log.size() == 1);
  bench.loop.advance(1min);
  CHECK(bench.wire.log.size() == 3);
}
