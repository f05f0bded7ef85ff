// Carries out changes of files so that all of them happen or none, whatever ends the process in
// between (record.h). Blocks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/setup/plan.h"
#include "daemon/setup/record.h"
#include "runtime/result.h"

namespace layerd::daemon::setup {

class Applier {
 public:
  // folder: of this runtime's record, real. `at_step` is called before each thing that touches the
  // disk (tests end the process there).
  explicit Applier(
      std::string folder, std::function<void()> at_step = [] {});
  ~Applier();
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  // Takes the lock and reads the record. may_make: false leaves the folder as it is, and an empty record
  // where there is none. Errors: overloaded (another setup runs), denied, local_io, config.
  Result<Ok> open(bool may_make = true);
  const Record& record() const { return record_; }
  bool was_broken_off() const { return !record_.run.empty(); }

  // Copies what will be changed and notes it. Errors: as write_whole; config: a file is not any more
  // what the plan was made from.
  Result<Ok> begin(const std::vector<FileChange>& changes);
  Result<Ok> write(const FileChange& change);
  // All of it stands. `copied`: as YAML.
  Result<Ok> commit(std::string copied);
  // Everything as it was before begin(). Errors: the first file that could not be put back; the rest is.
  Result<Ok> roll_back();

  // What gives the node back as it was before the first setup. `inverse` is asked for a file that
  // somebody changed since: its text without what setup added.
  // Errors: of `inverse`; nothing was touched.
  using Inverse =
      std::function<Result<std::optional<std::string>>(const std::string& path, const std::string& text)>;
  Result<std::vector<FileChange>> undo_changes(const Inverse& inverse) const;
  // The undo is done: record, copies and folders that are empty go.
  Result<Ok> forget();

 private:
  Result<Ok> put_back(const RecordedFile& file);
  Result<std::string> save_copy(const std::string& path, const std::string& text);
  void remove_folders();

  const std::string folder_;
  std::function<void()> at_step_;
  int lock_ = -1;
  Record record_;
};

}  // namespace layerd::daemon::setup
