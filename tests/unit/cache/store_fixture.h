// One store on one loop, opened and closed as often as a test wants.
#pragma once

#include <fmt/core.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "cache/disk_store.h"
#include "runtime/uv_loop.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/cache/faulty_files.h"

namespace layerd::test {

using namespace std::chrono_literals;
using namespace layerd::cache;

inline std::string random_text(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const auto word = random();
    std::memcpy(text.data() + i, &word, std::min<std::size_t>(8, size - i));
  }
  return text;
}

struct StoreFixture {
  std::optional<TempDir> folder;  // none when a test gives the path
  std::shared_ptr<FaultyFiles> files = std::make_shared<FaultyFiles>();
  StoreSettings settings;
  UvLoop loop;
  Metrics metrics;
  std::unique_ptr<Workers> workers;
  std::unique_ptr<DiskStore> store;

  explicit StoreFixture(const std::string& path = {}) {
    if (path.empty()) folder.emplace();
    settings.path = path.empty() ? *folder / "cache" : path;
    settings.max_size = {1_GiB, -1};
    settings.min_free = {0, -1};
    settings.scrub_period = Duration::zero();
    settings.files = files;
  }
  ~StoreFixture() {
    crash();
    loop.close();
  }

  void open() {
    if (!workers) workers = std::make_unique<Workers>(loop, 2);
    auto opened = DiskStore::open(loop, *workers, metrics, settings);
    INFO((opened ? std::string("opened") : opened.error().message));
    REQUIRE(opened.ok());
    store = std::move(*opened);
  }
  // As the process would leave it when it dies here.
  void crash() {
    store.reset();
    workers.reset();
  }
  void close() {
    auto closed = wait<Ok>([&](Done<Ok> done) { return store->close(std::move(done)); });
    CHECK(closed.ok());
    crash();
  }
  template <class F>
  bool run_until(F is_done) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (!is_done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop.run_once(5ms);
    }
    return true;
  }
  template <class T, class F>
  Result<T> wait(F start) {
    std::optional<Result<T>> answer;
    Ticket ticket = start(Done<T>([&](Result<T> result) { answer.emplace(std::move(result)); }));
    REQUIRE(!answer.has_value());  // never before the start function has returned
    REQUIRE(run_until([&] { return answer.has_value(); }));
    return std::move(*answer);
  }

  Result<StoredBlobPtr> find(const Digest& digest) {
    return wait<StoredBlobPtr>(
        [&](Done<StoredBlobPtr> done) { return store->open(digest, std::move(done)); });
  }
  PartialBlobPtr begin(const Digest& digest) {
    auto begun = wait<PartialBlobPtr>(
        [&](Done<PartialBlobPtr> done) { return store->begin(digest, std::move(done)); });
    REQUIRE(begun.ok());
    return *begun;
  }
  Result<Ok> reserve(const Digest& digest, ByteCount more) {
    return wait<Ok>([&](Done<Ok> done) { return store->reserve(digest, more, std::move(done)); });
  }
  Result<Ok> write(PartialBlob& partial, ByteCount offset, ByteView bytes) {
    return wait<Ok>(
        [&](Done<Ok> done) { return partial.write(offset, Bytes::copy_of(bytes), std::move(done)); });
  }
  Result<Ok> verify(PartialBlob& partial) {
    return wait<Ok>([&](Done<Ok> done) { return partial.verify(std::move(done)); });
  }
  Result<StoredBlobPtr> commit(PartialBlobPtr partial) {
    return wait<StoredBlobPtr>(
        [&](Done<StoredBlobPtr> done) { return store->commit(std::move(partial), std::move(done)); });
  }
  // Writes what of `content` is absent, in pieces, verifies and commits.
  Result<StoredBlobPtr> fill(PartialBlobPtr partial, const std::string& content, ByteCount piece = 256_KiB) {
    partial->set_size(content.size());
    while (auto gap = partial->present().first_gap({0, content.size()})) {
      const auto size = std::min(piece, gap->size());
      if (auto written = write(*partial, gap->first, ByteView(content).substr(gap->first, size)); !written)
        return written.error();
    }
    if (auto good = verify(*partial); !good) return good.error();
    return commit(std::move(partial));
  }
  Digest add(const std::string& content, DigestAlgorithm algorithm = DigestAlgorithm::sha256) {
    const auto digest = digest_of(algorithm, content);
    auto stored = fill(begin(digest), content);
    INFO((stored ? std::string() : stored.error().message));
    REQUIRE(stored.ok());
    return digest;
  }
  std::string read_all(Source& source, ByteCount size) {
    std::string text;
    while (text.size() < size) {
      auto bytes =
          wait<Bytes>([&](Done<Bytes> done) { return source.read(text.size(), 256_KiB, std::move(done)); });
      REQUIRE(bytes.ok());
      text.append(bytes->view());
    }
    return text;
  }
  // The content as the store serves it, or the word for the error.
  std::string content(const Digest& digest) {
    auto blob = find(digest);
    if (!blob) return std::string(name_of(blob.error().code));
    return read_all(**blob, (*blob)->byte_count());
  }
  void flush() {  // a pin writes everything queued before it
    REQUIRE(run_until([&] { return workers->queued() == 0; }));
    const auto end = std::chrono::steady_clock::now() + 300ms;
    run_until([&] { return std::chrono::steady_clock::now() > end; });
  }
  std::string blob_path(const Digest& digest) const { return Layout(settings.path).blob(digest); }
  std::uint64_t count(const char* metric) { return metrics.total(metric); }
};

inline void overwrite(const std::string& path, ByteCount offset, const std::string& bytes) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace layerd::test
