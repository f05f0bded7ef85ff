// One run of `layerd setup`: look, say, copy, write, probe, point, check; and back when anything fails.
// Blocks; for the command.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/settings.h"
#include "daemon/setup/apply.h"
#include "daemon/setup/files.h"
#include "daemon/setup/lock.h"
#include "daemon/setup/probe.h"
#include "daemon/setup/programs.h"
#include "daemon/setup/runtime.h"
#include "runtime/json.h"

namespace layerd::daemon::setup {

// The running daemon, as far as setup needs it.
class DaemonLink {
 public:
  virtual ~DaemonLink() = default;
  virtual Result<Json> status() = 0;  // GET /v1/status
  // Reads its configuration anew. Errors: config, with its first complaint.
  virtual Result<Ok> reload() = 0;
};

struct SessionOptions {
  std::string runtime;
  bool dry_run = false, undo = false, verify = false, no_fallback = false;
  bool keep = false;                // what an earlier run could not put back stays as it is
  std::vector<std::string> images;  // to probe with; none: what the node has
  std::string root;                 // stands for / of the node; empty: it is /
  std::string config_path;          // real path of layerd's configuration
  SettingsPtr settings;             // what it says
  std::function<void()> at_step = [] {};
  std::function<bool()> is_interrupted = [] { return false; };  // somebody wants it to end: back, and out
};

class Session {
 public:
  using Say = std::function<void(const std::string& line)>;
  using Pull = std::function<Result<Pulled>(const std::string& listen, const std::string& image)>;
  Session(SessionOptions options, DaemonLink& daemon, Programs& programs, Say say, Pull pull);

  // Errors: config (wrong files or usage: exit 2), all others: exit 1. Nothing is changed then, or it
  // was put back; the message says so where it could not be.
  Result<Ok> run();

 private:
  Result<Ok> find_daemon();
  Result<Ok> choose_url(const Json& status);
  Result<Ok> read_records();
  Result<Ok> look();
  Result<Ok> plan_own();
  std::optional<std::pair<uid_t, gid_t>> daemon_owner() const;
  Result<Ok> check_places(const std::vector<FileChange>& changes) const;
  Result<Ok> go_on() const;
  Result<Ok> nothing_to_do();
  Result<Ok> set_up();
  Result<Ok> point();
  Result<Ok> probe();
  Result<Ok> check_arrival();
  Result<Ok> verify();
  Result<Ok> write_own();
  void say_notes() const;
  void say_diffs(const std::vector<const std::vector<FileChange>*>& lists, const char* would,
                 const char* does) const;
  Copied copied_of_others(std::vector<std::pair<std::string, Copied>>* all) const;
  std::string registries_path() const;

  // The ways back (session_back.cc).
  void say_what_was_broken_off() const;
  Result<Ok> recover();
  Result<Ok> back(Error why);
  Inverse way_back_of(const std::string& runtime, const Record& record) const;
  Result<Ok> undo();
  void read_secrets();
  void find_heirs();
  Result<Ok> hand_over();
  Result<std::vector<FileChange>> undo_changes() const;
  Result<std::vector<FileChange>> without_line(std::vector<FileChange> changes,
                                               const std::string& registries) const;

  std::string record_folder(const std::string& runtime) const;
  std::vector<std::string> candidates() const;
  std::string image_of(const std::string& host) const;
  Result<std::int64_t> asked(const std::string& host);

  SessionOptions options_;
  DaemonLink& daemon_;
  Programs& programs_;
  Say say_;
  Pull pull_;
  RootFiles files_;
  std::unique_ptr<Runtime> runtime_;
  Applier applier_;
  NodeLock lock_;
  std::map<std::string, Record> others_;  // of the other runtimes
  std::string listen_;                    // "127.0.0.1:5151"
  bool runs_ = false;                     // the daemon answers
  std::vector<std::string> images_;
  Input input_;
  Plan plan_;
  std::vector<FileChange> own_;               // of layerd's own configuration
  std::string probed_;                        // the image that came through
  std::map<std::string, std::string> heirs_;  // of an undo: path → the runtime that goes by it as well
};

}  // namespace layerd::daemon::setup
