// Opening a store's folder: lock, format, index, journal (docs/formats.md). Blocks; before the loop
// runs. The time it takes does not grow with what is stored: after an unclean end a child process walks
// the index first, for StoreSettings::start_check, and what of the journal is not taken in within
// StoreSettings::start_replay is left to the running store.
#pragma once

#include <memory>
#include <string>

#include "cache/index_file.h"
#include "cache/journal_intake.h"
#include "cache/layout.h"
#include "cache/store_settings.h"

namespace layerd::cache {

struct StartedStore {
  FilePtr lock;
  std::shared_ptr<IndexFile> index;
  std::shared_ptr<Journal> journal;
  std::shared_ptr<JournalIntake> rest;  // what of the journal is still to be taken in; null: nothing
  bool is_rebuild = false;              // the index is new though the store is not: blobs are found by name
  bool was_unclean = false;  // the last process was cut off: files may be without a row, rows without a file
};

// Errors: overloaded: another process holds the store; local_io, no_space.
Result<StartedStore> start_store(const StoreSettings& settings);

// The very last step of a clean end: the next start need not walk the index.
Result<Ok> mark_clean(FileOps& files, const Layout& layout);

}  // namespace layerd::cache
