#include "daemon/join_command.h"

#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>

#include "daemon/config.h"
#include "daemon/join_plan.h"
#include "daemon/setup/files.h"
#include "proxy/net/own_addresses.h"
#include "runtime/file.h"

namespace layerd::daemon {
namespace {

std::string absolute(const std::string& path) {
  if (path.empty() || path.starts_with('/')) return path;
  char folder[PATH_MAX];
  return ::realpath(".", folder) ? std::string(folder) + "/" + path : path;
}

// Who owns the store runs the daemon.
std::optional<std::pair<uid_t, gid_t>> daemon_owner(const std::string& config_path) {
  const LoadedConfig loaded = load_config(config_path, {.must_exist = false, .check_files = false});
  const std::string folder = loaded.ok() ? loaded.settings->cache_path : Settings{}.cache_path;
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return std::nullopt;
  return std::pair<uid_t, gid_t>(info.st_uid, info.st_gid);
}

// Nobody else may read it at any moment, whatever the mode of a file that was there.
Result<Ok> write_secret(const JoinFile& file, const std::string& config_path) {
  if (auto written = replace_file(file.path, file.text, 0600); !written) return written;
  const auto owner = daemon_owner(config_path);
  if (!owner || (owner->first == ::geteuid() && owner->second == ::getegid())) return Ok{};
  if (::chown(file.path.c_str(), owner->first, owner->second) == 0) return Ok{};
  return errno_error(fmt::format("cannot give {} to the daemon's user", file.path), errno);
}

Result<Ok> write(const JoinFile& file, const std::string& config_path) {
  if (auto made = setup::make_folders_for(file.path, 0755); !made) return std::move(made).error();
  return file.is_secret ? write_secret(file, config_path)
                        : setup::write_whole(file.path, file.text,
                                             {.mode = 0644, .temporary = setup::temporary_for(file.path)});
}

int fail(const Error& error) {
  fmt::print(stderr, "layerd: {}\n", error.message);
  return error.code == Errc::config ? 2 : 1;
}

}  // namespace

int join_command(const std::string& config_path, const JoinOptions& options) {
  auto text = read_file(options.file, kMostInvitation);
  if (!text) return fail(text.error());
  auto invitation = parse_invitation(*text, std::chrono::system_clock::now());
  if (!invitation) {
    Error error = invitation.error();
    error.message = options.file + ": " + error.message;
    return fail(error);
  }
  JoinInput input;
  input.config_path = absolute(config_path);
  auto config = setup::read_if_there(input.config_path);
  if (!config) return fail(config.error());
  input.config_text = std::move(*config);
  input.invitation = std::move(*invitation);
  input.read = [](const std::string& path) { return setup::read_if_there(path); };
  input.replace = options.replace;
  input.listen = options.listen;
  input.zone = options.zone;
  input.cert_file = absolute(options.cert_file);
  input.key_file = absolute(options.key_file);
  input.own = net::own_addresses();
  const auto plan = plan_join(input);
  if (!plan) return fail(plan.error());
  for (const JoinFile& file : plan->files) {
    if (auto written = write(file, input.config_path); !written) return fail(written.error());
    fmt::print("{}: {}\n", file.path, file.what);
  }
  if (plan->files.empty()) fmt::print("nothing to do: this node is a member already\n");
  for (const std::string& note : plan->notes) fmt::print("{}\n", note);
  if (plan->needs_restart) fmt::print("now start layerd anew: systemctl restart layerd\n");
  fmt::print("then delete {}, which holds what makes a member\n", options.file);
  return 0;
}

}  // namespace layerd::daemon
