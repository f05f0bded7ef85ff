// Downloads in the plain case: joining, growing, the end of a body, leaving, resuming.
#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

// Red without Download::confirm -> commit: any step left out.
TEST_CASE("a blob is downloaded, served, and kept") {
  DownloadBench bench;
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
  REQUIRE(bench.store.committed(bench.digest));
  CHECK((*bench.store.committed(bench.digest) == bench.content));
  CHECK(bench.fetcher.bytes_out() == bench.content.size());
  CHECK(bench.table->running() == 0);
  CHECK(bench.metrics.total("layerd_downloads_running") == 0);
  CHECK(bench.budget.in_use() == 0);
}

// Red without DownloadTable::find in join(): each client would fetch for itself.
// rules: one-download
TEST_CASE("24 clients of one blob cost one trip") {
  DownloadBench bench(4_MiB);
  bench.fetcher.at("a").chunk_after = 5ms;
  for (int i = 0; i < 24; ++i) {
    bench.join();
    bench.loop.advance(10ms);
  }
  REQUIRE(bench.run());
  unsigned started = 0;
  for (auto& client : bench.clients) {
    CHECK((client.body == bench.content));
    started += client.started ? 1 : 0;
  }
  CHECK(started == 1);
  CHECK(bench.fetcher.asked().size() == 1);
  CHECK(bench.fetcher.bytes_out() == bench.content.size());
  CHECK(bench.metrics.total("layerd_joined_total") == 23);
}

// Red if size() answers from what is on disk, or from a hint (DownloadFollower::advance).
TEST_CASE("a size is told only after a source confirmed the blob") {
  DownloadBench bench;
  bench.fetcher.at("a").never_answers = true;
  RangeSet present;
  present.add({0, 512_KiB});
  bench.store.leave_partial(bench.digest, bench.content, present, bench.content.size());
  auto& client = bench.join();
  bench.loop.advance(19s);
  CHECK_FALSE(client.size);
  CHECK_FALSE(client.done());
  bench.loop.advance(2s);
  REQUIRE(client.error);
  CHECK(client.error->code == Errc::upstream_timeout);
}

// Red if the first byte waits for more than its own chunk (wake_followers in written()).
// rules: first-byte
TEST_CASE("the first byte goes out when upstream's first byte is in") {
  DownloadBench bench;
  bench.fetcher.at("a").head_after = 100ms;
  bench.fetcher.at("a").chunk_after = 1s;
  auto& client = bench.join();
  bench.loop.advance(1100ms);
  CHECK(client.body.size() == 64_KiB);
}

// Red without held_from() in DownloadFollower::readable.
// rules: held-tail
TEST_CASE("the end of a body waits for the digest, a range that ends earlier does not") {
  DownloadBench bench;
  auto& script = bench.fetcher.at("a");
  script.content[100] = static_cast<char>(script.content[100] + 1);
  auto& whole = bench.join();
  auto& part = bench.join({bench.content.size() - 60_KiB, bench.content.size() - 10});
  REQUIRE(bench.run());
  CHECK(part.finished);
  REQUIRE(whole.error);
  CHECK(whole.error->code == Errc::digest_mismatch);
  CHECK(whole.body.size() == bench.content.size() - 64_KiB);
  CHECK(bench.store.committed(bench.digest) == nullptr);
}

TEST_CASE("blobs of odd sizes arrive whole") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65535}, std::size_t{65536},
                                 std::size_t{65537}, std::size_t{200001}}) {
    DownloadBench bench(size);
    auto& client = bench.join();
    INFO(size);
    REQUIRE(bench.run());
    CHECK(client.finished);
    CHECK((client.body == bench.content));
    CHECK(bench.store.committed(bench.digest));
  }
}

// Red if advance(Size&) tells 0 before the digest was compared.
// rules: empty-not-told
TEST_CASE("an empty body for a blob that is not empty is never answered") {
  DownloadBench bench;
  bench.fetcher.at("a").content.clear();
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK(client.error);
  CHECK_FALSE(client.size);
}

TEST_CASE("sha512 works as sha256 does") {
  DownloadBench bench;
  bench.digest = digest_of(DigestAlgorithm::sha512, bench.content);
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
  CHECK(bench.store.committed(bench.digest));
}

// Red if a reader holds up the others: the file is the buffer.
TEST_CASE("a slow client holds up nobody") {
  DownloadBench bench(4_MiB);
  auto& slow = bench.join();
  slow.pace = 1s;
  auto& fast = bench.join();
  bench.loop.advance(100ms);
  CHECK(fast.finished);
  CHECK_FALSE(slow.finished);
  REQUIRE(bench.run());
  CHECK((slow.body == bench.content));
}

// Red if read() gives each reader all it asks for (DownloadParts::chunk).
TEST_CASE("the more read at once, the less each of them holds") {
  DownloadBench bench(512_KiB);
  auto& alone = bench.join();
  alone.chunk = cache::kMaxRead;
  bench.fetcher.at("a").chunk = 512_KiB;
  REQUIRE(bench.run());
  for (int i = 0; i < 256; ++i) bench.join().chunk = cache::kMaxRead;
  REQUIRE(bench.run());
  for (const auto& client : bench.clients) {
    CHECK((client.body == bench.content));
    if (&client != &alone) CHECK(client.largest <= 64_KiB);
  }
}

// Red without the range of the first request in connect(), or with a wrong first gap.
TEST_CASE("a partial blob of a former run is gone on with") {
  DownloadBench bench(4_MiB);
  RangeSet present;
  present.add({0, 1_MiB});
  present.add({2_MiB, 3_MiB});
  bench.store.leave_partial(bench.digest, bench.content, present, bench.content.size());
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
  CHECK(bench.fetcher.asked().front().range->first == 1_MiB);
  CHECK(bench.fetcher.bytes_out() <= 2_MiB + 64_KiB);
  CHECK(bench.metrics.total("layerd_upstream_resumes_total") >= 1);
}

// rules: reads-through
TEST_CASE("a registry that ignores ranges fills all gaps in one pass") {
  DownloadBench bench(4_MiB);
  RangeSet present;
  present.add({0, 1_MiB});
  present.add({2_MiB, 3_MiB});
  bench.store.leave_partial(bench.digest, bench.content, present, bench.content.size());
  bench.fetcher.at("a").ranges = false;
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
  CHECK(bench.fetcher.asked().size() == 1);
}

// Red without the HEAD in connect(): no source would confirm the blob.
TEST_CASE("a partial blob with every byte there is confirmed by a HEAD and kept") {
  DownloadBench bench;
  RangeSet present;
  present.add({0, bench.content.size()});
  bench.store.leave_partial(bench.digest, bench.content, present, bench.content.size());
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
  CHECK(bench.fetcher.bytes_out() == 0);
  CHECK(bench.store.committed(bench.digest));
}

// Red without start_over() when bytes of a former run are wrong.
TEST_CASE("wrong bytes of a former run cost one attempt") {
  DownloadBench bench;
  std::string wrong = bench.content;
  wrong[5] = static_cast<char>(wrong[5] + 1);
  RangeSet present;
  present.add({0, 512_KiB});
  bench.store.leave_partial(bench.digest, wrong, present, bench.content.size());
  auto& first = bench.join();
  REQUIRE(bench.run());
  CHECK(first.error);
  auto& second = bench.join();
  REQUIRE(bench.run());
  CHECK((second.body == bench.content));
}

// Red if confirm() hands any size to the partial file: one answer would throw away what others brought.
TEST_CASE("a place that contradicts what a former run left is left alone while others are there") {
  DownloadBench bench(4_MiB);
  RangeSet present;
  const bool is_whole = GENERATE(false, true);
  present.add({0, is_whole ? 4_MiB : 3_MiB});
  bench.store.leave_partial(bench.digest, bench.content, present, bench.content.size());
  const ByteCount claim = GENERATE(ByteCount{5_MiB}, ByteCount{1_MiB});
  auto& evil = bench.fetcher.at("evil");
  evil.content = random_bytes(5_MiB, 9);
  evil.claims = claim;
  auto& client = bench.join(target_at({"evil", "a"}));
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
  CHECK(bench.store.committed(bench.digest));
  CHECK(bench.fetcher.bytes_out() <= 1_MiB + 64_KiB);
}

// Red if a wrong size of a former run is believed for ever.
TEST_CASE("a size of a former run that no place confirms is replaced by a whole answer") {
  DownloadBench bench;
  bench.fetcher.at("a").length = GENERATE(true, false);
  RangeSet present;
  present.add({0, 512_KiB});
  bench.store.leave_partial(bench.digest, random_bytes(512_KiB, 9), present, 3_MiB);
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
}

// Red without on_connect_failed's case of range_unsatisfiable.
TEST_CASE("a partial blob longer than the blob is thrown away") {
  DownloadBench bench;
  RangeSet present;
  present.add({0, 2_MiB});
  bench.store.leave_partial(bench.digest, random_bytes(2_MiB, 9), present, 3_MiB);
  auto& client = bench.join();
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
}

// Red without add_target(): the second repository's endpoint would never be asked.
TEST_CASE("a joiner of another repository brings further endpoints") {
  DownloadBench bench;
  bench.fetcher.at("a").head_after = 1s;
  bench.fetcher.at("a").error = Error{Errc::not_found, "a has no such blob"};
  auto first = bench.table->join(bench.digest, target_at({"a"}, "one/app"), std::nullopt, true);
  auto second = bench.table->join(bench.digest, target_at({"b"}, "two/app"), std::nullopt, true);
  CHECK_FALSE(second.started);
  auto& client = bench.clients.emplace_back(bench.loop, second);
  REQUIRE(bench.run());
  CHECK((client.body == bench.content));
  // Red if confirmed_by() does not look at the target: the first asker's registry said no.
  CHECK_FALSE(first.confirmed_by_target());
  CHECK(second.confirmed_by_target());
}

// Red if leave() stops the segments while others follow.
TEST_CASE("a download tells whether other repositories' askers brought endpoints") {
  DownloadBench bench;
  bench.fetcher.at("a").chunk_after = 50ms;
  auto first = bench.table->join(bench.digest, target_at({"a"}), std::nullopt, true);
  bench.loop.advance(100ms);
  CHECK(bench.table->runs(bench.digest));
  CHECK_FALSE(first.has_others());
  const auto same = bench.table->join(bench.digest, target_at({"b"}), std::nullopt, true);
  CHECK_FALSE(same.has_others());
  const auto other = bench.table->join(bench.digest, target_at({"a"}, "library/other"), std::nullopt, true);
  CHECK(other.has_others());
  CHECK(first.has_others());
  CHECK_FALSE(bench.table->runs(digest_of(DigestAlgorithm::sha256, "another")));
}

TEST_CASE("a client that leaves stops nothing others need") {
  DownloadBench bench(2_MiB);
  bench.fetcher.at("a").chunk_after = 10ms;
  auto& first = bench.join();
  auto& second = bench.join();
  bench.loop.advance(50ms);
  first.leave();
  bench.loop.advance(20s);
  CHECK((second.body == bench.content));
  CHECK(bench.fetcher.asked().size() == 1);
}

// Red without the linger in DownloadTable::deserted.
// rules: linger
TEST_CASE("the last one leaving and coming back soon finds the download running") {
  DownloadBench bench(100_MiB);
  bench.settings.segments = 1;
  bench.start();
  bench.fetcher.at("a").chunk_after = 20ms;
  auto& first = bench.join();
  bench.loop.advance(1s);
  first.leave();
  bench.loop.advance(5s);
  CHECK(bench.table->running() == 1);
  const ByteCount before = bench.fetcher.bytes_out();
  auto& second = bench.join();
  CHECK_FALSE(second.started);
  bench.loop.advance(6s);
  CHECK(bench.table->running() == 1);
  CHECK(bench.fetcher.bytes_out() > before);
}

// Red if keep() never lets go, or if is_nearly_finished() says yes to everything.
TEST_CASE("a download nobody follows stops after the linger when much is missing") {
  DownloadBench bench(100_MiB);
  bench.settings.segments = 1;
  bench.start();
  bench.fetcher.at("a").chunk_after = 20ms;
  bench.join();
  bench.loop.advance(1s);
  bench.clients.front().leave();
  bench.loop.advance(11s);
  CHECK(bench.table->running() == 0);
  CHECK(bench.fetcher.bodies_open() == 0);
  CHECK(bench.store.partial_bytes(bench.digest) > 20_MiB);
  CHECK(bench.metrics.total("layerd_downloads_running") == 0);
}

// Red without is_nearly_finished() in keep().
// rules: finish-what-is-nearly-there
TEST_CASE("a download nobody follows is finished when little is missing") {
  DownloadBench bench(40_MiB);
  bench.settings.segments = 1;  // so that it takes longer than the linger
  bench.start();
  bench.fetcher.at("a").chunk_after = 30ms;
  bench.join();
  bench.loop.advance(1s);
  bench.clients.front().leave();
  bench.loop.advance(60s);
  CHECK(bench.store.committed(bench.digest));
  CHECK(bench.table->running() == 0);
}

// Red if deserted() keeps a download that has no source for ever.
TEST_CASE("a client that left while connecting leaves nothing behind") {
  DownloadBench bench;
  bench.fetcher.at("a").never_answers = true;
  bench.join();
  bench.loop.advance(1s);
  bench.clients.front().leave();
  bench.loop.advance(11s);
  CHECK(bench.table->running() == 0);
}

// Red without close() in ~DownloadTable: followers would wait for ever.
TEST_CASE("destroying the table fails followers and loses no progress") {
  DownloadBench bench(4_MiB);
  bench.fetcher.at("a").chunk_after = 10ms;
  auto& client = bench.join();
  bench.loop.advance(100ms);
  bench.table.reset();
  bench.loop.run();
  REQUIRE(client.error);
  CHECK(client.error->code == Errc::canceled);
  CHECK(bench.store.partial_bytes(bench.digest) > 0);
  CHECK(bench.fetcher.bodies_open() == 0);
}

// Red without draining_ in join().
TEST_CASE("a draining table starts nothing and finishes what is followed") {
  DownloadBench bench(2_MiB);
  bench.fetcher.at("a").chunk_after = 10ms;
  auto& running = bench.join();
  bench.loop.advance(20ms);
  bench.table->drain();
  const Digest other = digest_of(DigestAlgorithm::sha256, "other");
  auto& late =
      bench.clients.emplace_back(bench.loop, bench.table->join(other, target_at({"a"}), std::nullopt, true));
  REQUIRE(bench.run());
  CHECK(late.error->code == Errc::canceled);
  CHECK((running.body == bench.content));
}

// Red if status() does not tell what runs.
TEST_CASE("the status of a download tells the truth") {
  DownloadBench bench(8_MiB);
  bench.fetcher.at("a").chunk_after = 10ms;
  bench.join();
  bench.join();
  bench.loop.advance(1s);
  const auto rows = bench.table->status();
  REQUIRE(rows.size() == 1);
  CHECK(rows[0].state == "receiving");
  CHECK(rows[0].repository == "registry.test/library/app");
  CHECK(rows[0].size == bench.content.size());
  CHECK(rows[0].followers == 2);
  CHECK(rows[0].segments == 1);
  CHECK(rows[0].endpoint == "https://a");
  CHECK(rows[0].present > 5_MiB);
  CHECK(rows[0].bytes_per_second > 5e6);
  CHECK(rows[0].bytes_per_second < 8e6);
}
