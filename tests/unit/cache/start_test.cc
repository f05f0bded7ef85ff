// The start of a store that was cut off: it takes a bounded time, however much there is, and what is left to
// do is done beside the serving.
#include "cache/journal_intake.h"
#include "tests/unit/cache/store_fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

constexpr int kTags = 300;  // with kilobytes each: a journal of two slices
const RepositoryKey kRepository = "docker.io/library/alpine";

void put_tag(Catalog& catalog, int number, std::int64_t checked_at) {
  catalog.put_tag(kRepository, std::to_string(number),
                  {digest_of(DigestAlgorithm::sha256, "m"), std::string(10'000, 'x'), 8, checked_at});
}

std::int64_t checked_at(const Catalog& catalog, int number) {
  const auto tag = catalog.tag(kRepository, std::to_string(number));
  return tag ? tag->checked_at : 0;
}

std::string blob_text(int number) { return "blob " + std::to_string(number); }

}  // namespace

// Red if the walk over the index goes on for as long as it likes.
TEST_CASE("an index that cannot be looked through in time is made anew beside the serving") {
  StoreFixture f;
  f.open();
  put_tag(f.store->catalog(), 1, 77);
  const auto digest = f.add("kept");
  f.flush();
  f.crash();
  f.settings.start_check = Duration::zero();
  f.open();
  CHECK(f.count("layerd_cache_index_rebuilds_total") == 1);
  CHECK(checked_at(f.store->catalog(), 1) == 77);
  // Before its folder was listed: a whole image must be there from the first request on. Red without the
  // stat in known_size().
  CHECK(f.store->known_size(digest) == ByteCount{4});
  CHECK_FALSE(f.store->known_size(digest_of(DigestAlgorithm::sha256, "never kept")));
  CHECK(f.content(digest) == "kept");
  REQUIRE(f.run_until([&] { return !f.store->is_rebuilding(); }));
  CHECK(f.store->stats().blobs == 1);
}

// Red if the place in the journal is kept at the end of the replay only.
TEST_CASE("a start that was cut off within the journal goes on where it stopped") {
  TempDir folder;
  const auto files = std::make_shared<FileOps>();
  auto index = IndexFile::open(folder.path(), 64_MiB);
  REQUIRE(index.ok());
  auto journal = Journal::open(files, folder / "journal");
  REQUIRE(JournalIntake(*index, *journal, false).begin().ok());
  REQUIRE((*journal)->replay_slice([](IndexChange) {}).ok());
  std::vector<IndexChange> changes;
  for (int i = 0; i < kTags; ++i)
    changes.push_back({Table::tags, std::to_string(i), std::string(10'000, 'x')});
  REQUIRE((*journal)->append(changes).ok());

  auto begun = Journal::open(files, folder / "journal");
  JournalIntake cut_off(*index, *begun, true);
  REQUIRE(cut_off.begin().ok());
  auto last = cut_off.step();
  REQUIRE(last.ok());
  REQUIRE_FALSE(*last);
  const auto place = (*begun)->place();
  CHECK(place.end > 1_MiB);
  CHECK((*index)->get(Table::meta, "rebuild").has_value());

  auto again = Journal::open(files, folder / "journal");
  JournalIntake intake(*index, *again, false);
  REQUIRE(intake.begin().ok());
  CHECK((*again)->place().end == place.end);
  do last = intake.step();
  while (last && !*last);
  REQUIRE(last.ok());
  for (int i = 0; i < kTags; ++i) REQUIRE((*index)->get(Table::tags, std::to_string(i)).has_value());
  CHECK((*again)->place().end == (*journal)->place().end);
}

// Red if the whole journal is waited for; if older records overtake newer ones; if pinned blobs may go
// before their pins are known.
TEST_CASE("a long journal is taken in beside the serving, and nothing older than its end is told before") {
  StoreFixture f;
  f.open();
  for (int i = 0; i < kTags; ++i) put_tag(f.store->catalog(), i, 77);
  const auto digest = f.add("pinned");
  REQUIRE(f.wait<Ok>([&](Done<Ok> done) { return f.store->pin(digest, true, std::move(done)); }).ok());
  put_tag(f.store->catalog(), 1, 88);
  f.close();
  std::filesystem::remove_all(Layout(f.settings.path).index_folder());

  f.settings.start_replay = Duration::zero();
  f.files->journal_reads = 2;  // the head and one slice
  f.open();
  CHECK(f.store->is_rebuilding());
  auto& catalog = f.store->catalog();
  CHECK(checked_at(catalog, 0) == 0);
  CHECK(checked_at(catalog, 1) == 0);
  put_tag(catalog, 2, 99);
  CHECK(checked_at(catalog, 2) == 99);
  int tags = 0;
  catalog.each_tag([&](const RepositoryKey&, std::string_view, const TagRecord&) { return ++tags > 0; });
  CHECK(tags == 1);
  CHECK(f.content(digest) == "pinned");
  f.store->set_limits({1, -1}, {0, -1});
  CHECK(f.wait<ByteCount>([&](Done<ByteCount> done) { return f.store->gc(std::move(done)); }).ok());
  CHECK(f.store->stats().blobs == 1);

  f.files->journal_reads = -1;
  REQUIRE(f.run_until([&] { return !f.store->is_rebuilding(); }));
  CHECK(checked_at(catalog, 0) == 77);
  CHECK(checked_at(catalog, 1) == 88);
  CHECK(checked_at(catalog, 2) == 99);
  CHECK(f.wait<ByteCount>([&](Done<ByteCount> done) { return f.store->gc(std::move(done)); }).ok());
  REQUIRE(f.store->stats().blobs == 1);
  CHECK(f.store->list(std::nullopt, 1).at(0).pinned);
  f.close();
  f.open();
  CHECK(checked_at(f.store->catalog(), 2) == 99);
  CHECK(checked_at(f.store->catalog(), kTags - 1) == 77);
}

// Red if only a new index has the folders listed: the file would never be counted and never go.
TEST_CASE("a blob whose row was lost with the process is counted again and may be evicted") {
  StoreFixture f;
  f.open();
  f.add(blob_text(1));
  f.flush();
  f.crash();
  const auto text = random_text(100'000, 90);
  const auto digest = digest_of(DigestAlgorithm::sha256, text);
  std::filesystem::create_directories(Layout(f.settings.path).blob_folder(digest));
  std::ofstream(f.blob_path(digest), std::ios::binary) << text;
  f.open();
  REQUIRE(f.run_until([&] { return !f.store->is_rebuilding(); }));
  CHECK(f.count("layerd_cache_index_rebuilds_total") == 0);
  CHECK(f.store->stats().blobs == 2);
  CHECK(f.store->stats().bytes == text.size() + blob_text(1).size());
  CHECK(f.store->list(std::nullopt, 10).size() == 2);
  f.store->set_limits({1000, -1}, {0, -1});
  CHECK(f.wait<ByteCount>([&](Done<ByteCount> done) { return f.store->gc(std::move(done)); }).ok());
  CHECK_FALSE(std::filesystem::exists(f.blob_path(digest)));
  CHECK(f.store->stats().blobs == 1);
}
