// Opening a store's folder: lock, format, index, journal (docs/formats.md). Blocks; before the loop
// runs. The time it takes does not grow with the number of blobs unless the last end was unclean:
// then a child process walks the index first.
#pragma once

#include <memory>
#include <string>

#include "cache/index_file.h"
#include "cache/journal.h"
#include "cache/layout.h"
#include "cache/store_settings.h"

namespace layerd::cache {

struct StartedStore {
  FilePtr lock;
  std::shared_ptr<IndexFile> index;
  std::shared_ptr<Journal> journal;
  bool is_rebuild = false;  // the index is new though the store is not: blobs are found by name
};

// Errors: overloaded: another process holds the store; local_io, no_space.
Result<StartedStore> start_store(const StoreSettings& settings);

// The very last step of a clean end: the next start need not walk the index.
Result<Ok> mark_clean(FileOps& files, const Layout& layout);

}  // namespace layerd::cache
