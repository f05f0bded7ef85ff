// Reading past the store while the partial file may change under the reader.
#include "proxy/pass_through.h"

#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

using namespace layerd;
using namespace layerd::test;

namespace {

struct PassThroughBench : DownloadBench {
  PassThroughBench() : DownloadBench(1_MiB) {}

  // `bytes` of [0, end) lie in the partial file.
  cache::PartialBlobPtr begin(const std::string& bytes, ByteCount end) {
    RangeSet present;
    present.add({0, end});
    store.leave_partial(digest, bytes, present, content.size());
    cache::PartialBlobPtr partial;
    auto begun = store.begin(digest, [&](Result<cache::PartialBlobPtr> got) { partial = std::move(*got); });
    loop.run();
    return partial;
  }
  // What another download does to the file: it believes another size first, then fills in its own bytes.
  void refill(cache::PartialBlob& partial, const std::string& bytes) {
    partial.set_size(bytes.size() + 1);
    partial.discard();
    partial.set_size(bytes.size());
    Ticket written = partial.write(0, Bytes::copy_of(bytes), [](const Result<Ok>& ok) { CHECK(ok); });
    loop.run();
  }
  // The body from byte 0 on; nothing if it was broken off.
  std::optional<std::string> read_all(proxy::PassThrough& reader, const std::function<void()>& after_first) {
    std::string body;
    while (body.size() < content.size()) {
      std::optional<Result<Bytes>> got;
      Ticket read = reader.read(body.size(), 64_KiB, ByteRange{0, content.size()},
                                [&](Result<Bytes> bytes) { got = std::move(bytes); });
      for (int i = 0; i < 1000 && !got; ++i) loop.advance(std::chrono::milliseconds(10));
      REQUIRE(got);
      if (!*got) return std::nullopt;
      body += (*got)->view();
      if (after_first && body.size() == (*got)->size()) after_first();
    }
    return body;
  }

  proxy::DownloadParts parts{loop, store, fetcher, budget, settings, proxy::DownloadMetrics(metrics)};
};

}  // namespace

// Red without the comparison of generations: the second half would be the new file's bytes, taken for hashed
// or even verified ones.
TEST_CASE("a partial file that is thrown away and refilled gives a reader no wrong byte") {
  const bool is_verified = GENERATE(false, true);
  PassThroughBench bench;
  const ByteCount end = is_verified ? bench.content.size() : bench.content.size() / 2;
  const auto partial = bench.begin(bench.content, end);
  proxy::PassThrough reader(bench.parts, bench.digest, {target_at({"a"})}, partial, bench.content.size(),
                            is_verified);
  const auto body =
      bench.read_all(reader, [&] { bench.refill(*partial, random_bytes(bench.content.size(), 7)); });
  REQUIRE(body);
  CHECK((*body == bench.content));
}

// Red if the callback of the read does not look: the bytes came while the file was thrown away.
TEST_CASE("a read of a partial file that is refilled meanwhile is not believed") {
  PassThroughBench bench;
  const auto partial = bench.begin(random_bytes(bench.content.size(), 7), bench.content.size());
  proxy::PassThrough reader(bench.parts, bench.digest, {target_at({"a"})}, partial, bench.content.size(),
                            true);
  std::string first;
  Ticket read = reader.read(0, 64_KiB, ByteRange{0, bench.content.size()},
                            [&](Result<Bytes> bytes) { first = bytes ? bytes->str() : "error"; });
  bench.loop.post_detached([&] { partial->discard(); });
  bench.loop.advance(std::chrono::seconds(1));
  REQUIRE_FALSE(first.empty());
  CHECK((first == bench.content.substr(0, first.size())));
}

// Red if hash_partial() reads as much as the disk gives: many readers would hold it all at once.
TEST_CASE("what is hashed from the partial file is read in a reader's share") {
  PassThroughBench bench;
  std::string half = bench.content;
  RangeSet present;
  present.add({200_KiB, 900_KiB});
  bench.store.leave_partial(bench.digest, half, present, bench.content.size());
  cache::PartialBlobPtr partial;
  auto begun =
      bench.store.begin(bench.digest, [&](Result<cache::PartialBlobPtr> got) { partial = std::move(*got); });
  bench.loop.run();
  bench.parts.readers = 512;
  proxy::PassThrough reader(bench.parts, bench.digest, {target_at({"a"})}, partial, bench.content.size(),
                            false);
  REQUIRE(bench.read_all(reader, {}));
  CHECK(bench.store.largest_partial_read <= 64_KiB);
  CHECK(bench.store.largest_partial_read > 0);
}
