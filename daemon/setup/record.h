// What setup did to a node, kept so that it can be undone: one record for each runtime, with copies
// (0600) of the files as they were. The record is replaced in one step before the first file is
// touched and after the last, so that a setup killed in the middle is found and put back by the next
// (docs/setup.md). It names whatever setup makes before it is made, so that nothing is left behind and
// nothing of others is taken away. Blocks.
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
  std::string before;     // digest of what was there; empty: there was no file
  std::string after;      // digest of what setup wrote; empty: it removed the file
  std::string temporary;  // of the run under way: where the new text is written before it is renamed
  // false: somebody changed the file between two runs of setup; the copy is older than that change.
  bool exact = true;
};

struct Record {
  std::vector<RecordedFile> files;  // what stands since the runs that are done
  std::vector<RecordedFile> run;  // what a run may have written that was broken off or could not be put back
  std::vector<std::string> folders;      // made by setup, sorted
  std::vector<std::string> run_folders;  // those of the run under way
  std::vector<std::string> uses;   // files the runtime goes by; another runtime's setup may have written them
  std::vector<std::string> stale;  // copies that nobody needs: not made yet, or about to be removed
  std::string copied;              // what was copied into layerd's configuration, as YAML; holds secrets
  // Nothing stands and nothing was broken off: copies and folders that it still names are to go.
  bool is_over() const { return files.empty() && run.empty(); }
  bool empty() const {
    return is_over() && folders.empty() && uses.empty() && stale.empty() && copied.empty();
  }
  bool goes_by(const std::string& path) const;
};

RecordedFile* find_file(std::vector<RecordedFile>& files, const std::string& path);
const RecordedFile* find_file(const std::vector<RecordedFile>& files, const std::string& path);

// Errors: local_io, denied; config: it is damaged, with its path.
Result<Record> load_record(const std::string& folder);
// An empty record removes the file. Errors: local_io, denied, no_space.
Result<Ok> save_record(const std::string& folder, const Record& record);

}  // namespace layerd::daemon::setup
