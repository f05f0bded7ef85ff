#include "cache/store_start.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "cache/record.h"
#include "runtime/log.h"

namespace layerd::cache {
namespace {

constexpr ByteView kFormat = "layerd store 1\n";

Result<FilePtr> take_lock(FileOps& files, const Layout& layout) {
  auto lock = files.open(layout.lock(), O_RDWR | O_CREAT);
  if (!lock) return lock;
  if (::flock((*lock)->fd(), LOCK_EX | LOCK_NB) == 0) {
    const auto text = fmt::format("{}\n", ::getpid());
    if (auto cut = files.truncate(**lock, 0); cut) static_cast<void>(files.write_at(**lock, 0, text));
    return lock;
  }
  auto holder = (*lock)->read_at(0, 32);
  const auto pid = holder ? printable(holder->view().substr(0, holder->view().find('\n'))) : std::string("?");
  return Error{Errc::overloaded,
               fmt::format("the cache in {} is in use by process {}; stop it, or give this one "
                           "another cache.path",
                           layout.root(), pid)};
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Another format: everything goes into a folder of its own, named in the log, and we begin afresh.
Result<Ok> set_aside_store(FileOps& files, const Layout& layout, const std::string& format) {
  std::string folder;
  for (int number = 1; folder.empty() || exists(folder); ++number)
    folder = fmt::format("{}/set-aside-{}", layout.root(), number);
  if (auto made = files.make_folder(folder); !made) return made;
  for (const char* name :
       {"blobs", "partial", "quarantine", "index", "index.bad", "journal", "clean", "format"}) {
    const auto from = layout.root() + "/" + name;
    if (!exists(from)) continue;
    if (auto moved = files.rename(from, folder + "/" + name); !moved) return moved;
  }
  LogLine(LogLevel::warn, "cache_set_aside")
      .field("format", printable(format, 40))
      .field("folder", folder)
      .field("remedy", "this version cannot read it; remove the folder when it is no longer needed");
  return Ok{};
}

// True: a store of ours was here before.
Result<bool> check_format(FileOps& files, const Layout& layout) {
  const bool there = exists(layout.format());
  const bool has_blobs = exists(layout.root() + "/blobs");
  if (there || has_blobs) {
    auto text = read_file(layout.format(), 256);
    const std::string format = text ? *text : std::string("unreadable");
    if (format == kFormat) return true;
    if (auto aside = set_aside_store(files, layout, format); !aside) return std::move(aside).error();
  }
  if (auto written = replace_file(layout.format(), kFormat); !written) return std::move(written).error();
  return false;
}

std::string clean_text(const FileFacts& facts) {
  std::string text, record;
  put_u64(text, facts.size);
  put_u64(text, static_cast<std::uint64_t>(facts.mtime_ns));
  put_u64(text, facts.inode);
  append_record(record, text);
  return record;
}

bool ended_cleanly(FileOps& files, const Layout& layout) {
  auto text = read_file(layout.clean(), 256);
  auto facts = files.facts(layout.index_folder() + "/data.mdb");
  return text && facts && *text == clean_text(*facts);
}

void set_aside_index(FileOps& files, const Layout& layout, const char* reason) {
  std::error_code ignored;
  std::filesystem::remove_all(layout.set_aside_index(), ignored);
  if (auto moved = files.rename(layout.index_folder(), layout.set_aside_index()); !moved)
    std::filesystem::remove_all(layout.index_folder(), ignored);
  LogLine(LogLevel::warn, "cache_index_set_aside")
      .field("reason", reason)
      .field("folder", layout.set_aside_index())
      .field("remedy", "none needed, it is rebuilt from the files and the journal");
}

Result<std::shared_ptr<IndexFile>> open_index(const StoreSettings& settings, const Layout& layout,
                                              bool was_unclean, bool& is_rebuild) {
  auto& files = *settings.files;
  const bool there = exists(layout.index_folder() + "/data.mdb");
  is_rebuild = !there;
  if (there && was_unclean) {
    const auto is_sound = index_is_sound(layout.index_folder(), settings.start_check);
    is_rebuild = !is_sound.value_or(false);
    if (is_rebuild)
      set_aside_index(files, layout, is_sound ? "it is damaged" : "to look through it takes too long");
  }
  if (auto made = files.make_folder(layout.index_folder()); !made) return std::move(made).error();
  auto index = IndexFile::open(layout.index_folder(), settings.index_map_bytes);
  if (index || is_rebuild) return index;
  set_aside_index(files, layout, index.error().message.c_str());
  is_rebuild = true;
  if (auto made = files.make_folder(layout.index_folder()); !made) return std::move(made).error();
  return IndexFile::open(layout.index_folder(), settings.index_map_bytes);
}

// True: the whole journal is in the index.
Result<bool> take_in_journal(JournalIntake& intake, IndexFile& index, Duration most) {
  const auto end = std::chrono::steady_clock::now() + most;
  if (auto begun = intake.begin(); !begun) return std::move(begun).error();
  Result<bool> last = false;
  do {
    last = intake.step();
    for (int tries = 0; !last && last.error().code == Errc::overloaded && tries < 8; ++tries) {
      if (auto grown = index.grow(); !grown) return std::move(grown).error();
      last = intake.step();
    }
  } while (last && !*last && std::chrono::steady_clock::now() < end);
  return last;
}

}  // namespace

Result<StartedStore> start_store(const StoreSettings& settings) {
  const Layout layout(settings.path);
  auto& files = *settings.files;
  if (auto made = files.make_folder(layout.root()); !made) return std::move(made).error();
  StartedStore started;
  auto lock = take_lock(files, layout);
  if (!lock) return std::move(lock).error();
  started.lock = *lock;
  auto known = check_format(files, layout);
  if (!known) return std::move(known).error();
  for (const auto& folder : {layout.root() + "/blobs", layout.partial_folder(), layout.quarantine_folder()})
    if (auto made = files.make_folder(folder); !made) return std::move(made).error();
  started.was_unclean = !ended_cleanly(files, layout);
  auto index = open_index(settings, layout, started.was_unclean, started.is_rebuild);
  if (!index) return std::move(index).error();
  started.index = *index;
  // An index without a place in the journal was never begun to the end.
  if (!started.index->get(Table::meta, "journal")) started.is_rebuild = true;
  started.is_rebuild = started.is_rebuild && *known;
  started.was_unclean = started.was_unclean && *known;
  auto journal = Journal::open(settings.files, layout.journal());
  if (!journal) return std::move(journal).error();
  started.journal = *journal;
  started.rest = std::make_shared<JournalIntake>(started.index, started.journal, started.is_rebuild);
  auto is_whole = take_in_journal(*started.rest, *started.index, settings.start_replay);
  if (!is_whole) return std::move(is_whole).error();
  if (*is_whole) started.rest = nullptr;
  if (auto removed = files.remove(layout.clean()); !removed) return std::move(removed).error();
  if (auto synced = files.sync_folder(layout.root()); !synced) return std::move(synced).error();
  return started;
}

Result<Ok> mark_clean(FileOps& files, const Layout& layout) {
  auto facts = files.facts(layout.index_folder() + "/data.mdb");
  if (!facts) return std::move(facts).error();
  return replace_file(layout.clean(), clean_text(*facts));
}

}  // namespace layerd::cache
