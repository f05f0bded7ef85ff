// The random-exchange harness (style.md §2.6): seeded rounds of clients that join, read ranges, hang up, and
// are destroyed inside their own callbacks, over upstreams that fail at random. Whatever happens, each
// exchange ends, a finished whole body is right to the byte, and nothing is left behind.
#include <chrono>

#include "runtime/uv_loop.h"
#include "runtime/workers.h"
#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kClients = 40;
constexpr ByteCount kSize = 700'001;

// A client that lives on the heap and deletes itself inside its own callback.
struct Exchange {
  struct Tally {
    std::size_t running = 0, whole = 0, failed = 0, left = 0, wrong = 0;
  };
  Exchange(Loop& loop, proxy::Joined joined, const std::string& expected, Tally& tally, std::mt19937& random)
      : loop_(loop), source_(std::move(joined.source)), expected_(expected), tally_(tally), random_(random) {
    ++tally_.running;
    if (random_() % 2) first_ = random_() % kSize;
    leave_at_ = random_() % 3 == 0 ? random_() % kSize : ~ByteCount{0};
    chunk_ = 2'000 + random_() % 100'000;
    pending_ = source_->size([this](Result<ByteCount> size) {
      if (!size) return end(tally_.failed);
      end_ = *size;
      if (first_ > 0 && first_ >= end_) return end(tally_.failed);  // 416
      source_->want({first_, end_});
      next();
    });
    if (random_() % 8 == 0)
      hang_up_ =
          loop_.after(std::chrono::milliseconds(random_() % 200), "hang up", [this] { end(tally_.left); });
  }

 private:
  void end(std::size_t& how) {
    --tally_.running;
    ++how;
    delete this;
  }
  void next() {
    const ByteCount at = first_ + body_.size();
    if (at >= end_) {
      if (ByteView(expected_).substr(first_) != body_) ++tally_.wrong;  // a lie about the size counts too
      return end(tally_.whole);
    }
    if (body_.size() >= leave_at_) return end(tally_.left);
    pending_ = source_->read(at, std::min(chunk_, end_ - at), [this](Result<Bytes> bytes) {
      if (!bytes) return end(tally_.failed);
      body_ += bytes->view();
      if (random_() % 16) return next();
      pause_ = loop_.after(std::chrono::milliseconds(1 + random_() % 20), "pause", [this] { next(); });
    });
  }

  Loop& loop_;
  cache::SourcePtr source_;
  const std::string& expected_;
  Tally& tally_;
  std::mt19937& random_;
  ByteCount first_ = 0;
  ByteCount end_ = 0;
  ByteCount leave_at_;
  ByteCount chunk_;
  std::string body_;
  Ticket pending_, pause_, hang_up_;
};

void misbehave(Script& script, std::mt19937& random) {
  if (random() % 3 == 0) script.cut_after = random() % kSize;
  if (random() % 3 == 0) script.cuts = random() % 4;
  if (random() % 4 == 0) script.ranges = false;
  if (random() % 5 == 0) script.length = false;
  if (random() % 6 == 0) script.content[random() % kSize] ^= 1;
  if (random() % 8 == 0) script.claims = random() % (2 * kSize);
  if (random() % 8 == 0)
    script.error = Error{Errc::upstream_status, "503", 0, 503}, script.errors = random() % 3;
  script.chunk = 1000 + random() % 200'000;
  script.chunk_after = std::chrono::milliseconds(random() % 4);
  script.head_after = std::chrono::milliseconds(random() % 10);
}

proxy::DownloadSettings quick_settings() {
  proxy::DownloadSettings settings;
  settings.connect = settings.outage = 500ms;
  settings.reopen = settings.stall = 200ms;
  settings.linger = 100ms;
  settings.retry_first = 1ms, settings.retry_most = 10ms;
  settings.reserve_step = 256_KiB;
  return settings;
}

// One round on any loop. turn() lets it go on for a moment.
template <class Turn>
void play_round(Loop& loop, Workers* workers, std::uint32_t seed, Turn turn) {
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const std::string content = random_bytes(kSize, seed);
  const Digest digest = digest_of(DigestAlgorithm::sha256, content);
  MemoryStore store(loop, workers);
  ScriptedFetcher fetcher(loop);
  BufferBudget budget(loop, 2_MiB);
  Metrics metrics;
  for (const char* host : {"a", "b", "c"}) {
    fetcher.at(host).content = content;
    misbehave(fetcher.at(host), random);
  }
  if (random() % 6 == 0) store.room = random() % (2 * kSize);
  if (random() % 9 == 0) store.write_fails_from = random() % kSize;
  Exchange::Tally tally;
  {
    proxy::DownloadTable table(loop, store, fetcher, budget, metrics, quick_settings());
    std::size_t begun = 0;
    for (int turns = 0; (begun < kClients || tally.running > 0) && turns < 1'000'000; ++turns) {
      if (begun < kClients && random() % 3 == 0) {
        ++begun;
        const auto target = random() % 2 ? target_at({"a", "b", "c"}) : target_at({"b"}, "other/app");
        new Exchange(loop, table.join(digest, target, std::nullopt, true), content, tally, random);
      }
      turn();
    }
    CHECK(tally.running == 0);
    CHECK(tally.wrong == 0);
    CHECK(tally.whole + tally.failed + tally.left == kClients);
  }
  for (int i = 0; i < 50; ++i) turn();
  if (const std::string* kept = store.committed(digest)) CHECK((*kept == content));
  CHECK(fetcher.bodies_open() == 0);
  CHECK(budget.in_use() == 0);
  CHECK(metrics.total("layerd_followers") == 0);
  CHECK(metrics.total("layerd_downloads_running") == 0);
}

}  // namespace

// Red when any callback outlives its owner (ASan), an answer is lost, or held_from()/verify() are taken out.
TEST_CASE("random exchanges on virtual time: each ends, no finished body is wrong") {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    VirtualLoop loop;
    play_round(loop, nullptr, seed, [&] { loop.advance(1ms); });
  }
}

// The same with real worker threads behind the store, for ThreadSanitizer.
TEST_CASE("random exchanges with worker threads: each ends, no finished body is wrong") {
  for (std::uint32_t seed = 101; seed <= 104; ++seed) {
    UvLoop loop;
    {
      Workers workers(loop, 2);
      play_round(loop, &workers, seed, [&] { loop.run_once(1ms); });
    }
    loop.close();
  }
}
