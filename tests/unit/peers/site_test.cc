// The ladder, the watchdog, what is told, what is given: one site whose members are scripted.
#include "proxy/peers/rendezvous.h"
#include "tests/support/catch.h"
#include "tests/unit/peers/site_fixture.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::peers;
using namespace std::chrono_literals;

std::uint32_t SiteBench::unit_of(int coordinator, int members, std::uint32_t from) const {
  std::vector<Member> all;
  for (int i = 1; i <= members; ++i) {
    all.emplace_back();
    all.back().id = node(i);
  }
  const Ranking ranking(std::make_shared<const MemberList>(std::move(all), node(1)));
  for (std::uint32_t unit = from;; ++unit)
    if (ranking.first(kBlob.digest, unit, 1).front()->id == node(coordinator)) return unit;
}

TEST_CASE("a node without living members does not share") {
  SiteBench alone(1);
  CHECK(alone.begin() == nullptr);
  SiteBench bench(2);
  auto share = bench.begin();
  REQUIRE(share);
  auto found = bench.find(*share, bench.unit_of(2, 2));
  bench.loop.advance(1s);
  CHECK(found->is_upstream());  // the other one is dead: as if it were not there
  CHECK(bench.begin() == nullptr);
  bench.loop.advance(31s);
  CHECK(bench.begin() != nullptr);  // it is tried again
  bench.is_shared = false;
  CHECK(bench.begin() == nullptr);
}

TEST_CASE("the least busy of the named members with a slot is taken") {
  SiteBench bench;
  everybody_answers(bench, from({node(2), node(3), node(4)}));
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(2)) return free_slot(7);
    if (to == node(3)) return free_slot(2);
    return ProbeAnswer{};  // no slot
  };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  CHECK(found->is_member(node(3)));
  CHECK(bench.wire.gets.back().second.path == std::vector<std::string>{node(1)});
}

TEST_CASE("a candidate that is silent is waited for thirty milliseconds and no longer") {
  SiteBench bench;
  everybody_answers(bench, from({node(2), node(3)}));
  bench.wire.delays[node(3)] = 900ms;
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(20ms);
  CHECK_FALSE(found->result);
  bench.loop.advance(20ms);
  CHECK(found->is_member(node(2)));
}

TEST_CASE("a dead coordinator costs its time-out once, and the next rank is told of it") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  const auto answers = bench.wire.on_ask;
  const auto unit = bench.unit_of(2);
  bench.wire.on_ask = [answers](const std::string& to, const Ask& ask) -> Result<AskAnswer> {
    if (to == node(2)) return ScriptedWire::nobody();
    return answers(to, ask);
  };
  bench.wire.delays[node(2)] = 250ms;
  auto share = bench.begin();
  auto found = bench.find(*share, unit);
  bench.loop.advance(240ms);
  CHECK_FALSE(found->result);
  bench.loop.advance(20ms);
  REQUIRE(found->is_upstream());
  const auto last = bench.wire.asks.empty() ? Ask{} : bench.wire.asks.back().second;
  if (bench.wire.asks.back().first != node(2)) CHECK(last.dead == std::vector<std::string>{node(2)});
  const auto tried = bench.wire.count("ask " + node(2));
  const auto unit_2 = bench.unit_of(2, 4, unit + 1), unit_3 = bench.unit_of(2, 4, unit_2 + 1);
  auto second = bench.find(*share, unit_2);
  bench.loop.advance(10ms);
  CHECK(second->is_upstream());
  CHECK(bench.wire.count("ask " + node(2)) == tried);
  bench.loop.advance(31s);
  auto third = bench.find(*share, unit_3);
  bench.loop.advance(1s);
  CHECK(bench.wire.count("ask " + node(2)) == tried + 1);
  bench.loop.advance(31s);  // twice as long now
  auto fourth = bench.find(*share, bench.unit_of(2, 4, unit_3 + 1));
  bench.loop.advance(1s);
  CHECK(bench.wire.count("ask " + node(2)) == tried + 1);
}

TEST_CASE("a redirect is followed, and one to a dead member makes the asked one accept") {
  SiteBench bench(3);
  everybody_answers(bench, fetch());
  bench.wire.on_ask = [](const std::string& to, const Ask& ask) -> Result<AskAnswer> {
    if (to == node(9)) return ScriptedWire::nobody();
    if (std::count(ask.dead.begin(), ask.dead.end(), node(9)) != 0) return fetch();
    AskAnswer answer;
    answer.kind = AskAnswer::Kind::redirect;
    answer.member = node(9);  // not in our list
    return answer;
  };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2, 3));
  bench.loop.advance(500ms);
  CHECK(found->is_upstream());
  CHECK(bench.wire.count("ask " + node(9)) == 1);
  const auto unit = bench.unit_of(2, 3, 50);
  auto again = bench.find(*share, unit);
  bench.loop.advance(500ms);
  CHECK(again->is_upstream());
  CHECK(bench.wire.count("ask " + node(9)) == 1);  // remembered
  CHECK(bench.wire.asks.back().second.hops <= 3);
}

TEST_CASE("the coordinator that we are ourselves is asked without a wire") {
  SiteBench bench;
  everybody_answers(bench, from({node(2)}));
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(1));
  bench.loop.advance(100ms);
  REQUIRE(found->is_upstream());
  CHECK((**found->result).is_leased);
  CHECK(bench.wire.asks.empty());
  Ask ask;
  ask.unit = unit_name(bench.unit_of(1));
  CHECK(bench.site.on_ask(node(2), ask).sources == std::vector<std::string>{node(1)});
}

TEST_CASE("a lease is kept alive, and done tells the hash") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_upstream());
  CHECK((*found->result)->is_leased);
  for (int i = 1; i <= 50; ++i) {
    share->progress(unit, ByteCount(i) * 64_KiB);
    bench.loop.advance(100ms);
  }
  std::size_t alive = 0;
  for (const auto& [to, tell] : bench.wire.tells) alive += to == node(2) ? tell.alive.size() : 0;
  CHECK(alive == 2);
  CHECK(share->arrived(unit, digest("unit"), true));
  bench.loop.advance(300ms);
  const auto& last = bench.wire.tells.back().second;
  REQUIRE(last.done.size() == 1);
  CHECK(last.done[0].sha256 == digest("unit"));
  CHECK(last.done[0].from_upstream);
}

TEST_CASE("a share that ends gives its leases back") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  found.reset();
  share.reset();
  bench.loop.advance(300ms);
  REQUIRE(bench.wire.tells.size() == 1);
  CHECK(bench.wire.tells[0].second.gave_up.size() == 1);
}

TEST_CASE("who holds the whole blob gives it although the coordinator knows of nobody") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  bench.wire.on_who = [](const std::string&, const Who&) { return WhoAnswer{{node(4)}, 100_MiB, {}}; };
  bench.wire.on_probe = [](const std::string&, const Probe&) { return free_slot(0, 8_MiB, true); };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(4)));
  CHECK((*found->result)->is_leased);  // the others are sent to us
}

TEST_CASE("a stream that breaks off is gone on with elsewhere at the byte where it stood") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  bench.wire.on_ask = [](const std::string&, const Ask& ask) {
    return ask.avoid.empty() ? from({node(3)}) : from({node(4)});
  };
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  share->progress(unit, 1_MiB);
  share->failed(unit, {Errc::upstream_unreachable, "reset"});
  found.reset();
  auto again = bench.find(*share, unit, 1_MiB);
  bench.loop.advance(100ms);
  CHECK(again->is_member(node(4)));
  CHECK(bench.wire.gets.back().second.range.first == unit * kUnit + 1_MiB);
  CHECK(bench.wire.asks.back().second.avoid == std::vector<std::string>{node(3)});
  CHECK(bench.wire.asks.back().second.have == 1_MiB);
}

TEST_CASE("members that are full are asked again before upstream is") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  int refusals = 3;
  bench.wire.on_get = [&refusals](const std::string&, const UnitGet&) -> std::optional<Error> {
    if (refusals-- > 0) return Error{Errc::overloaded, "no slot"};
    return std::nullopt;
  };
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(550ms);
  CHECK_FALSE(found->result);
  bench.loop.advance(200ms);
  CHECK(found->is_member(node(3)));
}

TEST_CASE("a member that answers with another size or range than asked for is not taken") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  bench.wire.on_ask = [](const std::string&, const Ask& ask) {
    return ask.avoid.empty() ? from({node(3)}) : fetch();
  };
  auto share = bench.begin();
  share->sized(90_MiB);
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  CHECK(found->is_upstream());
}

TEST_CASE("without any coordinator at most four units go upstream at once, after a jitter") {
  SiteBench bench(60);  // so many that we are hardly among the ranks that are asked
  bench.wire.on_ask = [](const std::string&, const Ask&) -> Result<AskAnswer> {
    return Error{Errc::denied, "not admitted"};  // alive, but of no use
  };
  auto share = bench.begin();
  std::vector<std::unique_ptr<SiteBench::Found>> found;
  std::vector<std::uint32_t> units;
  for (std::uint32_t unit = 0; found.size() < 6; unit = units.back() + 1) {
    units.push_back(bench.unit_of(2, 60, unit));
    found.push_back(bench.find(*share, units.back()));
  }
  bench.loop.advance(2s);
  const auto count = [&found] {
    std::size_t upstream = 0;
    for (const auto& one : found) upstream += one->is_upstream() && !(**one->result).is_leased;
    return upstream;
  };
  CHECK(count() == 4);
  for (std::size_t i = 0; i < found.size(); ++i)
    if (found[i]->is_upstream()) {
      CHECK(share->arrived(units[i], digest("unit"), true));
      break;
    }
  bench.loop.advance(1s);
  CHECK(count() == 5);
}

TEST_CASE("a blob that has turned whole is asked for as unit 0") {
  SiteBench bench;
  AskAnswer whole;
  whole.whole = true;
  everybody_answers(bench, whole);
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  REQUIRE(found->result);
  REQUIRE_FALSE(found->result->ok());
  CHECK(found->result->error().diagnosis == "whole_blob");
  CHECK(share->is_whole());
}

TEST_CASE("a unit that is not what its fetcher says is thrown away, and its giver avoided") {
  SiteBench bench;
  auto answer = from({node(3)});
  answer.claim = digest("right");
  everybody_answers(bench, answer);
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  CHECK_FALSE(share->arrived(unit, digest("wrong"), false));
  CHECK(bench.metrics.total("layerd_peer_wrong_units_total") == 1);
  bench.wire.on_ask = [answer](const std::string&, const Ask& ask) {
    auto other = answer;
    other.sources = {node(4)};
    return ask.avoid == std::vector<std::string>{node(3)} ? other : answer;
  };
  found.reset();
  auto again = bench.find(*share, unit);
  bench.loop.advance(100ms);
  CHECK(again->is_member(node(4)));
  SECTION("the right bytes are taken") { CHECK(share->arrived(unit, digest("right"), false)); }
  SECTION("the same bytes from another do not count against the claim; upstream decides") {
    CHECK_FALSE(share->arrived(unit, digest("wrong"), false));
    again.reset();
    auto third = bench.find(*share, unit);
    bench.loop.advance(1s);
    CHECK(third->is_upstream());
    CHECK(share->arrived(unit, digest("wrong"), true));
  }
}

TEST_CASE("wrong bytes do not count twice when they come by way of another") {
  SiteBench bench;
  auto answer = from({node(3)});
  answer.claim = digest("right");
  everybody_answers(bench, answer);
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  CHECK_FALSE(share->arrived(unit, digest("wrong"), false));
  found.reset();
  bench.wire.paths[node(4)] = {node(3)};
  bench.wire.on_ask = [](const std::string&, const Ask& ask) {
    auto other = from({node(4)});
    other.claim = digest("right");
    return ask.avoid.size() < 2 ? other : fetch();
  };
  auto again = bench.find(*share, unit);
  bench.loop.advance(500ms);
  CHECK(again->is_upstream());  // node 4 has it from node 3
}

TEST_CASE("after a wrong blob only who made it wrong is left out, where that can be found") {
  SiteBench bench;
  auto answer = from({node(3)});
  everybody_answers(bench, answer);
  auto share = bench.begin();
  const auto first = bench.unit_of(2), second = bench.unit_of(2, 4, first + 1);
  auto one = bench.find(*share, first);
  bench.loop.advance(100ms);
  CHECK(share->arrived(first, digest("a"), false));
  bench.wire.on_ask = [](const std::string&, const Ask&) { return from({node(4)}); };
  auto other = bench.find(*share, second);
  bench.loop.advance(100ms);
  CHECK(share->arrived(second, digest("wrong"), false));
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {  // upstream has told them by now
    auto claimed = from({node(3)});
    claimed.claim = digest(ask.unit.unit == first ? "a" : "b");
    return claimed;
  };
  share->mismatched();
  one.reset();
  other.reset();
  share = bench.begin();
  REQUIRE(share != nullptr);
  auto anew = bench.find(*share, first);
  bench.loop.advance(500ms);
  CHECK(anew->is_member(node(3)));
  for (const auto& row : bench.site.snapshot().members) CHECK((row.banned_for > 0s) == (row.id == node(4)));
}

TEST_CASE("what is sought again and again without a byte more is sought ever more slowly") {
  SiteBench bench;
  everybody_answers(bench, fetch());
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  int searches = 0;
  const auto start = bench.loop.now();
  for (int i = 0; i < 1'000; ++i) {  // an upstream that fails at once, and a download that asks at once again
    auto found = bench.find(*share, unit);
    const auto until = bench.loop.now() + 5s;
    while (!found->result && bench.loop.now() < until) bench.loop.advance(1ms);
    REQUIRE(found->result);
    ++searches;
    share->failed(unit, {Errc::upstream_unreachable, "refused"});
    if (bench.loop.now() > start + 20s) break;
  }
  CHECK(searches < 40);
  CHECK(bench.wire.asks.size() < 40);
}

TEST_CASE("after a wrong blob nothing is taken from its givers, until it shows who was wrong") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  auto share = bench.begin();
  const auto first = bench.unit_of(2), second = bench.unit_of(2, 4, first + 1);
  auto one = bench.find(*share, first);
  bench.loop.advance(100ms);
  share->arrived(first, digest("a"), false);
  bench.wire.on_ask = [](const std::string&, const Ask&) { return from({node(4)}); };
  auto other = bench.find(*share, second);
  bench.loop.advance(100ms);
  share->arrived(second, digest("wrong"), false);
  bench.wire.on_ask = [&](const std::string&, const Ask& ask) {  // who fetched it lied about it as well
    auto claimed = from({node(4)});
    claimed.claim = digest(ask.unit.unit == first ? "a" : "wrong");
    return claimed;
  };
  share->mismatched();
  one.reset();
  other.reset();
  share.reset();
  bench.loop.advance(3s);
  CHECK(bench.begin() == nullptr);  // the next attempt: upstream alone
  const auto banned = [&bench](int number) {
    for (const auto& row : bench.site.snapshot().members)
      if (row.id == node(number)) return row.banned_for > 0s;
    return false;
  };
  CHECK(banned(3));
  CHECK(banned(4));
  bench.shelf.hashes.assign(std::max(first, second) + 1, digest("b"));
  bench.shelf.hashes[first] = digest("a");
  bench.site.stored(kBlob.digest);
  CHECK_FALSE(banned(3));
  CHECK(banned(4));
  CHECK(bench.begin() != nullptr);
}

TEST_CASE("a source that says nothing any more is left") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  std::optional<Error> why;
  auto reading = (*found->result)->body->read(65536, [&why](Result<Bytes> bytes) {
    if (!bytes) why = bytes.error();
  });
  bench.wire.on_probe = nullptr;
  bench.loop.advance(3s);
  REQUIRE(why);
  CHECK(why->diagnosis == "member_left");
}

TEST_CASE("a source that is fed by ourselves is left") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  auto share = bench.begin();
  auto found = bench.find(*share, bench.unit_of(2));
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  bool left = false;
  auto reading = (*found->result)->body->read(65536, [&left](const Result<Bytes>& bytes) { left = !bytes; });
  bench.wire.on_probe = [](const std::string&, const Probe&) {
    return ProbeAnswer{0, true, 0, false, {node(4), node(1)}, 0};
  };
  bench.loop.advance(3s);
  CHECK(left);
}

TEST_CASE("a slow stream is left for a member that has the whole unit and is faster") {
  SiteBench bench;
  everybody_answers(bench, from({node(3)}));
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  auto& body = *(*found->result)->body;
  bool left = false;
  ByteCount have = 0;
  Ticket reading;
  std::function<void()> next = [&] {
    reading = body.read(65536, [&](const Result<Bytes>& bytes) {
      if (!bytes) {
        left = true;
        return;
      }
      have += bytes->size();
      next();
    });
  };
  next();
  bench.wire.paths[node(3)] = {};
  bench.wire.on_probe = [](const std::string& to, const Probe&) -> Result<ProbeAnswer> {
    if (to == node(3)) return ProbeAnswer{1, true, 0, false, {node(4)}, 0};
    return free_slot(0, 8_MiB, true, 50'000'000);
  };
  for (int i = 0; i < 100 && !left; ++i) {
    bench.wire.taps[node(3)]->give(10'000);
    bench.loop.advance(100ms);
  }
  REQUIRE(left);
  share->progress(unit, have);
  share->failed(unit, {Errc::canceled, "left"});
  auto again = bench.find(*share, unit, have);
  bench.loop.advance(100ms);
  CHECK(again->is_member(node(4)));
  CHECK(bench.metrics.total("layerd_peer_left_total") == 1);
}

TEST_CASE("what is given: slots, circles, what is not shared and what is not here") {
  SiteBench bench;
  const auto get = [&bench](int from, std::vector<std::string> path = {}) {
    UnitGet message{unit_name(), {0, 8_MiB}, std::move(path)};
    std::optional<Result<std::unique_ptr<Upload>>> answer;
    auto ticket = bench.site.on_get(node(from), message, [&answer](Result<std::unique_ptr<Upload>> upload) {
      answer = std::move(upload);
    });
    bench.loop.advance(1s);
    REQUIRE(answer);
    return *std::move(answer);
  };
  CHECK(get(2).error().code == Errc::not_found);
  bench.shelf.here = Shelf::Held{true, false, 100_MiB, 8_MiB};
  std::vector<std::unique_ptr<Upload>> uploads;
  for (int i = 2; i <= 4; ++i) {
    auto upload = get(i);
    REQUIRE(upload);
    CHECK((*upload)->total == 100_MiB);
    uploads.push_back(*std::move(upload));
  }
  CHECK(get(5).error().code == Errc::overloaded);
  CHECK_FALSE(bench.site.on_probe(node(5), Probe{unit_name()}).has_slot);
  CHECK(bench.site.on_probe(node(5), Probe{unit_name()}).load == 3);
  CHECK(bench.site.on_probe(node(5), Probe{unit_name(1)}).has_slot);
  uploads.pop_back();
  CHECK(get(5).ok());
  bench.is_shared = false;
  CHECK(get(5).error().code == Errc::denied);
  CHECK_FALSE(bench.site.on_probe(node(5), Probe{unit_name()}).complete);
  bench.is_shared = true;
  // We take the unit from node 3 ourselves now: it, and whom it is fed by, get nothing of it.
  everybody_answers(bench, from({node(3)}));
  bench.wire.paths[node(3)] = {node(7)};
  auto share = bench.begin();
  const auto unit = bench.unit_of(2);
  auto found = bench.find(*share, unit);
  bench.loop.advance(100ms);
  REQUIRE(found->is_member(node(3)));
  UnitGet circle{unit_name(unit), {unit * kUnit, (unit + 1) * kUnit}, {node(7), node(6)}};
  std::optional<Errc> why;
  auto ticket = bench.site.on_get(node(6), circle, [&why](const Result<std::unique_ptr<Upload>>& upload) {
    if (!upload) why = upload.error().code;
  });
  bench.loop.advance(100ms);
  CHECK(why == Errc::not_found);
  CHECK(bench.site.on_probe(node(6), Probe{unit_name(unit)}).path ==
        std::vector<std::string>{node(3), node(7)});
}

TEST_CASE("a download that does not know its size yet lets a member wait for a while") {
  SiteBench bench;
  bench.shelf.here = Shelf::Held{false, true, std::nullopt, 0};
  std::optional<Errc> why;
  auto ticket = bench.site.on_get(node(2), {unit_name(), {0, 8_MiB}, {}},
                                  [&why](const Result<std::unique_ptr<Upload>>& upload) {
                                    if (!upload) why = upload.error().code;
                                  });
  bench.loop.advance(500ms);
  CHECK_FALSE(why);
  bench.loop.advance(200ms);
  CHECK(why == Errc::overloaded);
  CHECK(bench.site.snapshot().uploads == 0);
}

TEST_CASE("complete blobs are told to the first two ranks, when they come, and all of them in turn") {
  SiteBench bench(6);
  bench.wire.on_probe = nullptr;
  for (int i = 0; i < 300; ++i) bench.shelf.all.push_back(digest("blob " + std::to_string(i)));
  std::sort(bench.shelf.all.begin(), bench.shelf.all.end());
  bench.list(6);
  bench.loop.advance(40s);
  std::size_t told = 0, firsts = 0;
  std::map<std::string, std::size_t> letters;
  for (const auto& [to, tell] : bench.wire.tells) {
    REQUIRE(tell.have);
    told += tell.have->blobs.size();
    firsts += tell.have->is_all;
    CHECK(tell.have->is_all == (letters[to]++ == 0));
  }
  const auto ours = bench.site.snapshot().records;  // we keep some ourselves
  CHECK(told + ours == 600);
  CHECK(firsts == 5);
  bench.wire.tells.clear();
  bench.site.stored(digest("new"));
  bench.site.removed(digest("old"));
  bench.loop.advance(2s);
  std::size_t changes = 0;
  for (const auto& [to, tell] : bench.wire.tells) changes += tell.have->blobs.size() + tell.have->gone.size();
  CHECK(changes >= 2);
  CHECK(changes <= 4);
}

// rules: recall-needs-share
TEST_CASE("of what is not shared no name leaves the node, however little upstream says") {
  SiteBench bench;
  bench.wire.on_recall = [](const std::string&, const Recall&) -> Result<RecallAnswer> {
    RecallAnswer answer;
    answer.known = true;
    return answer;
  };
  bench.is_shared = false;
  std::optional<Result<std::vector<Recalled>>> known;
  auto asking = bench.site.recall({"docker.io", "library/nginx", "1.27"},
                                  [&known](auto answer) { known.emplace(std::move(answer)); });
  std::optional<Result<UnitAnswer>> got;
  auto getting = bench.site.get(node(2), kBlob, 12, [&got](auto answer) { got.emplace(std::move(answer)); });
  bench.loop.advance(3s);
  REQUIRE(known);
  CHECK((*known)->empty());
  REQUIRE(got);
  CHECK(got->error().code == Errc::denied);
  CHECK(bench.wire.log.empty());
}

TEST_CASE("a small blob is got of the member that is named, and of none that is avoided") {
  SiteBench bench;
  bench.wire.on_get = [](const std::string&, const UnitGet&) { return std::optional<Error>(); };
  bench.wire.total = 12;
  const auto get = [&bench](ByteCount size) {
    std::optional<Result<UnitAnswer>> got;
    auto getting =
        bench.site.get(node(2), kBlob, size, [&got](auto answer) { got.emplace(std::move(answer)); });
    bench.loop.advance(3s);
    REQUIRE(got);
    return got->ok() ? std::optional<Errc>() : got->error().code;
  };
  CHECK_FALSE(get(12));
  CHECK(bench.wire.gets.back().second.range.size() == 12);
  CHECK(get(0) == Errc::invalid_request);
  CHECK(get(kUnit + 1) == Errc::invalid_request);
  bench.site.avoid(node(2), "it sent another manifest than it named");
  CHECK(get(12) == Errc::upstream_unreachable);
  CHECK(bench.wire.gets.size() == 1);
}

TEST_CASE("what members know of a name is gathered from those who know it") {
  SiteBench bench(30);
  bench.wire.on_recall = [](const std::string& to, const Recall&) -> Result<RecallAnswer> {
    RecallAnswer answer;
    answer.known = to == node(7) || to == node(8);
    answer.digest = digest(to);
    if (to == node(9)) return ScriptedWire::nobody();
    return answer;
  };
  bench.wire.delays[node(8)] = 5s;
  std::optional<std::vector<Recalled>> known;
  auto ticket =
      bench.site.recall({"docker.io", "library/nginx", "1.27"},
                        [&known](Result<std::vector<Recalled>> answer) { known = *std::move(answer); });
  bench.loop.advance(1400ms);
  CHECK_FALSE(known);
  bench.loop.advance(200ms);
  REQUIRE(known);
  REQUIRE(known->size() == 1);
  CHECK(known->front().member == node(7));
}

// rules: one-open-end
TEST_CASE("a whole blob of unknown size is asked for in words that a giver takes") {
  SiteBench bench;
  bench.wire.on_ask = [](const std::string&, const Ask&) -> Result<AskAnswer> {
    AskAnswer answer;
    answer.kind = AskAnswer::Kind::from;
    answer.sources = {node(2)};
    answer.whole = true;
    return answer;
  };
  bench.wire.on_get = [](const std::string&, const UnitGet&) { return std::optional<Error>(); };
  auto share = bench.begin();
  share->whole_only();
  std::optional<Result<UnitSource>> source;
  auto finding = share->find(0, {0, ~ByteCount{0}},
                             [&source](Result<UnitSource> found) { source.emplace(std::move(found)); });
  bench.loop.advance(2s);
  REQUIRE(source);
  REQUIRE(source->ok());
  CHECK((*source)->from == UnitSource::From::member);
  CHECK((*source)->range == ByteRange{0, bench.wire.total});
  REQUIRE_FALSE(bench.wire.gets.empty());
  // The same words at the real other end.
  SiteBench giver;
  giver.shelf.here = Shelf::Held{true, false, 100_MiB, 100_MiB};
  std::optional<Result<std::unique_ptr<Upload>>> upload;
  auto opening = giver.site.on_get(node(1), bench.wire.gets.back().second,
                                   [&upload](auto answer) { upload.emplace(std::move(answer)); });
  giver.loop.advance(1s);
  REQUIRE(upload);
  INFO((upload->ok() ? std::string() : upload->error().message));
  REQUIRE(upload->ok());
  CHECK((**upload)->total == 100_MiB);
}
