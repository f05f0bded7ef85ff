// Several ranges at once: when they are worth it, what they cost, readers far ahead.
#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

// Red without the extra segments in Download::fill(), or if they bring bytes twice (stop_of).
// rules: extra-streams
TEST_CASE("an upstream that throttles each connection gives at least 3 x one connection") {
  DownloadBench bench(48_MiB);
  auto& script = bench.fetcher.at("a");
  script.chunk_after = 16ms;  // 4 MB/s each
  const TimePoint since = bench.loop.now();
  auto& client = bench.join();
  client.chunk = 256_KiB;
  REQUIRE(bench.run());
  const double alone = static_cast<double>(bench.content.size()) / (64 * 1024) * 0.016;
  const double took = std::chrono::duration<double>(bench.loop.now() - since).count();
  CHECK((client.body == bench.content));
  CHECK(alone / took >= 3.0);
  CHECK(bench.fetcher.most_bodies_open() <= 6);
  CHECK(bench.fetcher.bytes_out() <= bench.content.size() * 102 / 100);
}

// Red if opened() keeps extra segments that got the whole blob.
TEST_CASE("an upstream without ranges is asked once") {
  DownloadBench bench(48_MiB);
  bench.fetcher.at("a").chunk_after = 16ms;
  bench.fetcher.at("a").ranges = false;
  bench.join();
  REQUIRE(bench.run());
  CHECK(bench.fetcher.asked().size() == 1);
}

// Red without look_ahead(): the far reader would wait for all that lies before it.
// rules: reader-ahead
TEST_CASE("a reader far ahead of a slow download is served soon, and no byte comes twice") {
  DownloadBench bench(64_MiB);
  bench.settings.parallel_from = ~ByteCount{0};
  bench.start();
  bench.fetcher.at("a").chunk_after = 60ms;  // 1 MB/s
  auto& whole = bench.join();
  bench.loop.advance(1s);
  auto& far = bench.join({60_MiB, 61_MiB});
  bench.loop.advance(3s);
  CHECK(far.finished);
  CHECK((far.body == bench.content.substr(60_MiB, 1_MiB)));
  REQUIRE(bench.run(10min));
  CHECK((whole.body == bench.content));
  CHECK(bench.fetcher.bytes_out() <= bench.content.size() * 102 / 100);
}

// containerd >= 2.1: open-ended ranges, each hung up on after its chunk. Red if leaving stops the fill, or if
// each range is a fetch of its own.
TEST_CASE("a client of open-ended ranges that hangs up on each costs one copy") {
  DownloadBench bench(64_MiB);
  bench.fetcher.at("a").chunk_after = 6ms;  // 10 MB/s
  const ByteCount unit = 8_MiB;
  ByteCount next = 0;
  std::string body(bench.content.size(), '\0');
  struct Worker {
    ReadingClient* client;
    ByteCount first;
  };
  std::vector<Worker> workers;
  while (next < bench.content.size() || !workers.empty()) {
    while (workers.size() < 3 && next < bench.content.size()) {
      workers.push_back({&bench.join({next, ~ByteCount{0}}), next});
      next += unit;
    }
    bench.loop.advance(10ms);
    std::erase_if(workers, [&](Worker& worker) {
      REQUIRE_FALSE(worker.client->error);
      const ByteCount want = std::min(unit, bench.content.size() - worker.first);
      if (worker.client->body.size() < want) return false;
      body.replace(worker.first, want, worker.client->body, 0, want);
      worker.client->leave();
      return true;
    });
  }
  CHECK((body == bench.content));
  CHECK(bench.fetcher.bytes_out() <= bench.content.size() * 102 / 100);
}
