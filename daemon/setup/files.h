// The node's files for setup: read below --root, written so that nobody ever sees half a file. Blocks.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "daemon/setup/plan.h"
#include "runtime/result.h"

namespace layerd::daemon::setup {

class RootFiles final : public FileSource {
 public:
  // root: "" or an absolute folder, which stands for / of the node.
  explicit RootFiles(std::string root);
  std::optional<std::string> read(const std::string& path) override;
  bool exists(const std::string& path) override;
  std::vector<std::string> list(const std::string& folder) override;
  std::string real(const std::string& path) const override;
  std::string usual(const std::string& path) const override;
  const std::string& root() const { return root_; }
  // Files that are there and could not be read, a sentence each.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  std::string root_;
  std::vector<std::string> problems_;
};

// The text of a real file; nothing if there is none. Errors: local_io (no plain file among others), denied.
Result<std::optional<std::string>> read_if_there(const std::string& path);

// May setup write to `path`? A link that leads nowhere would be replaced by a file; one that leads out of
// `root` would change the machine that setup runs on instead of the node; a file that is layerd's own is no
// link at all. Errors: config.
Result<Ok> check_place(const std::string& path, const std::string& root, bool is_layerds_own);

// How a file is written whole. Owner and mode are those of a new file; an old one keeps its own.
struct Writing {
  mode_t mode = 0644;
  std::optional<std::pair<uid_t, gid_t>> owner = {};
  std::string temporary;  // in the folder of the file; what is there is taken away
  // Asked when all is written and only the rename is left. Its error ends the writing.
  std::function<Result<Ok>()> before_rename = [] { return Result<Ok>(Ok{}); };
};
// Into `temporary`, flushed, renamed over the file; a link is followed and stays.
// Errors: local_io, denied, no_space; of before_rename.
Result<Ok> write_whole(const std::string& path, const std::string& text, const Writing& how);
// A new file. Errors: as above; it is there already.
Result<Ok> write_new(const std::string& path, const std::string& text, mode_t mode);
// A name for `temporary` that no other program has: beside what `path` leads to.
std::string temporary_for(const std::string& path);
std::string folder_above(const std::string& path);
// Errors: as above. A file that is gone already is no error.
Result<Ok> remove_whole(const std::string& path);
// Makes the folders above `path`; answers those that were not there, the uppermost first.
Result<std::vector<std::string>> make_folders_for(const std::string& path, mode_t mode);
// Those that would have to be made.
std::vector<std::string> missing_folders(const std::string& path);

}  // namespace layerd::daemon::setup
