#include "daemon/runtime_files.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "proxy/registry/text.h"
#include "runtime/file.h"

namespace layerd::daemon {
namespace {

constexpr std::size_t kMostFile = 1u << 20;
constexpr std::size_t kMostFiles = 200;

enum class There { yes, no, closed };

struct Text {
  There there = There::no;
  std::string text;  // without comments
};

// TOML, YAML and registries.conf have the same comments; JSON has none.
std::string without_comments(const std::string& text) {
  std::string out;
  for (const auto line : registry::split(text, '\n')) {
    const auto trimmed = registry::trim_all(line);
    if (!trimmed.starts_with('#')) out += std::string(trimmed) + "\n";
  }
  return out;
}

Text read(const std::string& path) {
  auto text = read_file(path, kMostFile);
  if (text) return {There::yes, without_comments(*text)};
  return {text.error().sys_errno == EACCES || text.error().sys_errno == EPERM ? There::closed : There::no,
          {}};
}

bool is_folder(const std::string& path) {
  struct stat facts {};
  return ::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

// "127.0.0.1:5151", and "localhost:5151" for a loopback address.
std::vector<std::string> names_of(const std::vector<ListenAddress>& listen) {
  std::vector<std::string> names;
  for (const auto& address : listen) {
    names.push_back(address.str());
    const bool is_any = address.host == "0.0.0.0" || address.host == "::";
    if (is_any) names.push_back(fmt::format("127.0.0.1:{}", address.port));
    if (is_any || address.host == "127.0.0.1" || address.host == "::1")
      names.push_back(fmt::format("localhost:{}", address.port));
  }
  return names;
}

bool names_us(const std::string& text, const std::vector<std::string>& ours, std::string_view behind = {}) {
  return std::any_of(ours.begin(), ours.end(), [&](const std::string& name) {
    return text.find(name + std::string(behind)) != std::string::npos;
  });
}

class Looking {
 public:
  Looking(std::string root, std::string registry, const std::vector<ListenAddress>& listen)
      : root_(root == "/" ? std::string() : std::move(root)),
        registry_(std::move(registry)),
        ours_(names_of(listen)) {}

  std::vector<RuntimeView> all() {
    k3s("k3s");
    k3s("rke2");
    containerd();
    docker();
    containers();
    return std::move(views_);
  }

 private:
  void add(const char* runtime, RuntimeView::Way way, std::string said) {
    views_.push_back({runtime, way, std::move(said)});
  }

  // hosts.toml of a certs.d folder: of this very host, else of `_default`.
  void hosts_folder(const char* runtime, const std::string& folder) {
    std::string host = registry_;
    if (const auto colon = host.rfind(':'); colon != std::string::npos)
      host = host.substr(0, colon) + "_" + host.substr(colon + 1) + "_";
    for (const auto& name : {registry_, host, std::string("_default")}) {
      const auto file = fmt::format("{}/{}/hosts.toml", folder, name);
      const auto text = read(root_ + file);
      if (text.there == There::no) continue;
      if (text.there == There::closed)
        return add(runtime, RuntimeView::Way::unknown,
                   file + " may not be read by this user; run this as root");
      if (names_us(text.text, ours_)) return add(runtime, RuntimeView::Way::asks, file + " names layerd");
      return add(runtime, RuntimeView::Way::bypasses,
                 fmt::format("{} counts for {} and does not name layerd", file, registry_));
    }
    add(runtime, RuntimeView::Way::bypasses,
        fmt::format("there is no {}/{}/hosts.toml and none in {}/_default", folder, registry_, folder));
  }

  void k3s(const char* which) {
    const auto generated = fmt::format("/var/lib/rancher/{}/agent/etc/containerd/certs.d", which);
    const auto written = fmt::format("/etc/rancher/{}/registries.yaml", which);
    if (is_folder(root_ + generated)) return hosts_folder(which, generated);
    if (!is_folder(root_ + fmt::format("/etc/rancher/{}", which))) return;
    const auto text = read(root_ + written);
    if (text.there == There::closed)
      return add(which, RuntimeView::Way::unknown,
                 written + " may not be read by this user; run this as root");
    if (text.there == There::yes && names_us(text.text, ours_))
      return add(which, RuntimeView::Way::asks, written + " names layerd");
    add(which, RuntimeView::Way::bypasses,
        written + (text.there == There::yes ? " does not name layerd" : " is not there"));
  }

  void containerd() {
    const std::string file = "/etc/containerd/config.toml";
    const auto text = read(root_ + file);
    if (text.there == There::no && !is_folder(root_ + "/etc/containerd/certs.d")) return;
    if (text.there == There::closed)
      return add("containerd", RuntimeView::Way::unknown,
                 file + " may not be read by this user; run this as root");
    const auto path = config_path(text.text);
    if (path.empty())
      return add("containerd", RuntimeView::Way::bypasses,
                 file + " sets no config_path, so hosts.toml is not read");
    if (path.find(':') != std::string::npos)
      return add(
          "containerd", RuntimeView::Way::bypasses,
          fmt::format("{} sets config_path to several folders ({}), which containerd 2.2 ignores; name one",
                      file, path));
    hosts_folder("containerd", path);
  }

  // The last one set counts least: any that is not empty is the registry's (image decryption has none).
  static std::string config_path(const std::string& text) {
    for (std::size_t at = text.find("config_path"); at != std::string::npos;
         at = text.find("config_path", at + 1)) {
      const auto line = text.substr(at, text.find('\n', at) - at);
      const auto open = line.find_first_of("\"'");
      if (open == std::string::npos) continue;
      const auto close = line.find(line[open], open + 1);
      if (close != std::string::npos && close > open + 1) return line.substr(open + 1, close - open - 1);
    }
    return {};
  }

  void docker() {
    const std::string file = "/etc/docker/daemon.json";
    const auto text = read(root_ + file);
    if (text.there != There::yes) return;
    const bool is_hub = registry_ == "docker.io";
    const bool is_named =
        text.text.find("registry-mirrors") != std::string::npos && names_us(text.text, ours_);
    if (is_hub && is_named) return add("docker", RuntimeView::Way::asks, file + " names layerd");
    add("docker", RuntimeView::Way::bypasses,
        is_hub ? file + " does not name layerd" : "docker asks mirrors for Docker Hub only");
  }

  void containers() {
    std::vector<std::string> files{"/etc/containers/registries.conf"};
    std::error_code failed;
    for (std::filesystem::directory_iterator at(root_ + "/etc/containers/registries.conf.d", failed), end;
         !failed && at != end && files.size() < kMostFiles; at.increment(failed))
      if (at->path().extension() == ".conf")
        files.push_back("/etc/containers/registries.conf.d/" + at->path().filename().string());
    bool is_there = false;
    for (const auto& file : files) {
      const auto text = read(root_ + file);
      is_there = is_there || text.there == There::yes;
      if (names_us(text.text, ours_, "/" + registry_))
        return add("podman or CRI-O", RuntimeView::Way::asks, file + " names layerd");
    }
    if (is_there)
      add("podman or CRI-O", RuntimeView::Way::bypasses,
          "/etc/containers/registries.conf and registries.conf.d name no mirror at layerd for " + registry_);
  }

  const std::string root_, registry_;
  const std::vector<std::string> ours_;
  std::vector<RuntimeView> views_;
};

}  // namespace

std::vector<RuntimeView> look_at_runtimes(const std::string& root, const std::string& registry,
                                          const std::vector<ListenAddress>& listen) {
  return Looking(root, registry, listen).all();
}

}  // namespace layerd::daemon
