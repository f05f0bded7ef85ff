// What the download tests share: a table on virtual time over a memory store and a scripted upstream, and
// clients that read as the blob handler does.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "proxy/download_table.h"
#include "tests/support/memory_store.h"
#include "tests/support/scripted_fetcher.h"
#include "tests/support/virtual_loop.h"

namespace layerd::test {

inline std::string random_bytes(std::size_t size, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; i += 4) {
    const std::uint32_t word = random();
    std::memcpy(bytes.data() + i, &word, std::min<std::size_t>(4, size - i));
  }
  return bytes;
}

// From now on one byte of what it gives is wrong.
inline void flip(Script& script) { script.content[script.content.size() / 2] ^= 1; }

// One client: size, then chunk after chunk, one in hand.
class ReadingClient {
 public:
  ReadingClient(Loop& loop, proxy::Joined joined, ByteRange range = {0, ~ByteCount{0}})
      : loop_(loop), started(joined.started), source_(std::move(joined.source)), range_(range) {
    pending_ = source_->size([this](Result<ByteCount> told) { on_size(std::move(told)); });
  }
  bool done() const { return finished || error; }
  bool reached_end() const { return size && range_.end == *size; }
  void leave() {
    pending_.reset();
    pause_.reset();
    source_.reset();
  }
  ByteCount chunk = 64_KiB;
  Duration pace{};  // between two reads

 private:
  Loop& loop_;

 public:
  const bool started;
  std::optional<ByteCount> size;
  std::optional<TimePoint> sized_at;
  std::string body;
  std::size_t largest = 0;  // piece that came
  bool finished = false;
  std::optional<Error> error;

 private:
  void on_size(Result<ByteCount> result) {
    if (!result) return fail(result.error());
    size = *result;
    sized_at = loop_.now();
    range_.end = std::min(range_.end, *size);
    if (range_.first > 0 && range_.first >= range_.end) return fail({Errc::range_unsatisfiable, "416"});
    if (range_.first < range_.end) source_->want(range_);
    next();
  }
  void next() {
    const ByteCount at = range_.first + body.size();
    if (at >= range_.end) {
      finished = true;
      return source_.reset();
    }
    pending_ = source_->read(at, std::min(chunk, range_.end - at), [this](Result<Bytes> bytes) {
      if (!bytes) return fail(bytes.error());
      body += bytes->view();
      largest = std::max(largest, bytes->size());
      if (pace == Duration::zero()) return next();
      pause_ = loop_.after(pace, "client", [this] { next(); });
    });
  }
  void fail(const Error& why) {
    error = why;
    source_.reset();
  }

  cache::SourcePtr source_;
  ByteRange range_;
  Ticket pending_;
  Ticket pause_;
};

struct DownloadBench {
  VirtualLoop loop;
  MemoryStore store{loop};
  ScriptedFetcher fetcher{loop};
  BufferBudget budget{loop, 16_MiB};
  Metrics metrics;
  proxy::DownloadSettings settings;
  std::unique_ptr<proxy::DownloadTable> table;
  std::list<ReadingClient> clients;
  std::string content;
  Digest digest;
  bool has_right = true;

  explicit DownloadBench(std::size_t size = 1_MiB) : content(random_bytes(size)) {
    digest = digest_of(DigestAlgorithm::sha256, content);
    fetcher.at("a").content = content;
    fetcher.at("b").content = content;
    start();
  }
  ~DownloadBench() {
    clients.clear();
    table.reset();
    loop.run();
  }
  void start() {
    table = std::make_unique<proxy::DownloadTable>(loop, store, fetcher, budget, metrics, settings);
  }
  ReadingClient& join(registry::TargetPtr target, ByteRange range = {0, ~ByteCount{0}}) {
    return clients.emplace_back(loop, table->join(digest, std::move(target), std::nullopt, has_right), range);
  }
  ReadingClient& join(ByteRange range = {0, ~ByteCount{0}}) { return join(target_at({"a"}), range); }
  // The only client joins, leaves after so long, and stays away for a minute.
  void join_and_leave(Duration after) {
    join();
    loop.advance(after);
    clients.front().leave();
    clients.clear();
    loop.advance(std::chrono::minutes(1));
  }
  bool all_done() const {
    return std::all_of(clients.begin(), clients.end(), [](const auto& client) { return client.done(); });
  }
  // Lets time pass until every client is served or has failed; false after `most`.
  bool run(Duration most = std::chrono::minutes(2)) {
    const TimePoint end = loop.now() + most;
    while (!all_done() && loop.now() < end) loop.advance(std::chrono::milliseconds(10));
    loop.run();
    return all_done();
  }
};

}  // namespace layerd::test
