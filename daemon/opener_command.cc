#include "daemon/opener_command.h"

#include <fmt/core.h>
#include <unistd.h>

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

// What stands in files that others than root may write, as the runtimes.yaml of `layerd setup`, which is
// layerd's, root has not named: they count as empty.
Result<std::string> read_roots_own(const std::string& path) {
  if (!systemd::check_way(path, 0)) return std::string();
  return read_file(path, kMostConfigBytes);
}

}  // namespace

Result<std::vector<std::string>> files_for_opener(const std::string& config_path, bool path_given) {
  const auto safe = systemd::check_way(config_path, 0);
  if (!safe && (path_given || ::access(config_path.c_str(), F_OK) == 0)) return safe.error();
  auto loaded = load_config(config_path, &read_roots_own, {.must_exist = path_given, .check_files = false});
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
