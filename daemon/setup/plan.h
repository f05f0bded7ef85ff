// What `layerd setup` would do to a node, as values: files found go in, files changed come out. The
// planners (containerd.h, k3s.h, containers.h, docker.h) are pure: they read through FileSource and
// write nothing, so that every case is tested with texts alone.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/setup/copied.h"

namespace layerd::daemon::setup {

// The files of a node by their usual paths ("/etc/containerd/config.toml"), wherever they really are.
class FileSource {
 public:
  virtual ~FileSource() = default;
  // The whole text; nothing if there is no such file. One that is there and cannot be read is
  // reported by the source itself (RootFiles::problems).
  virtual std::optional<std::string> read(const std::string& path) = 0;
  // Is there a file or a folder? What is in it is not looked at. Also true of what may not be looked for.
  virtual bool exists(const std::string& path) = 0;
  // Names in a folder, sorted; empty if there is none.
  virtual std::vector<std::string> list(const std::string& folder) = 0;
  // Where `path` really is: below --root.
  virtual std::string real(const std::string& path) const = 0;
  // The usual path of a real one; others as they are.
  virtual std::string usual(const std::string& path) const = 0;
};

// One file as it shall be. Nothing in `after`: it shall not be there.
struct FileChange {
  std::string path;  // real
  std::optional<std::string> before, after;
  mode_t mode = 0644;                                 // of a new file; an old one keeps owner and mode
  bool for_daemon = false;                            // a new file belongs to the user the daemon runs as
  std::optional<std::pair<uid_t, gid_t>> owner = {};  // of a new file; none: who runs setup
  mode_t folder_mode = 0755;                          // of folders made for it
  std::string what;                                   // one line for people
};

struct Input {
  std::string url = "http://127.0.0.1:5151";  // where the runtime finds layerd
  bool keep_fallback = true;                  // the upstream stays behind layerd
  std::vector<std::string> image_hosts;       // registries of images on the node
  // Registries that an alias renames wholly: without layerd somebody else would answer for the name.
  std::vector<std::string> closed_hosts;
  // Registries of which an alias renames some repositories only.
  std::vector<std::string> partly_closed_hosts;
};

struct Plan {
  std::vector<FileChange> changes;  // of the runtime's files, in the order to be written
  std::vector<std::string> uses;    // files (real) that say what is wanted, changed now or that way already
  Copied copied;                    // what was configured there, for layerd's own configuration
  std::vector<std::string> hosts;   // registries that have an entry of their own afterwards
  std::vector<std::string> notes;   // to be said before anything happens
  std::vector<std::string> todo;    // what is left to a person: restarts
  // A registries.yaml (real path) that layerd may be reading itself: then nothing of it is copied.
  std::string registries_file;
  std::vector<std::string> secrets;  // texts that must not be shown
};

// Adds the change unless the file is that way already; the plan goes by the file in either case.
void add_change(Plan& plan, FileChange change);

// "host:port" of an http(s) URL, as configs are keyed; empty for anything else.
std::string authority_of(std::string_view url);
// Do both URLs lead to the same API root? A path of "", "/" and "/v2" are one (protocol.md §2.2).
bool same_endpoint(std::string_view a, std::string_view b);

// Sorted, without doubles; `docker.io` always in it.
std::vector<std::string> hosts_to_name(const Input& input, const std::vector<std::string>& more);

}  // namespace layerd::daemon::setup
