#include "daemon/opener_command.h"

#include <fmt/core.h>

#include <cstdio>
#include <iterator>

#include "daemon/config.h"
#include "daemon/config_yaml.h"
#include "proxy/net/certs_folder.h"
#include "proxy/net/tls_files.h"
#include "runtime/file.h"
#include "systemd/listen_fds.h"
#include "systemd/opener.h"

namespace layerd::daemon {
namespace {

void add_files_below_folders(const Settings& settings, std::vector<std::string>& files) {
  const auto add = [&files](std::vector<std::string> more) {
    files.insert(files.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  auto below = net::files_below(settings.certs_dirs);
  // What root's own hosts.toml names elsewhere, root has named.
  for (const auto& path : below)
    if (path.ends_with("/hosts.toml") && systemd::check_way(path, 0)) add(net::files_named_by(path));
  add(std::move(below));
  for (const auto& [host, entry] : settings.rules.configs)
    if (!entry->ca_dir.empty())
      if (auto found = net::certificate_files_in(entry->ca_dir)) add(std::move(*found));
}

bool is_roots_own(const std::string& path) { return path.empty() || systemd::check_way(path, 0).ok(); }

// The same without what stands in files that others than root may write, as the runtimes.yaml of `layerd
// setup`, which is layerd's: what they name root has not named.
LoadedConfig without_foreign_files(const LoadedConfig& loaded) {
  const std::string& registries = loaded.sources.registries_path;
  const ReadText read = [&registries](const std::string& path) -> Result<std::string> {
    if (is_roots_own(path)) return read_file(path, kMostConfigBytes);
    if (path == registries) return std::string();
    return Error{Errc::config, path + " is not root's own"};
  };
  return parse_config(loaded.sources.config_path, loaded.sources.config_text, read, {.check_files = false});
}

}  // namespace

Result<std::vector<std::string>> files_for_opener(const std::string& config_path, bool path_given) {
  auto loaded = load_config(config_path, {.must_exist = path_given, .check_files = false});
  if (const auto& path = loaded.sources.config_path; !path.empty())
    if (auto safe = systemd::check_way(path, 0); !safe) return std::move(safe).error();
  loaded = without_foreign_files(loaded);
  // The two files themselves are passed however wrong they are: the daemon says what is wrong with them.
  if (!loaded.ok()) return std::vector{loaded.sources.config_path, loaded.sources.registries_path};
  add_files_below_folders(*loaded.settings, loaded.files);
  return std::move(loaded.files);
}

int opener_command(const std::string& config_path, bool path_given) {
  auto sockets = systemd::inherited_sockets();
  if (!sockets || sockets->size() != 1) {
    fmt::print(stderr, "layerd: {}\n",
               sockets ? "root-helper is started by systemd (layerd-opener.socket) with one socket"
                       : sockets.error().message);
    return 1;
  }
  const auto served =
      systemd::serve_opener(sockets->front().fd, [&] { return files_for_opener(config_path, path_given); });
  if (served) return 0;
  fmt::print(stderr, "layerd: {}\n", served.error().message);
  return 1;
}

}  // namespace layerd::daemon
