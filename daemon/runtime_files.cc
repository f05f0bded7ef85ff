#include "daemon/runtime_files.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "daemon/setup/containerd.h"
#include "daemon/setup/files.h"
#include "daemon/setup/k3s.h"
#include "proxy/registry/text.h"
#include "runtime/file.h"
#include "runtime/log.h"

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

// Whole names: "127.0.0.1:5151" does not stand in "127.0.0.1:51510".
bool has_name(std::string_view text, std::string_view name) {
  const auto goes_on = [&](std::size_t at) {
    return at < text.size() && (registry::is_alnum(text[at]) || text[at] == '.' || text[at] == '-');
  };
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1))
    if (!goes_on(at + name.size()) && (at == 0 || !goes_on(at - 1))) return true;
  return false;
}

bool names_us(const std::string& text, const std::vector<std::string>& ours, std::string_view behind = {}) {
  return std::any_of(ours.begin(), ours.end(),
                     [&](const std::string& name) { return has_name(text, name + std::string(behind)); });
}

class Looking {
 public:
  Looking(std::string root, std::string registry, const std::vector<ListenAddress>& listen)
      : root_(root == "/" ? std::string() : std::move(root)),
        registry_(std::move(registry)),
        ours_(names_of(listen)),
        files_(root_) {}

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

  void closed(const char* runtime, const std::string& file) {
    add(runtime, RuntimeView::Way::unknown, file + " may not be read by this user; run this as root");
  }

  // A certs.d folder: what is there for this very host counts, with or without a hosts.toml in it, else
  // `_default`.
  void hosts_folder(const char* runtime, const std::string& folder) {
    for (const auto& name : {setup::hosts_folder(registry_), registry_, std::string("_default")}) {
      const auto place = folder + "/" + name, file = place + "/hosts.toml";
      const auto text = read(root_ + file);
      if (text.there == There::closed) return closed(runtime, file);
      if (text.there == There::yes) return hosts_file(runtime, place, file);
      if (is_folder(root_ + place))
        return add(runtime, RuntimeView::Way::bypasses,
                   fmt::format("the folder {} counts for {} and has no hosts.toml in it", place, registry_));
    }
    add(runtime, RuntimeView::Way::bypasses,
        fmt::format("there is no {}/{}/hosts.toml and none in {}/_default", folder, registry_, folder));
  }

  // As containerd reads it: one with an error in it does not count at all, and says so in a log only.
  void hosts_file(const char* runtime, const std::string& place, const std::string& file) {
    const auto text = read_file(root_ + file, kMostFile);
    const auto hosts = text ? setup::read_hosts(file, *text) : Result<setup::HostsFile>(Error(text.error()));
    if (!hosts)
      return add(runtime, RuntimeView::Way::bypasses,
                 fmt::format("{}; so containerd leaves the whole file out", hosts.error().message));
    const auto is_us = [&](const setup::HostsEntry& entry) {
      return entry.may_pull() && names_us(setup::authority_of(entry.url), ours_);
    };
    const bool asks = std::any_of(hosts->hosts.begin(), hosts->hosts.end(), is_us) || is_us(hosts->server);
    if (const auto missing = setup::missing_files(files_, *hosts, place); !missing.empty())
      return add(
          runtime, RuntimeView::Way::bypasses,
          fmt::format("{} names {}, which is not there, and containerd fails every pull of {} for that", file,
                      printable(missing.front()), registry_));
    if (asks) return add(runtime, RuntimeView::Way::asks, file + " names layerd");
    add(runtime, RuntimeView::Way::bypasses,
        fmt::format("{} counts for {} and does not name layerd", file, registry_));
  }

  void k3s(const char* which) {
    const setup::K3sKind kind{which};
    const auto flags = setup::read_k3s_flags(files_, kind);
    if (is_folder(root_ + flags.hosts_folder)) {
      const auto config = setup::folder_above(flags.hosts_folder) + "/config.toml";
      const auto text = read(root_ + config);
      // Its own template has it; one that somebody wrote beside (config.toml.tmpl) need not.
      if (text.there == There::yes && text.text.find("config_path") == std::string::npos)
        return add(which, RuntimeView::Way::bypasses,
                   fmt::format("{} sets no config_path, so hosts.toml is not read; look at {}.tmpl", config,
                               config));
      return hosts_folder(which, flags.hosts_folder);
    }
    if (!is_folder(root_ + fmt::format("/etc/rancher/{}", which))) return;
    const auto text = read(root_ + flags.registries);
    if (text.there == There::closed) return closed(which, flags.registries);
    if (text.there == There::yes && names_us(text.text, ours_))
      return add(which, RuntimeView::Way::asks, flags.registries + " names layerd");
    add(which, RuntimeView::Way::bypasses,
        flags.registries + (text.there == There::yes ? " does not name layerd" : " is not there"));
  }

  void containerd() {
    const std::string file = "/etc/containerd/config.toml";
    const auto text = read(root_ + file);
    if (text.there == There::no && !is_folder(root_ + "/etc/containerd/certs.d")) return;
    if (text.there == There::closed) return closed("containerd", file);
    const auto way = setup::containerd_way(files_);
    if (!way) return add("containerd", RuntimeView::Way::bypasses, way.error().message);
    const auto& path = way->config_path;
    if (path.empty() && !way->old_file.empty() && names_us(read(root_ + way->old_file).text, ours_))
      return add("containerd", RuntimeView::Way::asks, way->old_file + " names layerd");
    if (path.empty())
      return add("containerd", RuntimeView::Way::bypasses,
                 file + " sets no config_path, so hosts.toml is not read");
    if (path.find(':') != std::string::npos)
      return add(
          "containerd", RuntimeView::Way::bypasses,
          fmt::format("{} sets config_path to several folders ({}), which containerd 2.2 ignores; name one",
                      file, path));
    hosts_folder("containerd", files_.usual(path));
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
  setup::RootFiles files_;
  std::vector<RuntimeView> views_;
};

}  // namespace

std::vector<RuntimeView> look_at_runtimes(const std::string& root, const std::string& registry,
                                          const std::vector<ListenAddress>& listen) {
  return Looking(root, registry, listen).all();
}

}  // namespace layerd::daemon
