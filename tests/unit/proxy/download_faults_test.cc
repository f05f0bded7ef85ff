// Every fault an upstream can have, each with one client, with many, and with ranges: right bytes or a
// cleanly broken body, never a complete wrong one, never a wrong byte kept.
#include <functional>

#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

struct Fault {
  const char* name;
  std::function<void(Script&)> make;
  bool alone_served;  // with this endpoint alone every client gets the blob
  bool lies = false;  // whoever was told so much by it cannot be served by another one
};

// What each row shows is gone when the named line is taken out.
const std::vector<Fault>& faults() {
  static const std::vector<Fault> all = {
      // Segment::pump waiting for more chunks
      {"drip", [](Script& s) { s.chunk = 16_KiB, s.chunk_after = 100ms; }, true},
      // Download::start_fill after segment_failed
      // rules: progress-forgives
      {"cut again and again", [](Script& s) { s.cut_after = 200_KiB; }, true},
      // the same, and settings.tries: cut at once, twice
      // rules: failure-not-final
      {"cut before the first byte", [](Script& s) { s.cut_after = 0, s.cuts = 2; }, true},
      // DownloadPlaces::failed counting up to settings.tries
      // rules: next-endpoint
      {"never a byte", [](Script& s) { s.cut_after = 0; }, false},
      // Segment::reads_through_ and the loop over gaps in Download::deliver
      // rules: ignored-range
      {"range ignored after a cut", [](Script& s) { s.ranges = false, s.cut_after = 300_KiB, s.cuts = 1; },
       true},
      // Download::ask_size
      {"no length on GET", [](Script& s) { s.length = false; }, true},
      // body_end_ in Download::ended
      // rules: body-end-before-head
      {"no length anywhere", [](Script& s) { s.length = s.head_length = false; }, true},
      // body_end_ against the HEAD's word
      {"no length and cut", [](Script& s) { s.length = false, s.cut_after = 400_KiB, s.cuts = 1; }, true},
      // Download::verify
      {"no length anywhere and cut",
       [](Script& s) { s.length = s.head_length = false, s.cut_after = 400_KiB; }, false, true},
      // held_from() and verify
      {"names too short a length", [](Script& s) { s.claims = 600_KiB; }, false, true},
      // truncated in Download::ended
      {"names too long a length", [](Script& s) { s.claims = 2_MiB; }, false, true},
      // on_verified -> start_over
      {"wrong bytes", flip, false, true},
      // watch_stalls
      // rules: stall-of-download
      {"stalls once", [](Script& s) { s.stall_after = 300_KiB, s.stalls = 1; }, true},
      // DownloadPlaces::failed: not_before by Retry-After
      {"429 with Retry-After after a cut",
       [](Script& s) {
         s.cut_after = 300_KiB, s.cuts = 1;
         s.error = Error{Errc::overloaded, "a: 429 Too Many Requests", 0, 429, {}, std::chrono::seconds(3)};
         s.errors = 0;
       },
       true},
      {"404",
       [](Script& s) {
         s.error = Error{Errc::not_found, "a has no such blob", 0, 404};
       },
       false},
      {"denied",
       [](Script& s) {
         s.error = Error{Errc::denied, "a refused", 0, 401};
       },
       false},
      {"503",
       [](Script& s) {
         s.error = Error{Errc::upstream_status, "a: 503", 0, 503};
       },
       false},
      {"HTML with 200",
       [](Script& s) {
         s.error = Error{Errc::upstream_protocol, "a is not a registry"};
       },
       false},
      {"no answer at all", [](Script& s) { s.never_answers = true; }, false},
  };
  return all;
}

// Never a complete wrong body, never a wrong byte kept: whatever happened.
void check_clean(DownloadBench& bench) {
  for (const auto& client : bench.clients) {
    CHECK(client.done());
    // Who finished a body with the blob's end in it was told the right size.
    if (client.finished && client.reached_end()) CHECK(*client.size == bench.content.size());
  }
  if (const std::string* kept = bench.store.committed(bench.digest)) CHECK((*kept == bench.content));
  CHECK(bench.fetcher.bodies_open() == 0);
  CHECK(bench.budget.in_use() == 0);
}

}  // namespace

TEST_CASE("each fault with one client: the blob, or an error that breaks the body off") {
  for (const Fault& fault : faults()) {
    DYNAMIC_SECTION(fault.name) {
      DownloadBench bench;
      fault.make(bench.fetcher.at("a"));
      auto& client = bench.join();
      REQUIRE(bench.run());
      check_clean(bench);
      CHECK(client.finished == fault.alone_served);
      if (client.finished) CHECK((client.body == bench.content));
    }
  }
}

TEST_CASE("each fault with many clients and ranges: the same") {
  for (const Fault& fault : faults()) {
    DYNAMIC_SECTION(fault.name) {
      DownloadBench bench;
      fault.make(bench.fetcher.at("a"));
      for (int i = 0; i < 6; ++i) bench.join();
      bench.join({700_KiB, ~ByteCount{0}});
      bench.join({100_KiB, 200_KiB});
      bench.join({bench.content.size() - 10, ~ByteCount{0}});
      REQUIRE(bench.run());
      check_clean(bench);
      std::size_t i = 0;
      for (const auto& client : bench.clients) {
        const ByteCount first = i == 6 ? 700_KiB : i == 7 ? 100_KiB : i == 8 ? bench.content.size() - 10 : 0;
        const ByteCount end = i == 7 ? 200_KiB : bench.content.size();
        // A range that ends before the end goes out unverified; any other finished body is right.
        if (client.finished && (fault.alone_served || i != 7)) {
          CHECK((client.body == bench.content.substr(first, end - first)));
        }
        if (fault.alone_served) CHECK(client.finished);
        ++i;
      }
    }
  }
}

// Red without failover in connect (fetcher) and choose(): the second endpoint has the blob.
TEST_CASE("each fault with a good second endpoint ends with the blob kept") {
  for (const Fault& fault : faults()) {
    DYNAMIC_SECTION(fault.name) {
      if (std::string(fault.name) == "no answer at all")
        continue;  // the fetcher's own deadlines are its business
      DownloadBench bench;
      fault.make(bench.fetcher.at("a"));
      auto& first = bench.join(target_at({"a", "b"}));
      REQUIRE(bench.run());
      if (!fault.lies) CHECK((first.body == bench.content));
      // Who was served wrong bytes broke off; the next attempt is right.
      auto& next = bench.join(target_at({"b"}));
      REQUIRE(bench.run());
      check_clean(bench);
      CHECK((next.body == bench.content));
      CHECK(bench.store.committed(bench.digest));
    }
  }
}

// rules: tries-bounded
TEST_CASE("an endpoint that never brings a byte is given up after three tries") {
  DownloadBench bench;
  bench.fetcher.at("a").cut_after = 0;
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK(client.error);
  CHECK(bench.fetcher.asked().size() == 3);
}

// Red without attempt_failed()'s has_read_: who read nothing goes on waiting, who read wrong bytes fails.
// rules: served-wrong-fails
TEST_CASE("after wrong bytes only those who were served some fail") {
  DownloadBench bench;
  flip(bench.fetcher.at("a"));
  auto& served = bench.join(target_at({"a", "b"}));
  auto& waiting = bench.join(target_at({"a", "b"}), {bench.content.size() - 100, ~ByteCount{0}});
  REQUIRE(bench.run());
  REQUIRE(served.error);
  CHECK(served.error->code == Errc::digest_mismatch);
  CHECK((waiting.body == bench.content.substr(bench.content.size() - 100)));
  CHECK((*bench.store.committed(bench.digest) == bench.content));
  CHECK(bench.store.mismatches == 1);
}

// Red without size_disagrees()/give_up_waiting().
TEST_CASE("an endpoint that lied about the size is found out by the next") {
  DownloadBench bench;
  bench.fetcher.at("a").claims = 2_MiB;
  auto& first = bench.join(target_at({"a", "b"}));
  REQUIRE(bench.run());
  CHECK(first.error);
  auto& second = bench.join(target_at({"b"}));
  REQUIRE(bench.run());
  CHECK((second.body == bench.content));
}

// Here both name a size: a in the head of a body that broke off, b when it was to go on with it.
// rules: size-dissent
TEST_CASE("when endpoints disagree about the size each gets its turn from scratch") {
  DownloadBench bench;
  Script& liar = bench.fetcher.at("a");
  liar.claims = 2_MiB;
  liar.cut_after = 300_KiB;
  liar.cuts = 1;
  liar.chunk_after = 10ms;
  auto& client = bench.join(target_at({"a", "b"}));
  bench.loop.advance(30ms);
  liar.error = Error{Errc::upstream_unreachable, "a is down for a moment"};
  liar.errors = 3;
  REQUIRE(bench.run());
  CHECK(client.error);
  bench.loop.advance(5s);
  REQUIRE(bench.store.committed(bench.digest));
  CHECK((*bench.store.committed(bench.digest) == bench.content));
}

// Red without limit_patience() and patience_for(): the client would wait 20 s and not ask its next host.
// rules: back-within-seconds
TEST_CASE("after a broken body the one that comes back gets an error within 5 s") {
  DownloadBench bench;
  bench.fetcher.at("a").cut_after = 300_KiB;
  bench.fetcher.at("a").cuts = 1;
  bench.fetcher.at("a").chunk_after = 10ms;
  auto& first = bench.join();
  bench.loop.advance(30ms);
  bench.fetcher.at("a").never_answers = true;
  bench.loop.advance(200ms);
  auto& back = bench.join({300_KiB, ~ByteCount{0}});
  const TimePoint since = bench.loop.now();
  while (!back.done()) bench.loop.advance(10ms);
  CHECK(back.error);
  CHECK(bench.loop.now() - since <= 5100ms);
  REQUIRE(bench.run());
  CHECK(first.error);
  auto& again = bench.join({300_KiB, ~ByteCount{0}});
  const TimePoint then = bench.loop.now();
  while (!again.done()) bench.loop.advance(10ms);
  CHECK(bench.loop.now() - then <= 5200ms);
}

// Red without the drip rule in watch_stalls().
// rules: drip-leaves
TEST_CASE("an endpoint that drips is left for another") {
  DownloadBench bench;
  bench.fetcher.at("a").chunk = 100;
  bench.fetcher.at("a").chunk_after = 500ms;
  auto& client = bench.join(target_at({"a", "b"}));
  REQUIRE(bench.run(60s));
  CHECK((client.body == bench.content));
}

// rules: registry-that-comes-back
TEST_CASE("a registry that is started anew in the middle of a body is waited for, and not for ever") {
  DownloadBench bench;
  Script& registry = bench.fetcher.at("a");
  registry.chunk_after = 100ms;
  auto& client = bench.join();
  bench.loop.advance(500ms);
  REQUIRE(client.body.size() > 0);
  registry.cut_after = 0;  // what runs breaks off
  registry.cuts = 1;
  registry.error = Error{Errc::upstream_unreachable, "a refused the connection"};
  SECTION("it is back after six seconds") {
    bench.loop.advance(6s);
    CHECK_FALSE(client.done());
    registry.error.reset();
    CHECK(bench.run());
    CHECK((client.finished && client.body == bench.content));
  }
  SECTION("who comes meanwhile is told soon, so that he goes on elsewhere") {
    bench.loop.advance(3s);
    auto& late = bench.join();
    bench.loop.advance(6s);
    CHECK(late.error);
    CHECK_FALSE(client.done());
  }
  SECTION("it stays away") {
    bench.loop.advance(25s);
    REQUIRE(client.error);
  }
  SECTION("it answers, and that it has no such blob: there is nothing to wait for") {
    bench.loop.advance(1s);
    registry.error = Error{Errc::not_found, "a has no such blob", 0, 404};
    bench.loop.advance(4s);
    CHECK(client.error);
  }
}

// Red if a size is believed whatever it is: writes far out would mark the whole disk as sick.
// rules: absurd-size
TEST_CASE("an absurd size is refused by name") {
  for (const ByteCount claim : {ByteCount{1} << 63, ~ByteCount{0} - 1, (ByteCount{1} << 50) + 1}) {
    for (const ByteCount room : {~ByteCount{0}, ByteCount{0}}) {
      DownloadBench bench;
      bench.store.room = room;
      bench.fetcher.at("a").claims = claim;
      auto& client = bench.join();
      REQUIRE(bench.run());
      REQUIRE(client.error);
      CHECK(client.error->message.find(std::to_string(claim)) != std::string::npos);
      CHECK_FALSE(client.size);
    }
  }
}

// Red if choose() forgets Retry-After, waits longer than it says, or waits while others are there.
TEST_CASE("a short Retry-After is waited out, a long one sends us on and counts as 15 s at most") {
  const proxy::DownloadSettings settings;
  const TimePoint now{};
  Error busy{Errc::upstream_status, "busy"};
  proxy::DownloadPlaces both(settings);
  both.add(target_at({"a", "b"}));
  busy.retry_after = 1s;
  both.failed(0, busy, now);
  CHECK_FALSE(both.choose(now).place.has_value());
  CHECK(both.choose(now).again == now + 1s);
  CHECK(both.choose(now + 1s).place == std::size_t{0});
  busy.retry_after = 10s;
  both.failed(0, busy, now);
  CHECK(both.choose(now).place == std::size_t{1});
  proxy::DownloadPlaces alone(settings);
  alone.add(target_at({"a"}));
  busy.retry_after = 3600s;
  alone.failed(0, busy, now);
  CHECK_FALSE(alone.choose(now).place.has_value());
  CHECK(alone.choose(now).again == now + 15s);
}

// Red if the first place stays the only one while it gives just more than the drip rule asks for.
TEST_CASE("a joiner's places are tried once when the present one is slow") {
  DownloadBench bench(4_MiB);
  bench.fetcher.at("a").chunk = 1_KiB;
  bench.fetcher.at("a").chunk_after = 100ms;
  bench.fetcher.at("slower").content = bench.content;
  bench.fetcher.at("slower").chunk = 1_KiB;
  bench.fetcher.at("slower").chunk_after = 300ms;
  auto& first = bench.join(target_at({"a"}, "one/app"));
  bench.loop.advance(1s);
  auto& slower = bench.join(target_at({"slower"}, "two/app"));
  auto& second = bench.join(target_at({"b"}, "three/app"));
  const bool has_better = GENERATE(true, false);
  if (!has_better) bench.fetcher.at("b").error = Error{Errc::not_found, "b has no such blob"};
  bench.loop.advance(30s);
  CHECK(second.finished == has_better);
  CHECK(first.finished == has_better);
  CHECK(slower.finished == has_better);
  std::size_t asked = 0;
  for (const auto& one : bench.fetcher.asked()) asked += one.host == "slower" ? 1 : 0;
  CHECK(asked == 1);
  if (!has_better) CHECK(bench.fetcher.asked().back().host == "a");  // back to the best there is
  for (auto& client : bench.clients) client.leave();
}
