// What setup did to a node, kept so that it can be undone: one record for each runtime, with copies
// (0600) of the files as they were. The record is replaced in one step before the first file is
// touched and after the last, so that a setup killed in the middle is found and put back by the next
// (docs/setup.md). Blocks.
#pragma once

#include <string>
#include <vector>

#include "runtime/result.h"

namespace layerd::daemon::setup {

struct RecordedFile {
  std::string path;
  std::string copy;      // file name in the copies' folder; empty: there was no file
  unsigned mode = 0644;  // of the file that was there
  unsigned uid = 0, gid = 0;
  std::string before;  // digest of what was there; empty: there was no file
  std::string after;   // digest of what setup wrote; empty: it removed the file
  // false: somebody changed the file between two runs of setup; the copy is older than that change.
  bool exact = true;
};

struct Record {
  std::vector<RecordedFile> files;   // what stands since the runs that are done
  std::vector<RecordedFile> run;     // what the run under way may have written; not empty: it was broken off
  std::vector<std::string> folders;  // made by setup, the uppermost first
  std::string copied;                // what was copied into layerd's configuration, as YAML; holds secrets
  bool empty() const { return files.empty() && run.empty(); }
};

// Errors: local_io, denied; config: it is damaged, with its path.
Result<Record> load_record(const std::string& folder);
// An empty record removes the file. Errors: local_io, denied, no_space.
Result<Ok> save_record(const std::string& folder, const Record& record);

}  // namespace layerd::daemon::setup
