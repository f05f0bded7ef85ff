// What of the cache is pure, or needs nothing but files: records, ranges, eviction, journal, index.
#include <fmt/core.h>

#include <filesystem>
#include <fstream>

#include "cache/eviction.h"
#include "cache/index_file.h"
#include "cache/journal.h"
#include "cache/range_record.h"
#include "cache/record.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::cache;

namespace {

Digest digest_number(int number) { return digest_of(DigestAlgorithm::sha256, std::to_string(number)); }

std::vector<IndexChange> replayed(Journal& journal, JournalPlace from = {}) {
  std::vector<IndexChange> found;
  REQUIRE(journal.begin_replay(from).ok());
  Result<bool> is_last = false;
  while (is_last && !*is_last)
    is_last = journal.replay_slice([&](IndexChange change) { found.push_back(std::move(change)); });
  REQUIRE(is_last.ok());
  return found;
}

}  // namespace

TEST_CASE("a damaged record is skipped and the whole ones around it are found") {
  std::string bytes;
  append_record(bytes, "one");
  const auto second = bytes.size();
  append_record(bytes, "two");
  append_record(bytes, "three");
  const auto whole = bytes.size();
  bytes[second + 13] ^= 1;
  bytes += "LyR1 torn";
  RecordReader reader(bytes);
  CHECK(reader.next() == ByteView("one"));
  CHECK(reader.next() == ByteView("three"));
  CHECK_FALSE(reader.next().has_value());
  CHECK(reader.valid_end() == whole);
  CHECK(reader.skipped() == 15);
}

TEST_CASE("under the same boot every recorded range counts, under another only the synced ones") {
  std::string record = boot_entry("a") + size_entry(100) + ranges_entry({{0, 10}});
  record += synced_entry(record.size());
  record += ranges_entry({{20, 30}});
  const auto same = read_range_record(record, "a");
  CHECK(same.present.ranges() == std::vector<ByteRange>{{0, 10}, {20, 30}});
  CHECK(same.size == ByteCount{100});
  CHECK_FALSE(same.needs_boot);
  const auto other = read_range_record(record, "b");
  CHECK(other.present.ranges() == std::vector<ByteRange>{{0, 10}});
  CHECK(other.needs_boot);
  // What an earlier boot left unsynced stays untrusted after a later sync.
  record += boot_entry("b") + ranges_entry({{40, 50}});
  record += synced_entry(record.size());
  CHECK(read_range_record(record, "b").present.ranges() == std::vector<ByteRange>{{0, 10}, {40, 50}});
  CHECK(read_range_record(record, "c").present.ranges() == std::vector<ByteRange>{{0, 10}, {40, 50}});
}

TEST_CASE("the oldest class of last use goes first and the larger of one class before the smaller") {
  const std::int64_t now = 1'000'000'000, hour = 3600;
  const std::vector<EvictionCandidate> candidates = {{digest_number(1), 50, now - 10, false},
                                                     {digest_number(2), 10, now - 100 * hour, false},
                                                     {digest_number(3), 40, now - 90 * hour, false},
                                                     {digest_number(4), 90, now - 3 * hour, false}};
  auto victims = choose_victims(candidates, 45, now);
  REQUIRE(victims.size() == 2);
  CHECK(victims[0].digest == digest_number(3));
  CHECK(victims[1].digest == digest_number(2));
  CHECK(choose_victims(candidates, 1000, now).size() == 4);
  CHECK(choose_victims(candidates, 0, now).empty());
  CHECK(age_class(now - 10, now) == 0);
  CHECK(age_class(now + 500, now) == 0);  // the wall clock was set back
}

TEST_CASE("a journal with a torn tail or a damaged middle gives back every whole record") {
  test::TempDir folder;
  const auto files = std::make_shared<FileOps>();
  const auto path = folder / "journal";
  {
    auto journal = Journal::open(files, path);
    REQUIRE(journal.ok());
    CHECK(replayed(**journal).empty());
    REQUIRE((*journal)->append({{Table::tags, "a", "1"}, {Table::blobs, "not journaled", "x"}}).ok());
    REQUIRE((*journal)->append({{Table::tags, "b", std::string(300, 'v')}}).ok());
    REQUIRE((*journal)->append({{Table::tags, "a", std::nullopt}, {Table::grants, "g", "2"}}).ok());
  }
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(120);
    file.write("????", 4);
  }
  auto journal = Journal::open(files, path);
  REQUIRE(journal.ok());
  const auto found = replayed(**journal);
  REQUIRE(found.size() == 2);
  CHECK(found[0].key == "a");
  CHECK(found[0].value == std::optional<std::string>("1"));
  CHECK_FALSE(found[1].value.has_value());
  CHECK((*journal)->damaged_bytes() > 0);
  // It goes on behind the last whole record.
  REQUIRE((*journal)->append({{Table::pins, "p", ""}}).ok());
  auto again = Journal::open(files, path);
  CHECK(replayed(**again).back().key == "p");
  CHECK(replayed(**again, (*again)->place()).empty());
}

TEST_CASE("a journal is compacted to what is live and read whole by an index of before") {
  test::TempDir folder;
  const auto files = std::make_shared<FileOps>();
  auto journal = Journal::open(files, folder / "journal");
  REQUIRE(journal.ok());
  CHECK(replayed(**journal).empty());
  const auto before = (*journal)->place();
  std::vector<IndexChange> changes;
  for (int i = 0; i < 3000; ++i) changes.push_back({Table::tags, "the same", std::string(500, 'x')});
  REQUIRE((*journal)->append(changes).ok());
  CHECK((*journal)->wants_compaction());
  REQUIRE((*journal)
              ->compact([](const Journal::Feed& feed) {
                feed(Table::tags, "the same", "last");
                return true;
              })
              .ok());
  CHECK_FALSE((*journal)->wants_compaction());
  CHECK(std::filesystem::file_size(folder / "journal") < 200);
  auto again = Journal::open(files, folder / "journal");
  const auto found = replayed(**again, before);
  REQUIRE(found.size() == 1);
  CHECK(found[0].value == std::optional<std::string>("last"));
}

TEST_CASE("an index that is full grows and loses nothing") {
  test::TempDir folder;
  auto index = IndexFile::open(folder.path(), 256_KiB);
  REQUIRE(index.ok());
  int grown = 0;
  for (int i = 0; i < 200; ++i) {
    const std::vector<IndexChange> batch = {
        {Table::meta, fmt::format("key {:04}", i), std::string(3000, 'v')}};
    auto written = (*index)->write(batch);
    while (!written && written.error().code == Errc::overloaded) {
      REQUIRE((*index)->grow().ok());
      ++grown;
      written = (*index)->write(batch);
    }
    REQUIRE(written.ok());
  }
  CHECK(grown > 0);
  int rows = 0;
  (*index)->scan(Table::meta, {}, [&](ByteView, ByteView) { return ++rows > 0; });
  CHECK(rows == 200);
  CHECK(index_is_sound(folder.path(), std::chrono::seconds(10)) == std::optional<bool>(true));
}
