#include "daemon/setup/runtime.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "daemon/setup/containerd.h"
#include "daemon/setup/containerd_old.h"
#include "daemon/setup/containers.h"
#include "daemon/setup/docker.h"
#include "daemon/setup/k3s.h"
#include "daemon/setup/toml.h"
#include "daemon/setup/yaml_edit.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/json.h"

namespace layerd::daemon::setup {
namespace {

using Images = Result<std::vector<std::string>>;
using Text = std::optional<std::string>;

std::string first_there(FileSource& files, std::initializer_list<const char*> paths) {
  for (const char* path : paths)
    if (files.exists(path)) return files.real(path);
  return {};
}

// `ctr` of whichever make: images of every namespace.
Images images_of_ctr(Programs& programs, const std::vector<std::string>& ctr) {
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = ctr;
    all.insert(all.end(), more.begin(), more.end());
    return programs.run(all);
  };
  auto spaces = with({"namespaces", "ls", "-q"});
  if (!spaces) return std::move(spaces).error();
  std::string lines;
  for (auto space : registry::split(*spaces, '\n')) {
    if (registry::trim_all(space).empty()) continue;
    auto images = with({"--namespace", std::string(registry::trim_all(space)), "images", "ls", "-q"});
    if (!images) return std::move(images).error();
    lines += *images + "\n";
  }
  return image_names(lines);
}

// Resolves the name and fetches its manifest by containerd's own code; nothing is kept.
Result<Ok> pull_by_ctr(Programs& programs, std::vector<std::string> ctr, const std::string& hosts,
                       const std::string& image) {
  auto name = registry::parse_image_name(image);
  if (!name) return std::move(name).error();
  for (const std::string& word :
       {std::string("content"), std::string("fetch-object"), std::string("--hosts-dir"), hosts,
        name->digest ? image : name->str(), std::string("manifest")})
    ctr.push_back(word);
  auto done = programs.run(ctr, std::chrono::seconds(120));
  return done ? Result<Ok>(Ok{}) : std::move(done).error();
}

// By the kubelet's way, where there is crictl: pulls again, by digest, what the node has by this name, so
// that no tag moves. Errors: not_found: there is no crictl, or it knows no digest of the image.
Result<Ok> pull_by_cri(Programs& programs, std::vector<std::string> crictl, const std::string& image) {
  auto arguments = crictl;
  for (const char* word : {"images", "-o", "json"}) arguments.emplace_back(word);
  auto text = programs.run(arguments);
  auto root = text ? parse_json(*text) : Result<Json>(text.error());
  const Json* list = root ? json_find(*root, "images") : nullptr;
  std::string by_digest;
  for (const auto& row : list && list->is_array() ? *list : Json::array()) {
    const Json* tags = json_find(row, "repoTags");
    const Json* digests = json_find(row, "repoDigests");
    const bool is_it =
        tags && tags->is_array() && std::find(tags->begin(), tags->end(), Json(image)) != tags->end();
    if (is_it && digests && digests->is_array() && !digests->empty() && digests->front().is_string())
      by_digest = digests->front().get<std::string>();
  }
  if (by_digest.empty()) return {Errc::not_found, "crictl knows no digest of " + image};
  crictl.insert(crictl.end(), {"pull", by_digest});
  auto pulled = programs.run(crictl, std::chrono::seconds(600));
  return pulled ? Result<Ok>(Ok{}) : std::move(pulled).error();
}

// ctr would wait ten seconds for it.
Error does_not_run(const std::string& name, const std::string& socket) {
  return {Errc::not_found, fmt::format("{} does not run, {} is not there", name, socket)};
}

class Containerd final : public Runtime {
 public:
  std::string name() const override { return "containerd"; }
  std::string found(FileSource& files) const override {
    return first_there(files, {"/etc/containerd/config.toml", "/etc/containerd", "/run/containerd",
                               "/usr/bin/containerd", "/usr/local/bin/containerd"});
  }
  Result<Plan> plan(FileSource& files, const Input& input) const override {
    return plan_containerd(files, input);
  }
  Images images(FileSource& files, Programs& programs) const override {
    if (const std::string socket = ctr(files)[2]; !files.exists(socket))
      return does_not_run("containerd", socket);
    return images_of_ctr(programs, ctr(files));
  }
  Result<Ok> test_pull(FileSource& files, Programs& programs, const std::string& image) const override {
    const std::string socket = "unix://" + ctr(files)[2];
    auto pulled =
        pull_by_cri(programs, {"crictl", "--runtime-endpoint", socket, "--image-endpoint", socket}, image);
    if (pulled || pulled.error().code != Errc::not_found) return pulled;
    return pull_by_ctr(programs, ctr(files), hosts(files), image);
  }
  Result<Text> without_layerd(const std::string& path, const std::string& text,
                              const std::string& url) const override {
    if (path.ends_with("/hosts.toml")) return setup::without_layerd(path, text, url);
    auto without = without_old_mirrors(path, text, url);  // config_path stays: somebody relies on it by now
    return without ? Result<Text>(Text(std::move(*without))) : std::move(without).error();
  }

 private:
  static TomlValue config(FileSource& files) {
    auto root = parse_toml("config.toml", files.read("/etc/containerd/config.toml").value_or(""));
    return root ? std::move(*root) : TomlValue{};
  }
  static std::vector<std::string> ctr(FileSource& files) {
    const TomlValue root = config(files);
    const TomlValue* address = root.find({"grpc", "address"});
    const std::string socket = address ? address->text : "/run/containerd/containerd.sock";
    return {"ctr", "--address", files.real(socket)};
  }
  static std::string hosts(FileSource& files) {
    const TomlValue root = config(files);
    for (const char* plugin : {"io.containerd.cri.v1.images", "io.containerd.grpc.v1.cri", "cri"})
      if (const TomlValue* path = root.find({"plugins", plugin, "registry", "config_path"});
          path && !path->text.empty())
        return files.real(std::string(registry::split(path->text, ':')[0]));
    return files.real("/etc/containerd/certs.d");
  }
};

class K3s final : public Runtime {
 public:
  explicit K3s(std::string name) : kind_{std::move(name)} {}
  std::string name() const override { return kind_.name; }
  std::string found(FileSource& files) const override {
    for (const auto& path : {"/etc/rancher/" + kind_.name, kind_.agent})
      if (!files.list(path).empty()) return files.real(path);
    return first_there(files, {kind_.name == "k3s" ? "/usr/local/bin/k3s" : "/usr/local/bin/rke2"});
  }
  Result<Plan> plan(FileSource& files, const Input& input) const override {
    return plan_k3s(files, input, kind_);
  }
  Images images(FileSource& files, Programs& programs) const override {
    if (const std::string socket = ctr(files).back(); !files.exists(socket))
      return does_not_run(kind_.name, socket);
    return images_of_ctr(programs, ctr(files));
  }
  Result<Ok> test_pull(FileSource& files, Programs& programs, const std::string& image) const override {
    const std::string socket = "unix://" + files.real("/run/k3s/containerd/containerd.sock");
    std::vector<std::string> crictl{files.real("/var/lib/rancher/rke2/bin/crictl")};
    if (kind_.name == "k3s") crictl = {"k3s", "crictl"};
    crictl.insert(crictl.end(), {"--runtime-endpoint", socket, "--image-endpoint", socket});
    auto pulled = pull_by_cri(programs, std::move(crictl), image);
    if (pulled || pulled.error().code != Errc::not_found) return pulled;
    return pull_by_ctr(programs, ctr(files), files.real(read_k3s_flags(files, kind_).hosts_folder), image);
  }
  Result<Text> without_layerd(const std::string& path, const std::string& text,
                              const std::string& url) const override {
    if (path.ends_with("/hosts.toml")) {
      auto hosts = read_hosts(path, text);
      // Made anew by k3s: its next start does so again, from a registries.yaml without layerd.
      if (hosts && hosts->is_generated && text.find("# layerd begin") == std::string::npos) return Text(text);
      return setup::without_layerd(path, text, url);
    }
    // Left behind, the flag would close every registry that registries.yaml names.
    if (path.ends_with(kind_.config))
      return Text(without_top_line(text, "disable-default-registry-endpoint: true"));
    auto without = without_item(path, text, "mirrors", "endpoint", url);
    return without ? Result<Text>(Text(std::move(*without))) : std::move(without).error();
  }

 private:
  std::vector<std::string> ctr(FileSource& files) const {
    const std::string socket = files.real("/run/k3s/containerd/containerd.sock");
    if (kind_.name == "k3s") return {"k3s", "ctr", "--address", socket};
    return {files.real("/var/lib/rancher/rke2/bin/ctr"), "--address", socket};
  }
  K3sKind kind_;
};

class Containers final : public Runtime {
 public:
  explicit Containers(std::string name) : name_(std::move(name)) {}
  std::string name() const override { return name_ == "crio" ? "CRI-O" : name_; }
  std::string found(FileSource& files) const override {
    if (name_ == "crio")
      return first_there(files, {"/etc/crio", "/etc/crio/crio.conf", "/var/run/crio", "/usr/bin/crio",
                                 "/usr/local/bin/crio"});
    return first_there(files, {"/etc/containers/registries.conf", "/etc/containers", "/usr/bin/podman"});
  }
  Result<Plan> plan(FileSource& files, const Input& input) const override {
    auto plan = plan_containers(files, input);
    if (plan && name_ == "crio" && !plan->changes.empty())
      plan->todo.push_back("CRI-O reads registries.conf again without a restart: systemctl reload crio");
    return plan;
  }
  Images images(FileSource&, Programs& programs) const override {
    if (name_ == "podman") {
      auto lines = programs.run({"podman", "images", "--format", "{{.Repository}}:{{.Tag}}"});
      return lines ? Images(image_names(*lines)) : std::move(lines).error();
    }
    auto text = programs.run({"crictl", "images", "-o", "json"});
    if (!text) return std::move(text).error();
    auto root = parse_json(*text);
    const Json* list = root ? json_find(*root, "images") : nullptr;
    std::string lines;
    for (const auto& row : list && list->is_array() ? *list : Json::array())
      for (const auto& tag : row.value("repoTags", Json::array()))
        if (tag.is_string()) lines += tag.get<std::string>() + "\n";
    return image_names(lines);
  }
  // skopeo reads the same files and keeps nothing.
  Result<Ok> test_pull(FileSource&, Programs& programs, const std::string& image) const override {
    auto name = registry::parse_image_name(image);
    if (!name) return std::move(name).error();
    auto looked =
        programs.run({"skopeo", "inspect", "--raw", "docker://" + name->str()}, std::chrono::seconds(120));
    if (!looked && looked.error().code == Errc::not_found)
      looked = name_ == "podman"
                   ? programs.run({"podman", "pull", "--quiet", name->str()}, std::chrono::seconds(600))
                   : programs.run({"crictl", "pull", name->str()}, std::chrono::seconds(600));
    return looked ? Result<Ok>(Ok{}) : std::move(looked).error();
  }
  Result<Text> without_layerd(const std::string& path, const std::string& text,
                              const std::string& url) const override {
    return without_containers(path, text, url);
  }

 private:
  std::string name_;
};

class Docker final : public Runtime {
 public:
  std::string name() const override { return "docker"; }
  std::string found(FileSource& files) const override {
    return first_there(
        files, {"/etc/docker/daemon.json", "/etc/docker", "/usr/bin/dockerd", "/usr/local/bin/dockerd"});
  }
  Result<Plan> plan(FileSource& files, const Input& input) const override {
    return plan_docker(files, input);
  }
  Images images(FileSource&, Programs& programs) const override {
    auto lines = programs.run({"docker", "images", "--format", "{{.Repository}}:{{.Tag}}"});
    return lines ? Images(image_names(*lines)) : std::move(lines).error();
  }
  Result<Ok> test_pull(FileSource&, Programs& programs, const std::string& image) const override {
    auto pulled = programs.run({"docker", "pull", "--quiet", image}, std::chrono::seconds(600));
    return pulled ? Result<Ok>(Ok{}) : std::move(pulled).error();
  }
  Result<Text> without_layerd(const std::string& path, const std::string& text,
                              const std::string& url) const override {
    if (path.ends_with("/hosts.toml")) return setup::without_layerd(path, text, url);
    auto without = without_docker_mirror(path, text, url);
    return without ? Result<Text>(Text(std::move(*without))) : std::move(without).error();
  }
};

}  // namespace

const std::vector<std::string>& runtime_names() {
  static const std::vector<std::string> kNames{"k3s", "rke2", "containerd", "podman", "crio", "docker"};
  return kNames;
}

std::unique_ptr<Runtime> make_runtime(const std::string& name) {
  if (name == "containerd") return std::make_unique<Containerd>();
  if (name == "k3s" || name == "rke2") return std::make_unique<K3s>(name);
  if (name == "podman" || name == "crio") return std::make_unique<Containers>(name);
  if (name == "docker") return std::make_unique<Docker>();
  return nullptr;
}

std::vector<std::string> image_names(const std::string& lines) {
  std::vector<std::string> names;
  std::set<std::string> known;
  for (auto line : registry::split(lines, '\n')) {
    const std::string name(registry::trim_all(line));
    if (name.empty() || name.starts_with("sha256:") || name.find("<none>") != std::string::npos) continue;
    if (registry::parse_image_name(name) && known.insert(name).second) names.push_back(name);
  }
  return names;
}

}  // namespace layerd::daemon::setup
