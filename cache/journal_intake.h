// JournalIntake: takes what the journal holds beyond the index into it, a slice at a time, each in one
// transaction with its place in the journal: whoever is stopped in between goes on from there.
// At start on the loop thread, later on a worker, one step at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cache/index_file.h"
#include "cache/journal.h"

namespace layerd::cache {

class JournalIntake {
 public:
  // is_rebuild: noted in the first transaction, so that a rebuild which a crash cut off is gone on with.
  JournalIntake(std::shared_ptr<IndexFile> index, std::shared_ptr<Journal> journal, bool is_rebuild);
  Result<Ok> begin();
  // True: that was the last slice. After an error it may be called again, nothing is lost.
  // Errors: overloaded: the index is full, grow() it; no_space, local_io.
  Result<bool> step();

 private:
  Result<Ok> read_slice();

  std::shared_ptr<IndexFile> index_;
  std::shared_ptr<Journal> journal_;
  bool is_rebuild_;                   // not yet noted
  bool is_last_ = false;              // the slice in `changes_`
  std::string noted_;                 // the place the index knows
  std::vector<IndexChange> changes_;  // read, not yet written
};

}  // namespace layerd::cache
