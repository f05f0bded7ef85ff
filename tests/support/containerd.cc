#include "tests/support/containerd.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <thread>

#include "tests/support/temp_dir.h"

namespace layerd::test {

namespace {

// Without the CRI plugin it needs neither CNI nor a sandbox image. Pulling alone needs neither with it.
std::string plugins(const std::string& folder, bool with_cri) {
  if (!with_cri) return "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
  return fmt::format(
      "[plugins.\"io.containerd.grpc.v1.cri\"]\n  stream_server_address = \"127.0.0.1\"\n"
      "  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n    snapshotter = \"native\"\n"
      "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"{0}/cni\"\n    conf_dir = \"{0}/cni\"\n"
      "  [plugins.\"io.containerd.grpc.v1.cri\".registry]\n    config_path = \"{0}/hosts\"\n",
      folder);
}

}  // namespace

Containerd::Containerd(const std::string& folder, bool with_cri) : folder_(folder) {
  std::filesystem::create_directories(folder_ + "/hosts");
  std::string tables = plugins(folder_, with_cri), top;
  if (!with_cri) top.swap(tables);
  write_text(folder_ + "/config.toml",
             fmt::format("version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\n{1}"
                         "[grpc]\n  address = \"{0}/containerd.sock\"\n[debug]\n  level = \"info\"\n"
                         "[plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"{0}/opt\"\n{2}",
                         folder_, top, tables));
  process_.emplace(
      Command{{"containerd", "--config", folder_ + "/config.toml"}, {}, folder_ + "/containerd.log"});
  for (int tries = 0; tries < 200; ++tries) {
    if (std::filesystem::exists(folder_ + "/containerd.sock") && ctr({"version"}).status == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  throw std::runtime_error("containerd does not come up: " + log());
}

void Containerd::mirror(const std::string& registry, const std::string& mirror_url) {
  std::string name = registry;
  const std::size_t colon = name.find(':');
  if (colon != std::string::npos) name = name.substr(0, colon) + "_" + name.substr(colon + 1) + "_";
  write_text(folder_ + "/hosts/" + name + "/hosts.toml",
             fmt::format("server = \"{0}\"\n\n[host.\"{0}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
                         mirror_url));
}

Finished Containerd::ctr(std::vector<std::string> arguments, std::chrono::milliseconds timeout) const {
  std::vector<std::string> all = {"ctr", "--address", folder_ + "/containerd.sock", "--namespace", "test"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run(std::move(all), timeout);
}

Finished Containerd::pull(const std::string& reference, std::vector<std::string> more) const {
  std::vector<std::string> arguments = {"images",           "pull",          "--hosts-dir",
                                        folder_ + "/hosts", "--snapshotter", "native"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.push_back(reference);
  return ctr(std::move(arguments));
}

Finished Containerd::remove(const std::string& reference) const {
  Finished removed = ctr({"images", "rm", "--sync", reference});
  return removed;
}

bool Containerd::has_content(const std::string& digest) const {
  const Finished listed = ctr({"content", "ls", "-q"});
  return listed.output.find(digest) != std::string::npos;
}

}  // namespace layerd::test
