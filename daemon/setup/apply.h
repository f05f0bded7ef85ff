// Carries out changes of files so that all of them happen or none, whatever ends the process in
// between (record.h). Who uses it holds the NodeLock. Blocks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/setup/plan.h"
#include "daemon/setup/record.h"
#include "runtime/result.h"

namespace layerd::daemon::setup {

// A file's text without what setup added; nothing: the file goes. Errors: config: it takes a person.
using Inverse =
    std::function<Result<std::optional<std::string>>(const std::string& path, const std::string& text)>;

// How roll_back() ended, a sentence each.
struct WayBack {
  std::vector<std::string> remarks;   // files of which somebody else's changes stay
  std::vector<std::string> problems;  // files that could not be put back; they stay in Record::run
  bool is_whole() const { return problems.empty(); }
};

class Applier {
 public:
  // folder: of this runtime's record, real. `at_step` is called before each thing that touches the
  // disk (tests end the process there).
  explicit Applier(
      std::string folder, std::function<void()> at_step = [] {});
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  // Reads the record. may_write: takes away what a setup left that was killed before it touched a file.
  // Errors: denied, local_io, config.
  Result<Ok> open(bool may_write);
  const Record& record() const { return record_; }
  // By a kill, or because something could not be put back.
  bool was_broken_off() const { return !record_.run.empty(); }
  std::string copy_path(const RecordedFile& file) const { return folder_ + "/copies/" + file.copy; }

  // Copies what will be changed and notes it. Errors: as write_whole; config: a file is not any more
  // what the plan was made from. Nothing is left behind then.
  Result<Ok> begin(const std::vector<FileChange>& changes);
  // Errors: as write_whole; local_io: somebody else changed the file since begin(); it stays so.
  Result<Ok> write(const FileChange& change);
  // All of it stands. `copied`: as YAML; `uses`: Record::uses.
  Result<Ok> commit(std::string copied, const std::vector<std::string>& uses);
  // Everything as it was before begin(). A file that somebody changed since keeps their changes: `inverse`
  // takes out what setup added. What cannot be put back stays recorded, so that it can be tried again.
  WayBack roll_back(const Inverse& inverse);
  // Gives up on what could not be put back. Errors: as write_whole.
  Result<Ok> keep_as_it_is();

  // What gives the node back as it was before the first setup; `stays` names files that another runtime
  // goes by. Errors: of `inverse`; nothing was touched.
  Result<std::vector<FileChange>> undo_changes(
      const Inverse& inverse, const std::function<bool(const std::string& path)>& stays) const;
  // Takes over what `other` knows of these files: its undo left them, since this runtime goes by them.
  // May be done twice. Errors: as write_whole.
  Result<Ok> inherit(const Applier& other, const std::vector<std::string>& paths);
  // The undo is done: record, copies and folders that are empty go.
  Result<Ok> forget();

 private:
  Result<RecordedFile> look_at(const FileChange& change) const;
  Result<Ok> save_copy(const std::string& name, const std::string& text);
  std::string free_copy_name(const std::string& path, const std::vector<std::string>& taken) const;
  Result<std::optional<std::string>> copy_of(const RecordedFile& file) const;
  Result<Ok> put_back(const RecordedFile& file, const Inverse& inverse, WayBack& way);
  Result<Ok> give(const RecordedFile& file, const std::optional<std::string>& now,
                  const std::optional<std::string>& wanted);
  // What inherit() makes of the record: while it copies, and after.
  struct Heritage {
    Record next, copying;
    std::vector<std::pair<std::string, std::string>> copies;  // name here, text
  };
  Result<Ok> inherit_file(const Applier& other, const RecordedFile& given, Heritage& heritage) const;
  // Takes away the copies and folders that nobody needs any more.
  void tidy();

  const std::string folder_;
  std::function<void()> at_step_;
  Record record_;
};

// The digest that records hold; empty for a file that is not there.
std::string digest_text(const std::optional<std::string>& text);
// Those that are empty, the deepest first. A folder that holds something by now stays.
void remove_folders(std::vector<std::string> folders);

}  // namespace layerd::daemon::setup
