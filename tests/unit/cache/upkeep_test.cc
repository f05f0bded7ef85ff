// DiskStore and its parts on bad days: what is read, removed, noted or rebuilt only in part.
#include <sys/stat.h>

#include "cache/blob_files.h"
#include "cache/journal.h"
#include "cache/room.h"
#include "tests/unit/cache/store_fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

std::vector<IndexChange> replayed(Journal& journal) {
  std::vector<IndexChange> found;
  REQUIRE(journal.begin_replay({}).ok());
  Result<bool> is_last = false;
  while (is_last && !*is_last)
    is_last = journal.replay_slice([&](IndexChange change) { found.push_back(std::move(change)); });
  REQUIRE(is_last.ok());
  return found;
}

void age(const std::string& path, std::chrono::hours by) {
  std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - by);
}

}  // namespace

TEST_CASE("the quarantine keeps the newest 8 files and at most 256 MiB") {
  TempDir folder;
  const Layout layout(folder / "cache");
  FileOps files;
  REQUIRE(files.make_folder(layout.quarantine_folder()).ok());
  const auto path = [&](int i) { return layout.quarantine_folder() + fmt::format("/sha256-{:02}", i); };
  for (int i = 0; i < 12; ++i) {
    std::ofstream(path(i)) << "bad";
    age(path(i), std::chrono::hours(i));
  }
  trim_quarantine(files, layout);
  for (int i = 0; i < 12; ++i) CHECK(std::filesystem::exists(path(i)) == (i < 8));
  std::filesystem::resize_file(path(1), 200_MiB);
  std::filesystem::resize_file(path(2), 100_MiB);
  age(path(1), std::chrono::hours(1));
  age(path(2), std::chrono::hours(2));
  trim_quarantine(files, layout);
  for (int i = 0; i < 8; ++i) CHECK(std::filesystem::exists(path(i)) == (i != 2));
}

// Red if the rebuild is noted later than the place in the journal.
TEST_CASE("a rebuild that a crash cut off at its very beginning is gone on with") {
  StoreFixture f;
  f.open();
  std::vector<Digest> digests;
  for (int i = 0; i < 5; ++i) digests.push_back(f.add(random_text(1000, 40 + i)));
  f.close();
  std::filesystem::remove_all(Layout(f.settings.path).index_folder());
  f.open();
  CHECK(f.store->is_rebuilding());
  f.crash();
  f.open();
  CHECK(f.store->is_rebuilding());
  REQUIRE(f.run_until([&] { return !f.store->is_rebuilding(); }));
  CHECK(f.store->stats().blobs == 5);
  f.close();
  f.open();
  CHECK_FALSE(f.store->is_rebuilding());
  CHECK(f.content(digests[3]) == random_text(1000, 43));
}

TEST_CASE("a partial download that nobody touched for a week goes, a younger one stays") {
  StoreFixture f;
  f.open();
  const auto old = digest_of(DigestAlgorithm::sha256, "old"),
             young = digest_of(DigestAlgorithm::sha256, "young");
  for (const auto& digest : {old, young}) {
    auto partial = f.begin(digest);
    partial->set_size(1000);
    REQUIRE(f.write(*partial, 0, "some").ok());
  }
  f.close();
  const Layout layout(f.settings.path);
  age(layout.partial(old), std::chrono::hours(8 * 24));
  age(layout.partial(young), std::chrono::hours(6 * 24));
  std::filesystem::remove_all(layout.index_folder());  // the rebuild's end tidies
  f.open();
  REQUIRE(f.run_until([&] { return !std::filesystem::exists(layout.ranges(old)); }));
  CHECK_FALSE(std::filesystem::exists(layout.partial(old)));
  CHECK(std::filesystem::exists(layout.partial(young)));
  CHECK(f.begin(young)->present().total() == 4);
}

// Red if verify_file() treats EIO as a trouble of the whole store.
TEST_CASE("a blob the disk cannot read is counted, set aside and not served again; others are stored on") {
  StoreFixture f;
  f.open();
  const auto text = random_text(100'000, 50);
  const auto digest = f.add(text);
  f.files->bad_sectors = true;
  auto got = f.wait<Bytes>([&](Done<Bytes> done) { return f.store->get(digest, 1_MiB, std::move(done)); });
  REQUIRE_FALSE(got.ok());
  CHECK(got.error().code == Errc::local_io);
  REQUIRE(f.run_until([&] { return f.count("layerd_quarantined_total") == 1; }));
  CHECK(f.count("layerd_disk_errors_total") >= 1);
  CHECK_FALSE(f.store->stats().read_only);
  f.files->bad_sectors = false;
  CHECK(f.content(digest) == "not_found");
  f.add(text);
  CHECK(f.content(digest) == text);
}

// Red if a file that cannot be opened, or not be read for another reason, stops all writes; if a file
// system's own checksum error is no damage.
TEST_CASE("trouble with one finished blob is no trouble of the store") {
  StoreFixture f;
  f.open();
  const auto digest = f.add(random_text(100'000, 52));
  f.close();
  f.open();
  for (const int code : {EACCES, ELOOP, EMFILE}) {
    f.files->closed_with = code;
    CHECK(f.content(digest) == "local_io");
    CHECK_FALSE(f.store->stats().read_only);
  }
  CHECK(f.count("layerd_disk_errors_total") == 3);
  f.files->closed_with = 0;
  f.files->bad_sectors = true;
  const auto verified = [&] {
    return f.wait<bool>([&](Done<bool> done) { return f.store->verify(digest, std::move(done)); });
  };
  f.files->bad_with = ENOMEM;
  CHECK_FALSE(verified().ok());
  CHECK_FALSE(f.store->stats().read_only);
  CHECK(f.store->stats().blobs == 1);
  f.files->bad_with = EUCLEAN;
  const auto good = verified();
  REQUIRE(good.ok());
  CHECK_FALSE(*good);
  CHECK_FALSE(f.store->stats().read_only);
  CHECK(f.count("layerd_quarantined_total") == 1);
}

// Red if a second commit renames again.
TEST_CASE("a commit that failed behind its rename can be repeated") {
  StoreFixture f;
  f.open();
  const auto text = random_text(10 << 20, 53);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  auto partial = f.begin(digest);
  f.files->loses_folders = true;
  CHECK_FALSE(f.fill(partial, text).ok());
  f.files->loses_folders = false;
  f.files->closed_with = EMFILE;
  CHECK_FALSE(f.commit(partial).ok());
  f.files->closed_with = 0;
  f.files->keeps_files = true;  // the record of the ranges stays
  REQUIRE(f.commit(std::move(partial)).ok());
  CHECK(f.content(digest) == text);
  CHECK(f.store->units(digest).size() == 2);
  CHECK(f.store->stats().blobs == 1);
  CHECK(f.store->stats().partial_bytes == 0);
}

// Red if a page begins at the row of the one before, wherever that has gone.
TEST_CASE("a listing in pages skips nothing when blobs are removed between the pages") {
  StoreFixture f;
  f.open();
  std::set<Digest> all, seen;
  for (int i = 0; i < 9; ++i) all.insert(f.add("blob " + std::to_string(i)));
  std::optional<Digest> after;
  for (auto rows = f.store->list({}, 3); !rows.empty(); rows = f.store->list(after, 3)) {
    for (const auto& row : rows) CHECK(seen.insert(row.digest).second);
    after = rows.back().digest;
    const auto removed = f.wait<Ok>([&](Done<Ok> done) { return f.store->remove(*after, std::move(done)); });
    CHECK(removed.ok());
  }
  CHECK(seen == all);
}

// Red if ~StoredFile() or open() does not ask the file: it would be sent up to the bad place for ever.
TEST_CASE("a read that sendfile could not do has the blob looked at, when it is let go or asked for again") {
  for (const bool asked_again : {false, true}) {
    StoreFixture f;
    f.open();
    const auto digest = f.add(random_text(100'000, 51));
    auto blob = f.wait<StoredBlobPtr>(
        [&](Done<StoredBlobPtr> done) { return f.store->open(digest, std::move(done)); });
    REQUIRE(blob.ok());
    f.files->bad_sectors = true;
    (*blob)->file()->note_read_error(EIO);
    if (asked_again) {
      CHECK(f.wait<StoredBlobPtr>([&](Done<StoredBlobPtr> done) {
               return f.store->open(digest, std::move(done));
             }).ok());
    } else {
      blob = StoredBlobPtr();
      for (int i = 0; i < 70; ++i)
        f.add(random_text(1000, 600 + i));  // of the files kept open it is the last
    }
    REQUIRE(f.run_until([&] { return f.count("layerd_quarantined_total") == 1; }));
    f.files->bad_sectors = false;
    blob = StoredBlobPtr();
    CHECK(f.content(digest) == "not_found");
  }
}

// Red if drop() forgets the rows of files that stay: the whole store would be forgotten one by one.
TEST_CASE("a disk that removes nothing costs no row") {
  StoreFixture f;
  f.settings.max_size = {1_MiB, -1};
  f.open();
  std::vector<Digest> digests;
  for (int i = 0; i < 4; ++i) digests.push_back(f.add(random_text(200'000, 60 + i)));
  f.files->keeps_files = true;
  const auto wanted = digest_of(DigestAlgorithm::sha256, "wanted");
  CHECK_FALSE(f.reserve(wanted, 500'000).ok());
  for (const auto& digest : digests) CHECK(f.store->known_size(digest) == ByteCount{200'000});
  CHECK(f.store->stats().evicted_bytes == 0);
  const auto removed =
      f.wait<Ok>([&](Done<Ok> done) { return f.store->remove(digests[0], std::move(done)); });
  CHECK_FALSE(removed.ok());
  CHECK(f.content(digests[0]) == random_text(200'000, 60));
}

// Red if a write whose record failed is hashed but not present: nobody could go on from the hash.
TEST_CASE("the hash front is never ahead of what is present, whatever part of a write fails") {
  for (int good = 0; good < 4; ++good) {
    StoreFixture f;
    f.open();
    const auto text = random_text(4 << 20, 70);
    const auto digest = digest_of(DigestAlgorithm::sha256, text);
    auto partial = f.begin(digest);
    partial->set_size(text.size());
    f.files->good_writes = good;
    ByteCount at = 0;
    while (f.write(*partial, at, ByteView(text).substr(at, 1_MiB)).ok()) at += 1_MiB;
    INFO(good << " good writes, failed at " << at);
    CHECK(partial->hashed_front() <= partial->present().run_end(0));
    f.files->good_writes = -1;
    CHECK(f.fill(partial, text).ok());
    CHECK(f.content(digest) == text);
  }
}

// Red, under AddressSanitizer, if a granted reservation calls into a store that is gone.
TEST_CASE("a store may be dropped at any moment while a small object is stored") {
  for (int turns = 0; turns < 14; ++turns) {
    StoreFixture f;
    f.open();
    const std::string text = "a manifest";
    auto ticket = f.store->put(digest_of(DigestAlgorithm::sha256, text), Bytes::copy_of(text), [](auto) {});
    for (int i = 0; i < turns; ++i) f.loop.run_once(1ms);
    f.crash();
    for (int i = 0; i < 3; ++i) f.loop.run_once(1ms);
  }
}

// Red if append() leaves the bytes of a failed append behind a shorter one.
TEST_CASE("what a failed append of the journal left never comes back") {
  TempDir folder;
  const auto files = std::make_shared<FaultyFiles>();
  auto journal = Journal::open(files, folder / "journal");
  REQUIRE(journal.ok());
  CHECK(replayed(**journal).empty());
  const IndexChange other{Table::pins, "pin", "1"}, old{Table::tags, "tag", "old"};
  files->loses_syncs = true;
  CHECK_FALSE((*journal)->append({other, old}).ok());
  files->loses_syncs = false;
  REQUIRE((*journal)->append({{Table::tags, "tag", "new"}}).ok());
  auto again = Journal::open(files, folder / "journal");
  const auto found = replayed(**again);
  REQUIRE(found.size() == 1);
  CHECK(found[0].value == std::optional<std::string>("new"));
}

// Red if compact() puts what a damaged index still has in the place of the whole journal.
TEST_CASE("a journal is not replaced by rows that could not all be read") {
  TempDir folder;
  const auto files = std::make_shared<FileOps>();
  auto journal = Journal::open(files, folder / "journal");
  REQUIRE(journal.ok());
  CHECK(replayed(**journal).empty());
  std::vector<IndexChange> changes(3000, {Table::tags, "tag", std::string(500, 'x')});
  REQUIRE((*journal)->append(changes).ok());
  CHECK_FALSE((*journal)->compact([](const Journal::Feed&) { return false; }).ok());
  CHECK_FALSE((*journal)->wants_compaction());  // not again with every batch
  REQUIRE((*journal)->append({{Table::pins, "pin", "1"}}).ok());
  auto again = Journal::open(files, folder / "journal");
  CHECK(replayed(**again).size() == 3001);
  auto index = IndexFile::open(folder.path(), 1_MiB);
  REQUIRE(index.ok());
  REQUIRE((*index)->write({{Table::tags, "a", std::string(50, 'y')}, {Table::tags, "b", "2"}}).ok());
  const auto all = [](ByteView, ByteView) { return true; };
  CHECK((*index)->scan(Table::tags, {}, all));
  index = Error{Errc::canceled, ""};
  auto text = *read_file(folder / "data.mdb");
  for (auto at = text.find(std::string(50, 'y')); at != std::string::npos;
       at = text.find(std::string(50, 'y')))
    text[at] = '?';
  overwrite(folder / "data.mdb", 0, text);
  index = IndexFile::open(folder.path(), 1_MiB);
  REQUIRE(index.ok());
  CHECK_FALSE((*index)->scan(Table::tags, {}, all));
}

// Red if the search for victims stops at, or restarts with, the rows that may not go.
TEST_CASE("behind thousands of pinned blobs the one that may go is found, a slice at a time") {
  TempDir folder;
  UvLoop loop;
  Metrics metrics;
  auto workers = std::make_unique<Workers>(loop, 1);
  auto journal = Journal::open(std::make_shared<FileOps>(), folder / "journal");
  REQUIRE(replayed(**journal).empty());
  auto index_file = IndexFile::open(folder.path(), 16_MiB);
  struct FakeHost final : Room::Host {
    bool is_busy(const Digest&, bool) override { return false; }
    void drop(std::vector<EvictionCandidate> victims, Callback<void(Result<Ok>)> then) override {
      for (const auto& victim : victims) {
        dropped.push_back(victim.digest);
        rows->remove(victim.digest);
      }
      then(Ok{});
    }
    BlobRows* rows = nullptr;
    std::vector<Digest> dropped;
  } host;
  {
    Index index(loop, *workers, metrics, *index_file, *journal);
    BlobRows rows(index);
    host.rows = &rows;
    StoreSettings settings;
    settings.path = folder.path();
    settings.max_size = {3500, -1};
    settings.min_free = {0, -1};
    Room room(loop, *workers, settings, rows, host);
    for (int i = 0; i < 3500; ++i)
      rows.put(digest_of(DigestAlgorithm::sha256, std::to_string(i)), {{1, 1, 1}, 1000 + i, i != 3400});
    std::optional<Result<Ok>> answer, refused;
    const auto wait = [&](std::optional<Result<Ok>>& for_it) {
      for (int i = 0; i < 60000 && !for_it; ++i) loop.run_once(1ms);
      return for_it.has_value();
    };
    const auto digest = digest_of(DigestAlgorithm::sha256, "new");
    auto one = room.reserve(digest, 1, [&](Result<Ok> got) { answer.emplace(std::move(got)); });
    REQUIRE(wait(answer));
    CHECK(answer->ok());
    REQUIRE(host.dropped.size() == 1);
    CHECK(host.dropped[0] == digest_of(DigestAlgorithm::sha256, "3400"));
    auto two = room.reserve(digest, 1, [&](Result<Ok> got) { refused.emplace(std::move(got)); });
    REQUIRE(wait(refused));
    CHECK(refused->error().code == Errc::no_space);
  }
  workers.reset();
  loop.close();
}

// Red without POSIX_FADV_DONTNEED after the read.
TEST_CASE("the scrub leaves the page cache as it was") {
  TempDir folder;
  FileOps files;
  auto file = File::open(folder / "cold", O_RDWR | O_CREAT);
  REQUIRE(file.ok());
  REQUIRE((*file)->write_at(0, random_text(1 << 20, 80)).ok());
  REQUIRE((*file)->sync(false).ok());
  REQUIRE(::posix_fadvise((*file)->fd(), 0, 0, POSIX_FADV_DONTNEED) == 0);
  if ((*file)->read_at_once(0, 256_KiB)) return;  // a file system that keeps everything in memory
  auto bytes = files.read_at_gently(**file, 0, 256_KiB);
  REQUIRE(bytes.ok());
  CHECK(bytes->view() == ByteView(random_text(1 << 20, 80)).substr(0, 256_KiB));
  CHECK_FALSE((*file)->read_at_once(0, 256_KiB).has_value());
  REQUIRE((*file)->read_at(0, 256_KiB).ok());
  REQUIRE(files.read_at_gently(**file, 0, 256_KiB).ok());
  CHECK((*file)->read_at_once(0, 256_KiB).has_value());  // what was in memory stays
}
