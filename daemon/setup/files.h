// The node's files for setup: read below --root, written so that nobody ever sees half a file. Blocks.
#pragma once

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

// The text of a real file; nothing if there is none. Errors: local_io, denied.
Result<std::optional<std::string>> read_if_there(const std::string& path);

// Beside the file, flushed, renamed over it; a link is followed and stays. An old file keeps mode and
// owner. `owner` and `mode` are of a new one. Errors: local_io, denied, no_space.
Result<Ok> write_whole(const std::string& path, const std::string& text, mode_t mode,
                       std::optional<std::pair<uid_t, gid_t>> owner);
// Errors: as above. A file that is gone already is no error.
Result<Ok> remove_whole(const std::string& path);
// Makes the folders above `path`; answers those that were not there, the uppermost first.
Result<std::vector<std::string>> make_folders_for(const std::string& path, mode_t mode);
// Those that would have to be made.
std::vector<std::string> missing_folders(const std::string& path);

}  // namespace layerd::daemon::setup
