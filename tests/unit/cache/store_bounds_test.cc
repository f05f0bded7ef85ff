// DiskStore at its bounds: the cap, the floor of free space, a disk that is full or fails.
#include "tests/unit/cache/store_fixture.h"

using namespace layerd;
using namespace layerd::test;

// rules: size-limit, busy-stays
TEST_CASE("the cap is kept while a download grows, the oldest unused go, pinned and open ones stay") {
  StoreFixture f;
  f.settings.max_size = {1_MiB, -1};
  f.open();
  std::vector<Digest> old;
  for (int i = 0; i < 6; ++i)
    old.push_back(f.add(random_text(150'000 + 1000 * static_cast<unsigned>(i), 20 + i)));
  REQUIRE(f.wait<Ok>([&](Done<Ok> done) { return f.store->pin(old[5], true, std::move(done)); }).ok());
  auto held = f.find(old[4]);
  const auto text = random_text(600'000, 9);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  auto partial = f.begin(digest);
  for (ByteCount at = 0; at < text.size(); at += 200'000) {
    REQUIRE(f.reserve(digest, 200'000).ok());
    REQUIRE(f.write(*partial, at, ByteView(text).substr(at, 200'000)).ok());
    const auto stats = f.store->stats();
    CHECK(stats.bytes + stats.partial_bytes <= 1_MiB);
  }
  CHECK(f.store->known_size(old[5]).has_value());
  CHECK(f.store->known_size(old[4]).has_value());
  CHECK_FALSE(f.store->known_size(old[3]).has_value());  // the largest of its class that may go
  CHECK(f.store->stats().evicted_bytes >= 450'000);
  const auto refused = f.reserve(digest, 1_MiB);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Errc::no_space);
  CHECK(refused.error().message.find("cache.max_size") != std::string::npos);
  CHECK(f.fill(partial, text).ok());
}

// rules: free-space-floor
TEST_CASE("the floor of free space is kept, and nothing is evicted in vain") {
  StoreFixture f;
  f.files->disk_total = 100_MiB;
  f.files->disk_free = 50_MiB;
  f.settings.min_free = {0, 16};
  f.open();
  const auto kept = f.add(random_text(200'000, 10));
  const auto digest = digest_of(DigestAlgorithm::sha256, "new");
  CHECK(f.reserve(digest, 1_MiB).ok());
  f.files->disk_free = 17_MiB;
  std::this_thread::sleep_for(1100ms);  // the last reading of the free space holds for a second
  CHECK(f.reserve(digest, 64_MiB).error().code == Errc::no_space);
  CHECK(f.store->known_size(kept).has_value());
  CHECK(f.store->stats().min_free_bytes == 16_MiB);
}

TEST_CASE("an idle partial download is evicted like a blob, one being written is not") {
  StoreFixture f;
  f.settings.max_size = {1_MiB, -1};
  f.open();
  const auto idle = digest_of(DigestAlgorithm::sha256, "idle"),
             busy = digest_of(DigestAlgorithm::sha256, "busy");
  REQUIRE(f.write(*f.begin(idle), 0, random_text(400'000, 11)).ok());
  auto partial = f.begin(busy);
  REQUIRE(f.write(*partial, 0, random_text(400'000, 12)).ok());
  const Layout layout(f.settings.path);
  CHECK(f.reserve(busy, 500'000).ok());
  CHECK_FALSE(std::filesystem::exists(layout.partial(idle)));
  CHECK(std::filesystem::exists(layout.partial(busy)));
  CHECK(partial->present().total() == 400'000);
}

TEST_CASE("a full disk fails the write as no_space, is counted, and a later write goes on") {
  StoreFixture f;
  f.open();
  const auto text = random_text(1 << 20, 13);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  auto partial = f.begin(digest);
  partial->set_size(text.size());
  REQUIRE(f.write(*partial, 0, ByteView(text).substr(0, 500'000)).ok());
  f.files->good_writes = 0;
  const auto failed = f.write(*partial, 500'000, ByteView(text).substr(500'000));
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().code == Errc::no_space);
  CHECK(partial->present().total() == 500'000);
  CHECK(f.count("layerd_disk_errors_total") >= 1);
  CHECK_FALSE(f.store->stats().read_only);
  auto front = f.wait<std::pair<ByteCount, Hasher>>(
      [&](Done<std::pair<ByteCount, Hasher>> done) { return partial->hasher_at_front(std::move(done)); });
  REQUIRE(front.ok());
  front->second.update(ByteView(text).substr(front->first));
  CHECK(front->second.finish() == digest);
  f.files->good_writes = -1;
  CHECK(f.fill(partial, text).ok());
  CHECK(f.content(digest) == text);
}

// rules: sick-disk-left-alone
TEST_CASE("a disk that fails with EIO is left alone for a while and used again when it recovers") {
  StoreFixture f;
  f.settings.read_only_pause = 200ms;
  f.open();
  const auto old = f.add("served all the same");
  const auto digest = digest_of(DigestAlgorithm::sha256, "new");
  auto partial = f.begin(digest);
  f.files->fails_with = EIO;
  f.files->good_writes = 0;
  CHECK(f.write(*partial, 0, "new").error().code == Errc::local_io);
  CHECK(f.store->stats().read_only);
  CHECK(f.reserve(digest, 10).error().code == Errc::local_io);
  CHECK(f.content(old) == "served all the same");
  f.files->good_writes = -1;
  REQUIRE(f.run_until([&] { return !f.store->stats().read_only; }));
  CHECK(f.reserve(digest, 10).ok());
  CHECK(f.fill(partial, "new").ok());
}
