// Downloads and a disk that takes no more: what was to be kept is passed through, right to the byte, or
// broken off.
#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

// Red without reserve() before growth, and without pass_through().
// rules: no-room-passes-through
TEST_CASE("a full disk at the start: each client is passed through, right to the byte") {
  for (const bool begins : {true, false}) {
    DownloadBench bench;
    bench.store.room = 0;
    bench.store.begin_fails = !begins;
    auto& one = bench.join();
    auto& two = bench.join();
    auto& range = bench.join({100_KiB, 200_KiB});
    REQUIRE(bench.run());
    CHECK((one.body == bench.content));
    CHECK((two.body == bench.content));
    CHECK((range.body == bench.content.substr(100_KiB, 100_KiB)));
    CHECK(bench.metrics.total("layerd_pass_through_total") == 3);
    CHECK(bench.store.committed(bench.digest) == nullptr);
    CHECK(bench.fetcher.bytes_out() < 3 * bench.content.size());
  }
}

// Red if pass-through serves bytes of the partial file that its hash is not of.
TEST_CASE("wrong bytes that lie on a full disk never end up in a finished body") {
  for (const ByteRange range : {ByteRange{0, ~ByteCount{0}}, ByteRange{200_KiB, ~ByteCount{0}}}) {
    DownloadBench bench;
    bench.store.room = 0;
    std::string wrong = bench.content;
    wrong[350_KiB] = static_cast<char>(wrong[350_KiB] ^ 1);
    RangeSet present;
    present.add({0, 100_KiB});
    present.add({300_KiB, 400_KiB});
    bench.store.leave_partial(bench.digest, wrong, present, bench.content.size());
    auto& client = bench.join(range);
    REQUIRE(bench.run());
    if (client.finished) CHECK((client.body == bench.content.substr(range.first)));
    CHECK((client.finished || client.error->code == Errc::digest_mismatch));
  }
}

// Red if PassThrough::take_in does not hash, or end_for() does not hold the tail.
// rules: pass-through-held-tail
TEST_CASE("a wrong body is never finished while the disk is full") {
  DownloadBench bench(1_MiB + 1000);  // the last chunk is shorter than what is held back
  bench.store.room = 0;
  flip(bench.fetcher.at("a"));
  auto& client = bench.join();
  auto& tail = bench.join({bench.content.size() - 10, ~ByteCount{0}});
  REQUIRE(bench.run());
  REQUIRE(client.error);
  CHECK(client.error->code == Errc::digest_mismatch);
  CHECK(client.body.size() == bench.content.size() - 64_KiB);
  CHECK(tail.error);
}

// Red if pass_through() in the middle does not go on at each follower's own offset.
// rules: failed-write-passes-through
TEST_CASE("a disk that fills up in the middle breaks no body") {
  for (const bool by_write : {true, false}) {
    DownloadBench bench(4_MiB);
    bench.settings.reserve_step = 1_MiB;
    bench.start();
    if (by_write) bench.store.write_fails_from = 2_MiB;
    if (!by_write) bench.store.room = 2_MiB;
    bench.fetcher.at("a").chunk_after = 5ms;
    auto& one = bench.join();
    auto& slow = bench.join();
    slow.pace = 50ms;
    REQUIRE(bench.run());
    CHECK((one.body == bench.content));
    CHECK((slow.body == bench.content));
    CHECK(bench.metrics.total("layerd_pass_through_total") == 2);
  }
}

// Red if every write that is answered with an error blames the disk: a size that comes late makes the store
// throw away what is being written.
TEST_CASE("a HEAD that contradicts the body beside it does not blame the disk") {
  const bool has_other = GENERATE(false, true);
  DownloadBench bench;
  bench.store.write_takes = 5ms;
  auto& script = bench.fetcher.at("a");
  script.length = false;
  script.head_after = 20ms;
  script.chunk = 16_KiB;
  script.chunk_after = 2ms;
  script.head_claims = 20_KiB;
  auto& client = bench.join(has_other ? target_at({"a", "b"}) : target_at({"a"}));
  REQUIRE(bench.run());
  bench.loop.advance(1s);  // what was being written ends
  CHECK(bench.metrics.total("layerd_pass_through_total") == 0);
  if (has_other) CHECK(bench.store.committed(bench.digest));
  if (!has_other) {
    REQUIRE(client.error);
    CHECK(client.error->code == Errc::upstream_protocol);
  }
}

// Red if on_committed() fails followers instead of letting them go on.
TEST_CASE("a commit that fails breaks no body") {
  DownloadBench bench;
  bench.store.commit_fails = true;
  auto& slow = bench.join();
  slow.pace = 50ms;
  REQUIRE(bench.run());
  CHECK((slow.body == bench.content));
}

// Red if broke() in PassThrough does not open again at pos.
TEST_CASE("a body that breaks off while the disk is full is gone on with") {
  DownloadBench bench;
  bench.store.room = 0;
  bench.fetcher.at("a").cut_after = 300_KiB;
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
}
