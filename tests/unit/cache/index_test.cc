// Index: rows read lately are kept in memory and never older than what was put.
#include "cache/index.h"

#include "cache/journal.h"
#include "tests/unit/cache/store_fixture.h"

using namespace layerd;
using namespace layerd::test;

// Red if change() leaves the row that was read before in memory.
TEST_CASE("a row that was read shows its next value at once and after it was written") {
  TempDir folder;
  UvLoop loop;
  Metrics metrics;
  auto workers = std::make_unique<Workers>(loop, 1);
  auto journal = Journal::open(std::make_shared<FileOps>(), folder / "journal");
  REQUIRE((*journal)->begin_replay({}).ok());
  REQUIRE((*journal)->replay_slice([](IndexChange) {}).ok());
  auto file = IndexFile::open(folder.path(), 16_MiB);
  REQUIRE(file.ok());
  {
    Index index(loop, *workers, metrics, *file, *journal);
    const auto write = [&] {
      std::optional<Result<Ok>> done;
      auto ticket = index.flush([&](Result<Ok> result) { done.emplace(std::move(result)); });
      for (int i = 0; i < 60000 && !done; ++i) loop.run_once(1ms);
      return done && done->ok();
    };
    for (const std::string value : {"first", "second", "third"}) {
      index.put(Table::meta, "row", value);
      CHECK(index.get(Table::meta, "row") == value);
      REQUIRE(write());
      CHECK(index.get(Table::meta, "row") == value);  // from the file
      CHECK(index.get(Table::meta, "row") == value);  // from memory
    }
    CHECK_FALSE(index.get(Table::links, "row").has_value());
    index.remove(Table::meta, "row");
    CHECK_FALSE(index.get(Table::meta, "row").has_value());
    REQUIRE(write());
    CHECK_FALSE(index.get(Table::meta, "row").has_value());

    for (int i = 0; i < 1000; ++i) index.put(Table::meta, "row " + std::to_string(i), std::to_string(i));
    REQUIRE(write());
    for (int round = 0; round < 2; ++round)
      for (int i = 0; i < 1000; ++i)
        REQUIRE(index.get(Table::meta, "row " + std::to_string(i)) == std::to_string(i));
  }
  workers.reset();
  loop.close();
}
