#include "daemon/opener_command.h"

#include <fmt/core.h>

#include <cstdio>

#include "daemon/config.h"
#include "systemd/listen_fds.h"
#include "systemd/opener.h"

namespace layerd::daemon {
namespace {

// What the configuration of root names, and that of k3s which it names.
Result<std::vector<std::string>> named_files(const std::string& config_path, bool path_given) {
  auto loaded = load_config(config_path, {.must_exist = path_given, .check_files = false});
  for (const auto& path : {loaded.sources.config_path, loaded.sources.registries_path})
    if (!path.empty())
      if (auto safe = systemd::check_way(path, 0); !safe) return std::move(safe).error();
  // The two files themselves are passed however wrong they are: the daemon says what is wrong with them.
  if (!loaded.ok()) return std::vector{loaded.sources.config_path, loaded.sources.registries_path};
  return std::move(loaded.files);
}

}  // namespace

int opener_command(const std::string& config_path, bool path_given) {
  auto sockets = systemd::inherited_sockets();
  if (!sockets || sockets->size() != 1) {
    fmt::print(stderr, "layerd: {}\n",
               sockets ? "root-helper is started by systemd (layerd-opener.socket) with one socket"
                       : sockets.error().message);
    return 1;
  }
  const auto served =
      systemd::serve_opener(sockets->front().fd, [&] { return named_files(config_path, path_given); });
  if (served) return 0;
  fmt::print(stderr, "layerd: {}\n", served.error().message);
  return 1;
}

}  // namespace layerd::daemon
