#include "daemon/peers_secret_command.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <cerrno>

#include "proxy/net/peer_secret.h"
#include "runtime/file.h"

namespace layerd::daemon {

int peers_secret_command(const std::string& file) {
  const std::string line = net::PeerSecret::make() + "\n";
  if (file.empty()) {
    fmt::print("{}", line);
    return 0;
  }
  const auto opened = File::open(file, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!opened && opened.error().sys_errno == EEXIST) {
    fmt::print(stderr,
               "layerd: {} is there already and stays as it is; a second secret for the time of a change is "
               "added by: layerd peers secret >> {}\n",
               file, file);
    return 1;
  }
  auto written = opened ? (*opened)->write_at(0, line) : Result<Ok>(opened.error());
  if (written) written = (*opened)->sync(false);
  if (written) return 0;
  fmt::print(stderr, "layerd: {}\n", written.error().message);
  return 1;
}

}  // namespace layerd::daemon
