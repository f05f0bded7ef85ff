// The files of runtimes that `layerd setup` edits: hosts.toml, registries.yaml, daemon.json. An edit that is
// made reads back with layerd in front, is not made twice, and can be taken out again.
#include <cstdint>

#include "daemon/setup/docker.h"
#include "daemon/setup/hosts_toml.h"
#include "daemon/setup/toml.h"
#include "daemon/setup/yaml_edit.h"
#include "runtime/check.h"

namespace {

using namespace layerd;
using namespace layerd::daemon::setup;

const std::string kUrl = "http://127.0.0.1:5151";

void edit_hosts(const std::string& text, bool close) {
  HostsWish wish;
  wish.url = kUrl;
  wish.close = close;
  wish.tool = "layerd setup containerd";
  const auto with = with_layerd("hosts.toml", text, wish);
  if (!with) return;
  const auto again = with_layerd("hosts.toml", *with, wish);
  LAYERD_CHECK(again.ok() && *again == *with);
  LAYERD_CHECK(parse_toml("hosts.toml", *with).ok());
  const auto without = without_layerd("hosts.toml", *with, kUrl);
  if (without && *without) LAYERD_CHECK(parse_toml("hosts.toml", **without).ok());
}

void edit_registries(const std::string& text) {
  const std::vector<std::string> path{"mirrors", "docker.io", "endpoint"};
  const auto with = with_first_item("registries.yaml", text, path, kUrl);
  if (!with) return;
  LAYERD_CHECK(read_yaml("registries.yaml", *with).ok());
  const auto without = without_item("registries.yaml", *with, "mirrors", "endpoint", kUrl);
  if (without) LAYERD_CHECK(read_yaml("registries.yaml", *without).ok());
}

void edit_daemon(const std::string& text) {
  const auto with = with_docker_mirror("daemon.json", text, kUrl);
  if (!with) return;
  const auto again = with_docker_mirror("daemon.json", *with, kUrl);
  LAYERD_CHECK(again.ok() && *again == *with);
  static_cast<void>(without_docker_mirror("daemon.json", *with, kUrl));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      edit_hosts(text, false);
      break;
    case 1:
      edit_hosts(text, true);
      break;
    case 2:
      edit_registries(text);
      break;
    default:
      edit_daemon(text);
  }
  return 0;
}
