// The book of a coordinator: leases, referrals, claims, whole blobs, bounds.
#include "proxy/peers/book.h"

#include <algorithm>
#include <set>

#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::peers;
using namespace std::chrono_literals;

namespace {

using Kind = AskAnswer::Kind;

Digest digest(std::string_view of) { return digest_of(DigestAlgorithm::sha256, of); }
UnitName unit_name(std::uint32_t unit = 0, std::string_view blob = "layer", bool whole = false) {
  return {{"docker.io", "library/nginx", digest(blob)}, unit, whole};
}
std::string node(int number) { return "10.0.0." + std::to_string(number) + ":5152"; }

struct Bench {
  explicit Bench(BookSettings settings = {}) : book(settings, 7) {}
  AskAnswer ask(int from, Ask ask) { return book.ask(node(from), ask, holders, now); }
  AskAnswer ask(int from, std::vector<int> avoid = {}, std::string zone = {}, ByteCount have = 0) {
    Ask message;
    message.unit = unit_name();
    message.zone = std::move(zone);
    message.have = have;
    for (const int other : avoid) message.avoid.push_back(node(other));
    return ask(from, message);
  }
  void done(int from, std::string_view bytes = "unit", bool from_upstream = false) {
    Tell tell;
    tell.done.push_back({unit_name(), digest(bytes), from_upstream});
    book.tell(node(from), tell, now);
  }
  void alive(int from, ByteCount have) {
    Tell tell;
    tell.alive.push_back({unit_name(), have});
    book.tell(node(from), tell, now);
  }
  void give_up(int from, bool whole_only = false) {
    Tell tell;
    tell.gave_up.push_back({unit_name(), whole_only});
    book.tell(node(from), tell, now);
  }
  bool is_from(const AskAnswer& answer, std::set<int> allowed) const {
    if (answer.kind != Kind::from || answer.sources.empty() || answer.sources.size() > 4) return false;
    for (const auto& source : answer.sources) {
      bool found = false;
      for (const int one : allowed) found = found || node(one) == source;
      if (!found) return false;
    }
    return true;
  }

  Book book;
  std::vector<Book::Holder> holders;
  TimePoint now{std::chrono::hours(1)};
};

}  // namespace

TEST_CASE("the first asker is sent upstream and the others to those who asked before") {
  Bench bench;
  const auto first = bench.ask(1);
  CHECK(first.kind == Kind::fetch);
  CHECK(first.lease == 10s);
  CHECK(bench.is_from(bench.ask(2), {1}));
  CHECK(bench.is_from(bench.ask(3), {1, 2}));
  CHECK(bench.is_from(bench.ask(4), {1, 2, 3}));
  CHECK(bench.book.leases() == 1);
}

TEST_CASE("a lease ends after ten seconds without progress and goes to the next asker") {
  Bench bench;
  bench.ask(1);
  for (int i = 1; i <= 4; ++i) {
    bench.now += 6s;
    bench.alive(1, ByteCount(i) * 1_MiB);
    CHECK(bench.is_from(bench.ask(2), {1}));
  }
  bench.now += 6s;
  bench.alive(1, 4_MiB);  // a word without a byte more
  bench.now += 5s;
  CHECK(bench.ask(3).kind == Kind::fetch);
}

TEST_CASE("a lease that is given back, or whose holder is dead, goes to the next asker") {
  Bench bench;
  bench.ask(1);
  bench.give_up(1);
  CHECK(bench.ask(2).kind == Kind::fetch);
  bench.book.gone(node(2));
  CHECK(bench.ask(3).kind == Kind::fetch);
  CHECK(bench.ask(2).kind == Kind::from);  // it speaks again, and is no root any more
}

TEST_CASE("who will not have the root gets a stand-in, and the next one is sent to that one") {
  Bench bench;
  bench.ask(1);
  bench.ask(2);
  bench.ask(3);
  CHECK(bench.ask(2, {1}, {}, 1_MiB).kind == Kind::fetch);
  CHECK(bench.is_from(bench.ask(3, {1}, {}, 1_MiB), {2}));
  CHECK(bench.is_from(bench.ask(4, {1}), {2, 3}));
  CHECK(bench.book.leases() == 2);
}

TEST_CASE("there are at most four roots of a unit") {
  Bench bench;
  std::vector<int> avoid;
  for (int i = 1; i <= 4; ++i) {
    CHECK(bench.ask(i, avoid).kind == Kind::fetch);
    avoid.push_back(i);
  }
  const auto fifth = bench.ask(5, avoid);
  CHECK(fifth.kind == Kind::busy);
  CHECK(fifth.wait == 500ms);
}

TEST_CASE("who failed somebody is not named while there are others") {
  Bench bench;
  bench.ask(1);
  bench.ask(2);
  bench.ask(3);
  bench.ask(4, {2});
  for (int i = 5; i < 12; ++i) {
    const auto answer = bench.ask(i);
    for (const auto& source : answer.sources) CHECK(source != node(2));
  }
}

TEST_CASE("sources of the asker's zone come first, and only one asker of a zone is sent to another") {
  Bench bench;
  CHECK(bench.ask(1, {}, "a").kind == Kind::fetch);
  CHECK(bench.is_from(bench.ask(2, {}, "b"), {1}));
  CHECK(bench.is_from(bench.ask(3, {}, "b"), {2}));
  CHECK(bench.is_from(bench.ask(4, {}, "b"), {2, 3}));
  CHECK(bench.is_from(bench.ask(5, {}, "a"), {1}));
  CHECK(bench.is_from(bench.ask(6, {}, "b", 0), {2, 3, 4}));
}

// rules: a-zone-needs-somebody-who-brings-it
TEST_CASE("who brings a unit into a zone is not sent back to those of the zone whom it feeds") {
  Bench bench;
  bench.ask(1, {}, "a");
  bench.ask(2, {}, "b");  // takes it from 1 for the zone
  bench.ask(3, {}, "b");
  bench.ask(4, {}, "b");
  SECTION("it asks again") { CHECK(bench.is_from(bench.ask(2, {}, "b", 1'000), {1})); }
  SECTION("another will not have it") { CHECK(bench.is_from(bench.ask(3, {2}, "b"), {1})); }
  SECTION("another brings it as well by now") {
    bench.ask(3, {2}, "b");
    CHECK(bench.is_from(bench.ask(4, {2}, "b"), {3}));
  }
  SECTION("somebody of the zone has all of it") {
    bench.done(3);
    CHECK(bench.is_from(bench.ask(2, {}, "b", 1'000), {3, 4}));
  }
}

TEST_CASE("nobody is named to many more than his three children") {
  Bench bench;
  std::map<std::string, double> children;
  bench.ask(1);
  for (int i = 2; i < 200; ++i) {
    const auto answer = bench.ask(i);
    REQUIRE(answer.kind == Kind::from);
    for (const auto& source : answer.sources)
      children[source] += 1.0 / static_cast<double>(answer.sources.size());
  }
  for (const auto& [id, count] : children) CHECK(count < 3.6);
}

TEST_CASE("holders of the whole blob are sources of each unit") {
  Bench bench;
  bench.holders = {{node(9), ""}};
  CHECK(bench.is_from(bench.ask(1), {9}));
  CHECK(bench.book.leases() == 0);
  CHECK(bench.ask(2, {9}).kind == Kind::fetch);
}

TEST_CASE("what the fetcher says of a unit is told to later askers") {
  Bench bench;
  bench.ask(1);
  CHECK_FALSE(bench.ask(2).claim);
  bench.done(2, "relayed");  // not from upstream: nobody's word
  CHECK_FALSE(bench.ask(3).claim);
  bench.done(1, "unit", true);
  const auto answer = bench.ask(4);
  CHECK(answer.claim == digest("unit"));
  CHECK_FALSE(answer.is_proved);
  CHECK(bench.book.leases() == 0);
}

// rules: who-said-the-right-hash
TEST_CASE("who is asked about is told whether it said the claim's hash") {
  Bench bench;
  bench.ask(1);
  bench.ask(2);
  bench.ask(3);
  bench.ask(4);
  Ask message;
  message.unit = unit_name();
  message.about = {node(1), node(2), node(3), node(4), node(9)};
  bench.done(2);
  CHECK(bench.ask(5, message).agree.empty());  // there is no claim yet
  bench.done(1, "unit", true);
  bench.done(3, "wrong");
  CHECK(bench.ask(5, message).agree == std::vector<std::string>{node(1), node(2)});
  CHECK(bench.ask(5, message).claimed_by == node(1));
}

// rules: a-hash-is-fetched, claim-of-another
TEST_CASE("where nobody knows the hash of a unit one of those who need it fetches it") {
  Bench bench;
  bench.ask(1);
  bench.give_up(1);
  bench.done(2);  // has it from somebody
  Ask message;
  message.unit = unit_name();
  message.needs_claim = true;
  CHECK(bench.ask(3, message).kind == Kind::fetch);
  CHECK(bench.ask(4, message).kind == Kind::busy);
  SECTION("it is fetched") {
    bench.done(3, "unit", true);
    const auto answer = bench.ask(4, message);
    CHECK(bench.is_from(answer, {2, 3}));
    CHECK(answer.claim == digest("unit"));
  }
  SECTION("it is not") {
    bench.now += 11s;
    CHECK(bench.ask(4, message).kind == Kind::fetch);
  }
  SECTION("by one that the asker refuses") {
    bench.done(3, "unit", true);
    message.avoid = {node(3)};
    CHECK(bench.ask(4, message).kind == Kind::fetch);
    CHECK(bench.ask(5, message).kind == Kind::busy);
    bench.done(4, "unit", true);
    const auto answer = bench.ask(5, message);
    CHECK(answer.kind == Kind::from);
    CHECK(answer.claim == digest("unit"));
    CHECK(answer.claimed_by == node(4));
  }
  SECTION("two who fetched it disagree") {
    bench.done(3, "unit", true);
    bench.done(1, "other", true);
    CHECK(bench.ask(4, message).kind == Kind::fetch);
    CHECK(bench.ask(5, message).kind == Kind::fetch);
  }
}

TEST_CASE("claims that disagree are both dropped, and a proof overrules them") {
  Bench bench;
  bench.ask(1);
  bench.ask(2, {1});
  bench.done(1, "one", true);
  bench.done(2, "other", true);
  CHECK_FALSE(bench.ask(3).claim);
  bench.done(1, "one", true);
  CHECK_FALSE(bench.ask(3).claim);
  bench.book.prove(digest("layer"), {digest("one")});
  const auto proved = bench.ask(4);
  CHECK(proved.claim == digest("one"));
  CHECK(proved.is_proved);
  bench.done(5, "other", true);  // and who has something else is no source
  bench.book.drop_claims(digest("layer"));
  CHECK_FALSE(bench.ask(6).claim);
}

TEST_CASE("a blob whose upstream ignores Range is asked for as a whole by everybody") {
  Bench bench;
  bench.ask(1);
  bench.give_up(2, true);  // has no lease: cannot know
  CHECK_FALSE(bench.ask(3).whole);
  bench.give_up(1, true);
  const auto answer = bench.ask(4);
  CHECK(answer.whole);
  CHECK(answer.kind == Kind::busy);
  Ask whole;
  whole.unit = unit_name(0, "layer", true);
  const auto root = bench.ask(4, whole);
  CHECK(root.kind == Kind::fetch);
  CHECK(root.whole);
  CHECK(bench.is_from(bench.ask(5, whole), {4}));
}

TEST_CASE("units nobody spoke of for ten minutes are forgotten") {
  Bench bench;
  bench.ask(1);
  bench.done(1, "unit", true);
  bench.now += 9min;
  bench.book.sweep(bench.now);
  CHECK(bench.book.units() == 1);
  CHECK(bench.is_from(bench.ask(2), {1}));
  bench.now += 11min;
  bench.book.sweep(bench.now);
  CHECK(bench.book.units() == 0);
  CHECK(bench.ask(3).kind == Kind::fetch);
}

// rules: no-member-flushes-the-book
TEST_CASE("a peer at its bound pushes nobody out") {
  BookSettings settings;
  settings.units = 30;
  settings.units_per_peer = 10;
  Bench bench(settings);
  const auto ask_many = [&bench](int from, int first, int count) {
    for (int i = first; i < first + count; ++i) {
      Ask ask;
      ask.unit = unit_name(0, std::to_string(i));
      bench.ask(from, ask);
    }
  };
  ask_many(1, 0, 10);
  ask_many(2, 100, 60);
  CHECK(bench.book.units() == 20);
  CHECK(bench.book.leases() == 20);
}

TEST_CASE("there is a bound on what is kept of all peers together") {
  BookSettings settings;
  settings.askers = 50;
  Bench bench(settings);
  for (int unit = 0; unit < 40; ++unit)
    for (int from = 1; from <= 5; ++from) {
      Ask ask;
      ask.unit = unit_name(0, std::to_string(unit));
      bench.ask(from, ask);
    }
  CHECK(bench.book.units() <= 11);
  CHECK(bench.book.units() >= 10);
  for (int from = 1; from <= 100; ++from) bench.ask(from);  // of one unit as well
  CHECK(bench.ask(200).kind == Kind::fetch);                // nothing is kept of it
}

TEST_CASE("one peer cannot fill the book, nor take all leases, nor talk all the time") {
  BookSettings settings;
  settings.units = 100;
  settings.units_per_peer = 20;
  settings.leases_per_peer = 10;
  settings.burst = 50;
  settings.asks_per_second = 10;
  Bench bench(settings);
  unsigned leases = 0, busy = 0;
  for (int i = 0; i < 50; ++i) {
    Ask ask;
    ask.unit = unit_name(0, std::to_string(i));
    const auto answer = bench.ask(1, ask);
    leases += answer.kind == Kind::fetch;
    busy += answer.kind == Kind::busy;
  }
  CHECK(bench.book.leases() == 10);
  CHECK(busy == 10);                       // of the 20 that are kept, those without a lease
  CHECK(leases == 40);                     // of the others nothing is kept
  CHECK(bench.ask(1).kind == Kind::busy);  // too many words
  bench.now += 10s;
  CHECK(bench.book.may_speak(node(1), bench.now));
  for (int i = 0; i < 300; ++i) {
    Ask ask;
    ask.unit = unit_name(0, "blob " + std::to_string(i));
    bench.ask(2 + i / 15, ask);
  }
  CHECK(bench.book.units() == 100);
}
