// DiskStore in ordinary days: filling, serving, verification, commands.
#include "tests/unit/cache/store_fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

std::size_t files_below(const std::string& folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    count += entry.is_regular_file();
  return count;
}

}  // namespace

TEST_CASE("a blob written out of order is hashed, committed and served after a restart") {
  StoreFixture f;
  f.open();
  const auto text = random_text(20 << 20, 1);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  {
    auto partial = f.begin(digest);
    partial->set_size(text.size());
    const ByteView all(text);
    REQUIRE(f.write(*partial, 10_MiB, all.substr(10_MiB)).ok());
    CHECK(partial->hashed_front() == 0);
    auto middle =
        f.wait<Bytes>([&](Done<Bytes> done) { return partial->read(12_MiB, 1000, std::move(done)); });
    REQUIRE(middle.ok());
    CHECK(middle->view() == all.substr(12_MiB, 1000));
    auto absent = f.wait<Bytes>([&](Done<Bytes> done) { return partial->read(5, 1000, std::move(done)); });
    CHECK(absent.error().code == Errc::range_unsatisfiable);
    REQUIRE(f.write(*partial, 0, all.substr(0, 10_MiB)).ok());
    REQUIRE(f.verify(*partial).ok());
    CHECK(partial->hashed_front() == text.size());
    REQUIRE(f.commit(partial).ok());
  }
  std::vector<Digest> units;
  for (std::size_t at = 0; at < text.size(); at += 8_MiB)
    units.push_back(digest_of(DigestAlgorithm::sha256, ByteView(text).substr(at, 8_MiB)));
  CHECK(f.store->units(digest) == units);
  CHECK(f.store->known_size(digest) == text.size());
  CHECK(f.store->stats().blobs == 1);
  CHECK(f.store->stats().partial_bytes == 0);
  f.close();
  f.open();
  CHECK(f.count("layerd_cache_index_rebuilds_total") == 0);
  CHECK(f.store->stats().bytes == text.size());
  CHECK(f.content(digest) == text);
  CHECK(files_below(f.settings.path + "/partial") == 0);
}

// rules: sha512
TEST_CASE("sha512 and zero-byte blobs are kept like any other") {
  StoreFixture f;
  f.open();
  const auto text = random_text(3 << 20, 2);
  const auto long_digest = f.add(text, DigestAlgorithm::sha512);
  const auto empty = f.add("");
  CHECK(f.content(long_digest) == text);
  CHECK(f.content(empty).empty());
  CHECK(f.store->known_size(empty) == ByteCount{0});
}

// rules: digest-compared, wrong-bytes-thrown-away, hash-begins-anew
TEST_CASE("wrong bytes are set aside and the partial blob can be filled anew") {
  StoreFixture f;
  f.open();
  const auto text = random_text(1 << 20, 3);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  auto partial = f.begin(digest);
  auto failed = f.fill(partial, random_text(1 << 20, 4));
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().code == Errc::digest_mismatch);
  CHECK(partial->present().total() == 0);
  CHECK(f.count("layerd_digest_mismatch_total") == 1);
  CHECK(f.count("layerd_quarantined_total") == 1);
  CHECK(files_below(f.settings.path + "/quarantine") == 1);
  CHECK(f.fill(partial, text).ok());
  CHECK(f.content(digest) == text);
}

TEST_CASE("two who begin the same blob get the same object, and a second size discards the bytes") {
  StoreFixture f;
  f.open();
  const auto digest = digest_of(DigestAlgorithm::sha256, "x");
  std::vector<PartialBlobPtr> got;
  std::vector<Ticket> tickets;
  for (int i = 0; i < 3; ++i)
    tickets.push_back(f.store->begin(digest, [&](Result<PartialBlobPtr> p) { got.push_back(*p); }));
  REQUIRE(f.run_until([&] { return got.size() == 3; }));
  CHECK(got[0] == got[1]);
  CHECK(got[0] == got[2]);
  CHECK(f.begin(digest) == got[0]);
  got[0]->set_size(10);
  REQUIRE(f.write(*got[0], 0, "12345").ok());
  got[0]->set_size(7);
  CHECK(got[0]->present().total() == 0);
  CHECK(got[0]->size() == ByteCount{7});
  CHECK(f.count("layerd_size_conflict_total") == 1);
  CHECK_FALSE(f.write(*got[0], 5, "abc").ok());
}

TEST_CASE("bytes that are present are never written over") {
  StoreFixture f;
  f.open();
  const std::string text = "the right bytes";
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  auto partial = f.begin(digest);
  partial->set_size(text.size());
  REQUIRE(f.write(*partial, 0, ByteView(text).substr(0, 9)).ok());
  REQUIRE(f.write(*partial, 0, "THE WRONG" + text.substr(9)).ok());
  REQUIRE(f.verify(*partial).ok());
  REQUIRE(f.commit(partial).ok());
  partial.reset();
  CHECK(f.content(digest) == text);
}

TEST_CASE("neighbouring writes that wait go to the disk together, around what is there, and fail together") {
  StoreFixture f;
  f.open();
  const auto text = random_text(16 * 4096, 41);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  auto partial = f.begin(digest);
  partial->set_size(text.size());
  REQUIRE(f.write(*partial, 5 * 4096, ByteView(text).substr(5 * 4096, 4096)).ok());
  const auto write_all = [&] {
    std::vector<Ticket> tickets;
    int good = 0, bad = 0;
    for (std::size_t at = 0; at < text.size(); at += 4096)
      tickets.push_back(partial->write(at, Bytes::copy_of(ByteView(text).substr(at, 4096)),
                                       [&](Result<Ok> done) { ++(done ? good : bad); }));
    REQUIRE(f.run_until([&] { return good + bad == 16; }));
    return good;
  };
  f.files->good_writes = 0;
  CHECK(write_all() == 0);
  f.files->good_writes = 1000;
  CHECK(write_all() == 16);
  CHECK(1000 - f.files->good_writes <= 4);  // the first alone, the rest in two parts, a record
  REQUIRE(f.verify(*partial).ok());
  REQUIRE(f.commit(partial).ok());
  partial.reset();
  CHECK(f.content(digest) == text);
}

// rules: partial-resumed
TEST_CASE("a partial blob goes on after a clean restart and its bytes count") {
  StoreFixture f;
  f.open();
  const auto text = random_text(6 << 20, 5);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  {
    auto partial = f.begin(digest);
    partial->set_size(text.size());
    REQUIRE(f.write(*partial, 4_MiB, ByteView(text).substr(4_MiB, 1000)).ok());
    REQUIRE(f.write(*partial, 0, ByteView(text).substr(0, 100'000)).ok());
  }
  f.close();
  f.open();
  CHECK(f.store->stats().partial_bytes == 101'000);
  auto partial = f.begin(digest);
  CHECK(partial->size() == text.size());
  CHECK(partial->present().ranges() == std::vector<ByteRange>{{0, 100'000}, {4_MiB, 4_MiB + 1000}});
  CHECK(f.run_until([&] { return partial->hashed_front() == 100'000; }));  // read back by itself
  CHECK(f.fill(partial, text).ok());
  CHECK(f.content(digest) == text);
}

// rules: one-store-one-process
TEST_CASE("a second process is told who holds the store") {
  StoreFixture f;
  f.open();
  auto second = DiskStore::open(f.loop, *f.workers, f.metrics, f.settings);
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == Errc::overloaded);
  CHECK(second.error().message.find(std::to_string(::getpid())) != std::string::npos);
}

TEST_CASE("a store of a newer format is set aside whole and a fresh one begun") {
  StoreFixture f;
  f.open();
  const auto digest = f.add("old");
  f.close();
  write_text(f.settings.path + "/format", "layerd store 99\n");
  f.open();
  CHECK(f.content(digest) == "not_found");
  CHECK(read_text(f.settings.path + "/set-aside-1/format") == "layerd store 99\n");
  CHECK(f.content(f.add("new")) == "new");
}

// rules: changed-file-verified
TEST_CASE("a changed file is verified before it is served") {
  StoreFixture f;
  f.settings.recheck = Duration::zero();
  f.open();
  const auto text = random_text(300'000, 6);
  const auto touched = f.add(text), damaged = f.add(text + "!");
  std::filesystem::last_write_time(f.blob_path(touched), std::filesystem::file_time_type::clock::now() + 1h);
  overwrite(f.blob_path(damaged), 1000, "damage");
  std::filesystem::last_write_time(f.blob_path(damaged), std::filesystem::file_time_type::clock::now() + 1h);
  CHECK(f.content(touched) == text);
  CHECK(f.content(damaged) == "not_found");
  CHECK(f.count("layerd_quarantined_total") == 1);
  CHECK_FALSE(f.store->known_size(damaged).has_value());
  CHECK(f.content(f.add(text + "!")) == text + "!");
}

TEST_CASE("a file without a row is found by name and verified, a bad one is not served") {
  StoreFixture f;
  f.open();
  const std::string text = "found by name";
  const auto good = digest_of(DigestAlgorithm::sha256, text);
  const auto bad = digest_of(DigestAlgorithm::sha256, "something else");
  write_text(f.blob_path(good), text);
  write_text(f.blob_path(bad), text);
  CHECK(f.content(good) == text);
  CHECK(f.store->known_size(good) == text.size());
  CHECK(f.content(bad) == "not_found");
  CHECK(f.content(digest_of(DigestAlgorithm::sha256, "nobody has this")) == "not_found");
}

// rules: asked-again-verified
TEST_CASE("a blob asked for again right after it was served whole is verified once, and readers break off") {
  StoreFixture f;
  f.open();
  const auto text = random_text(200'000, 7);
  const auto digest = f.add(text);
  auto reader = f.find(digest);
  REQUIRE(reader.ok());
  f.store->served_whole(digest);
  const auto when = std::filesystem::last_write_time(f.blob_path(digest));
  overwrite(f.blob_path(digest), 5, "damage");
  std::filesystem::last_write_time(f.blob_path(digest), when);  // nothing but the bytes tells
  CHECK_FALSE((*reader)->bad());
  REQUIRE(f.find(digest).ok());
  CHECK(f.run_until([&] { return (*reader)->bad(); }));
  auto bytes = f.wait<Bytes>([&](Done<Bytes> done) { return (*reader)->read(0, 10, std::move(done)); });
  CHECK(bytes.error().code == Errc::digest_mismatch);
  REQUIRE(f.run_until([&] { return f.count("layerd_quarantined_total") == 1; }));
  CHECK(f.content(digest) == "not_found");
}

TEST_CASE("the scrub finds a damaged file nobody asked for") {
  StoreFixture f;
  f.settings.scrub_period = 20ms;
  f.settings.scrub_bytes_per_second = 64_MiB;
  f.open();
  const auto good = f.add("a good one");
  const auto digest = f.add(random_text(100'000, 8));
  overwrite(f.blob_path(digest), 99, "damage");
  f.close();
  f.open();
  CHECK(f.run_until([&] { return f.count("layerd_quarantined_total") == 1; }));
  CHECK_FALSE(f.store->known_size(digest).has_value());
  CHECK(f.content(good) == "a good one");
}

TEST_CASE("small objects are checked, stored, kept hot, and a damaged one is not found") {
  StoreFixture f;
  f.open();
  const std::string text = "{\"manifest\": 1}";
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  const auto put = [&](ByteView content) {
    return f.wait<Ok>(
        [&](Done<Ok> done) { return f.store->put(digest, Bytes::copy_of(content), std::move(done)); });
  };
  const auto get = [&](ByteCount most) {
    return f.wait<Bytes>([&](Done<Bytes> done) { return f.store->get(digest, most, std::move(done)); });
  };
  CHECK(get(1000).error().code == Errc::not_found);
  CHECK(put("other").error().code == Errc::digest_mismatch);
  REQUIRE(put(text).ok());
  REQUIRE(f.store->hot(digest) != nullptr);
  CHECK(get(1000)->view() == text);
  CHECK(get(3).error().code == Errc::overloaded);
  f.close();
  f.open();
  CHECK(f.store->hot(digest) == nullptr);
  CHECK(get(1000)->view() == text);
  CHECK(f.store->hot(digest) != nullptr);
  f.close();
  const auto when = std::filesystem::last_write_time(f.blob_path(digest));
  overwrite(f.blob_path(digest), 2, "M");
  std::filesystem::last_write_time(f.blob_path(digest), when);
  f.open();
  CHECK(get(1000).error().code == Errc::not_found);
  CHECK(get(1000).error().code == Errc::not_found);
  CHECK(f.count("layerd_quarantined_total") == 1);
}

// rules: verify-compares
TEST_CASE("commands list, remove, pin and verify") {
  StoreFixture f;
  f.open();
  std::vector<Digest> all;
  for (int i = 0; i < 5; ++i) all.push_back(f.add("blob " + std::to_string(i)));
  auto first = f.store->list(std::nullopt, 3);
  REQUIRE(first.size() == 3);
  CHECK(f.store->list(first.back().digest, 10).size() == 2);
  auto held = f.find(all[0]);
  const auto remove = [&](const Digest& digest) {
    return f.wait<Ok>([&](Done<Ok> done) { return f.store->remove(digest, std::move(done)); });
  };
  CHECK(remove(all[0]).error().code == Errc::overloaded);
  held = Error{Errc::canceled, ""};
  CHECK(remove(all[0]).ok());
  CHECK(remove(all[0]).error().code == Errc::not_found);
  CHECK_FALSE(std::filesystem::exists(f.blob_path(all[0])));
  const auto verify = [&](const Digest& digest) {
    return f.wait<bool>([&](Done<bool> done) { return f.store->verify(digest, std::move(done)); });
  };
  overwrite(f.blob_path(all[1]), 0, "B");
  CHECK(*verify(all[2]));
  CHECK_FALSE(*verify(all[1]));
  CHECK(f.wait<ByteCount>([&](Done<ByteCount> done) { return f.store->gc(std::move(done)); }).ok());
  CHECK(f.store->stats().blobs == 3);
}

TEST_CASE("hits within a minute of the last use write nothing") {
  StoreFixture f;
  f.open();
  const auto digest = f.add("hit me");
  f.flush();
  const auto data = f.settings.path + "/index/data.mdb";
  const auto before = FileOps().facts(data);
  for (int i = 0; i < 20; ++i) CHECK(f.find(digest).ok());
  f.flush();
  CHECK(*FileOps().facts(data) == *before);
}

// rules: taken-back-is-absent
TEST_CASE("bytes that are taken back are absent, also after a restart, and the hash begins anew") {
  StoreFixture f;
  f.open();
  const auto text = random_text(20 << 20, 3);
  const Digest digest = digest_of(DigestAlgorithm::sha256, text);
  const ByteView all(text);
  {
    auto partial = f.begin(digest);
    partial->set_size(text.size());
    std::string wrong = text;
    wrong[9_MiB] ^= 1;
    REQUIRE(f.write(*partial, 0, wrong).ok());
    CHECK(partial->hashed_front() == text.size());
    auto hash = f.wait<Digest>([&](Done<Digest> done) {
      return partial->hash({8_MiB, 16_MiB}, std::move(done));
    });
    REQUIRE(hash.ok());
    CHECK(*hash == digest_of(DigestAlgorithm::sha256, ByteView(wrong).substr(8_MiB, 8_MiB)));
    partial->take_back({8_MiB, 16_MiB});
    CHECK_FALSE(partial->present().contains({8_MiB, 8_MiB + 1}));
    CHECK(f.store->stats().partial_bytes == 12_MiB);
    auto absent = f.wait<Digest>([&](Done<Digest> done) {
      return partial->hash({8_MiB, 16_MiB}, std::move(done));
    });
    CHECK(absent.error().code == Errc::range_unsatisfiable);
  }
  f.close();
  f.open();
  auto partial = f.begin(digest);
  CHECK(partial->size() == text.size());
  CHECK(partial->present().contains({0, 8_MiB}));
  CHECK(partial->present().contains({16_MiB, 20_MiB}));
  REQUIRE(partial->present().first_gap({0, text.size()}) == ByteRange{8_MiB, 16_MiB});
  REQUIRE(f.write(*partial, 8_MiB, all.substr(8_MiB, 8_MiB)).ok());
  REQUIRE(f.verify(*partial).ok());
  REQUIRE(f.commit(partial).ok());
}
