// A node for the tests of setup: files by their usual paths, as texts or in a folder; a daemon and
// programs that answer what the test wants.
#pragma once

#include <fmt/core.h>

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/setup/session.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {

namespace setup = daemon::setup;

using Texts = std::map<std::string, std::string>;

// Texts alone, for the planners.
class TextFiles final : public setup::FileSource {
 public:
  explicit TextFiles(std::map<std::string, std::string> texts) : texts_(std::move(texts)) {}
  std::optional<std::string> read(const std::string& path) override {
    const auto found = texts_.find(path);
    return found == texts_.end() ? std::nullopt : std::optional<std::string>(found->second);
  }
  bool exists(const std::string& path) override { return read(path) || !list(path).empty(); }
  std::vector<std::string> list(const std::string& folder) override {
    std::set<std::string> names;
    for (const auto& [path, text] : texts_)
      if (path.starts_with(folder + "/"))
        names.insert(path.substr(folder.size() + 1, path.find('/', folder.size() + 1) - folder.size() - 1));
    return {names.begin(), names.end()};
  }
  std::string real(const std::string& path) const override { return path; }
  std::string usual(const std::string& path) const override { return path; }
  // As if the plan had been carried out.
  void take(const setup::Plan& plan) {
    for (const auto& change : plan.changes) {
      if (change.after)
        texts_[change.path] = *change.after;
      else
        texts_.erase(change.path);
    }
  }

 private:
  std::map<std::string, std::string> texts_;
};

inline std::string after(const setup::Plan& plan, const std::string& path) {
  for (const auto& change : plan.changes)
    if (change.path == path) return change.after.value_or("(removed)");
  return "(unchanged)";
}

inline std::string all_notes(const setup::Plan& plan) {
  std::string out;
  for (const auto& note : plan.notes) out += note + "\n";
  for (const auto& todo : plan.todo) out += "todo: " + todo + "\n";
  return out;
}

template <class T>
T good(Result<T> result) {
  INFO((result ? "" : result.error().message));
  REQUIRE(result);
  return std::move(*result);
}

// A folder that stands for the node's /, with a configuration of layerd in it.
struct Node : setup::DaemonLink, setup::Programs {
  Node() {
    write("/etc/layerd/config.yaml", "# ours\nlisten: 127.0.0.1:5151\n");
    write("/run/containerd/containerd.sock", "");
  }

  std::string path(const std::string& usual) const { return dir.path() + usual; }
  void write(const std::string& usual, const std::string& text) { write_text(path(usual), text); }
  std::string read(const std::string& usual) const { return read_text(path(usual)); }

  // Every file below the node with its text, layerd's own record left out.
  std::map<std::string, std::string> everything() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
      const std::string name = entry.path().string().substr(dir.path().size());
      if (name.starts_with("/var/lib/layerd-setup") || name == "/var" || name == "/var/lib") continue;
      files[name] = entry.is_directory() ? "(folder)" : read_text(entry.path());
    }
    return files;
  }

  // What setup keeps for itself, but for the lock: the names of files.
  std::set<std::string> records() const {
    std::set<std::string> names;
    const std::string folder = path("/var/lib/layerd-setup");
    if (!std::filesystem::exists(folder)) return names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
      if (entry.is_regular_file() && entry.path().filename() != "lock")
        names.insert(entry.path().string().substr(folder.size() + 1));
    return names;
  }

  // DaemonLink
  Result<Json> status() override {
    if (down) return {Errc::not_found, "no layerd listens on the socket"};
    return Json{{"config", {{"file", path("/etc/layerd/config.yaml")}}},
                {"listen", {"127.0.0.1:5151"}},
                {"asked", asked}};
  }
  Result<Ok> reload() override {
    ++reloads;
    if (reloads == refuse_reload) return {Errc::config, "layerd refuses its configuration"};
    return Ok{};
  }

  // Programs
  Result<std::string> run(const std::vector<std::string>& arguments, std::chrono::seconds) override {
    std::string line;
    for (const auto& word : arguments) line += word + " ";
    ran.push_back(line);
    if (line.find("namespaces ls") != std::string::npos) return std::string("k8s.io\n");
    if (line.starts_with("crictl") && !line.ends_with("json ")) arrive();
    if (line.starts_with("crictl"))
      return cri_images.empty() ? Result<std::string>(Errc::not_found, "there is no program crictl")
                                : cri_images;
    if (line.find("images") != std::string::npos) return images;
    if (line.find("fetch-object") != std::string::npos || line.find("skopeo") != std::string::npos ||
        line.find("docker pull") != std::string::npos) {
      arrive();
      return std::string("{}");
    }
    return {Errc::not_found, "there is no program " + arguments[0]};
  }

  void arrive() {
    during_pull();
    if (!arrives) return;
    for (const char* host : {"docker.io", "ghcr.io", "registry.test"}) asked[host] = asked.value(host, 0) + 1;
  }

  setup::SessionOptions options(const std::string& runtime) const {
    setup::SessionOptions made;
    made.runtime = runtime;
    made.root = dir.path();
    made.config_path = path("/etc/layerd/config.yaml");
    auto loaded = daemon::load_config(made.config_path, {.must_exist = true, .check_files = false});
    REQUIRE(loaded.ok());
    made.settings = loaded.settings;
    return made;
  }

  Result<Ok> session(setup::SessionOptions made) {
    const auto pull = [this](const std::string&, const std::string& image) -> Result<setup::Pulled> {
      probes.push_back(image);
      during_probe();
      if (!comes_through) return {Errc::upstream_status, image + ": layerd answers 502: no route"};
      return setup::Pulled{image, 1000, "upstream"};
    };
    said.clear();
    return setup::Session(
               std::move(made), *this, *this, [this](const std::string& line) { said += line + "\n"; }, pull)
        .run();
  }

  TempDir dir{"layerd-setup"};
  std::string images = "docker.io/library/busybox:1\nghcr.io/org/app:2\nsha256:0000\n";
  std::string cri_images;
  bool down = false, arrives = true, comes_through = true;
  int reloads = 0, refuse_reload = -1;
  std::function<void()> during_probe = [] {}, during_pull = [] {};  // somebody else at work on the node
  Json asked = Json::object();
  std::vector<std::string> ran, probes;
  std::string said;
};

inline std::string message_of(const Result<Ok>& result) { return result ? "" : result.error().message; }

// The first file of ContainerdNode.
inline const std::string kHub = "/etc/containerd/certs.d/docker.io/hosts.toml";

// A containerd with a mirror of its own, so that something is copied and something extended.
struct ContainerdNode : Node {
  ContainerdNode() {
    write("/etc/containerd/config.toml",
          "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = "
          "\"/etc/containerd/certs.d\"\n");
    write(kHub,
          "# ours\n[host.\"https://harbor.corp\"]\n  [host.\"https://harbor.corp\".header]\n    "
          "Authorization = \"Basic "
          "dTpzM2NyZXQtd29yZA==\"\n");
  }
};

}  // namespace layerd::test
