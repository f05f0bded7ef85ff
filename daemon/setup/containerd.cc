#include "daemon/setup/containerd.h"

#include <fmt/core.h>

#include <algorithm>

#include "daemon/setup/containerd_old.h"
#include "daemon/setup/toml.h"
#include "proxy/registry/text.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kConfig = "/etc/containerd/config.toml";
constexpr const char* kCertificates = "/etc/containerd/certs.d";
constexpr const char* kTool = "layerd setup containerd";

// What config.toml says of registries, it and what it imports.
struct CriConfig {
  std::string config_path;
  std::string set_in;                // the file that says so, usual; empty: none does
  std::string old_ways;              // "FILE:LINE: registry.mirrors" if there are such
  std::string old_file, old_plugin;  // where
  bool no_cri = false;
};

const char* plugin_of(int version) {
  if (version >= 3) return "io.containerd.cri.v1.images";
  return version == 2 ? "io.containerd.grpc.v1.cri" : "cri";
}

int version_of(const TomlValue& root) {
  const TomlValue* version = root.find("version");
  const auto number = version ? registry::parse_digits(version->text) : std::nullopt;
  return number && *number >= 1 && *number <= 99 ? static_cast<int>(*number) : 1;
}

void copy_auth(const TomlValue& registry, const std::string& file, Plan& plan) {
  const TomlValue* configs = registry.find("configs");
  for (const auto& [host, begin, config] : configs ? configs->entries : std::vector<TomlEntry>{}) {
    const TomlValue* auth = config.find("auth");
    if (!auth) continue;
    CopiedHost& copy = plan.copied.configs[host];
    copy.username = auth->text_at("username");
    copy.password = auth->text_at("password");
    copy.identity_token = auth->text_at("identitytoken");
    const std::string both = auth->text_at("auth");
    if (auto pair = split_auth(both); pair && copy.username.empty())
      std::tie(copy.username, copy.password) = *pair;
    plan.secrets.push_back(both);
    if (copy.empty()) {
      plan.notes.push_back(fmt::format(
          "{}:{}: the auth of {} is not copied: it holds nothing that can be used", file, auth->line, host));
      plan.copied.configs.erase(host);
    }
  }
}

Result<Ok> read_config(FileSource& files, const std::string& path, int depth, CriConfig& config, Plan& plan) {
  const auto text = files.read(path);
  if (!text) return Ok{};
  auto root = parse_toml(files.real(path), *text);
  if (!root) return std::move(root).error();
  for (const char* name : {"cri", "io.containerd.grpc.v1.cri"})
    if (const auto* off = root->find("disabled_plugins"))
      for (const auto& plugin : off->texts()) config.no_cri |= plugin == name;
  // A file of version 3 may keep the names of version 2: containerd takes them over.
  for (int version : {1, 2, 3}) {
    const TomlValue* registry = root->find({"plugins", plugin_of(version), "registry"});
    if (!registry) continue;
    if (const TomlValue* value = registry->find("config_path");
        value && value->kind == TomlValue::Kind::text) {
      config.config_path = value->text;
      config.set_in = path;
    }
    copy_auth(*registry, files.real(path), plan);
    bool tls = false;
    if (const auto* configs = registry->find("configs"))
      for (const auto& entry : configs->entries) tls |= entry.value.find("tls") != nullptr;
    const TomlValue* mirrors = registry->find("mirrors");
    if ((mirrors && !mirrors->entries.empty()) || tls) {
      config.old_ways = fmt::format("{}:{}: registry.{}", files.real(path), registry->line,
                                    tls ? "configs.….tls" : "mirrors");
      config.old_file = path;
      config.old_plugin = plugin_of(version);
    }
  }
  const TomlValue* imports = root->find("imports");
  for (const auto& pattern : imports&& depth == 0 ? imports->texts() : std::vector<std::string>{}) {
    const auto slash = pattern.rfind('/');
    const std::string folder = files.usual(pattern.substr(0, slash)), leaf = pattern.substr(slash + 1);
    const auto star = leaf.find('*');
    for (const auto& name : star == std::string::npos ? std::vector{leaf} : files.list(folder))
      if (star == std::string::npos ||
          (name.starts_with(leaf.substr(0, star)) && name.ends_with(leaf.substr(star + 1))))
        if (auto done = read_config(files, folder + "/" + name, depth + 1, config, plan); !done) return done;
  }
  return Ok{};
}

// `text` with config_path = `value` in the table of the CRI plugin.
Result<std::string> with_config_path(const std::string& file, const std::optional<std::string>& text,
                                     const std::string& value) {
  const std::string line = fmt::format("config_path = {}", toml_quoted(value));
  if (!text)
    return fmt::format(
        "# Written by `{0}`; `{0} --undo` takes it away.\nversion = 2\n\n[plugins.\"{1}\".registry]\n  {2}\n",
        kTool, plugin_of(2), line);
  auto root = parse_toml(file, *text);
  if (!root) return std::move(root).error();
  std::string out = *text;
  for (int version : {3, 2, 1}) {
    const TomlValue* registry = root->find({"plugins", plugin_of(version), "registry"});
    if (!registry) continue;
    if (const TomlValue* old = registry->find("config_path")) {
      out.replace(old->begin, old->end - old->begin, toml_quoted(value));
      return out;
    }
    if (registry->has_header) {
      const bool cut = registry->body > 0 && out[registry->body - 1] != '\n';
      out.insert(registry->body, (cut ? "\n  " : "  ") + line + "\n");
      return out;
    }
  }
  if (!out.empty() && !out.ends_with('\n')) out += '\n';
  out += fmt::format("\n[plugins.\"{}\".registry]\n  {}\n", plugin_of(version_of(*root)), line);
  return out;
}

// containerd reads exactly one folder: in a list of two the transfer service reads none (protocol.md §1.7).
Result<std::string> plan_config_path(FileSource& files, const CriConfig& config, Plan& plan) {
  const auto parts = registry::split(config.config_path, ':');
  const bool one = !config.config_path.empty() && parts.size() == 1;
  if (one) return files.usual(config.config_path);
  const std::string chosen(config.config_path.empty() ? std::string_view() : parts[0]);
  const std::string folder = chosen.empty() ? kCertificates : files.usual(chosen);
  if (!config.old_ways.empty())
    return {
        Errc::config,
        fmt::format(
            "{} is containerd's old way, and containerd does not start with both that and config_path. Move "
            "these entries into hosts.toml files below {}, set config_path to that folder, and run setup "
            "again",
            config.old_ways, files.real(folder))};
  FileChange change;
  const std::string file = config.set_in.empty() ? kConfig : config.set_in;
  change.path = files.real(file);
  change.before = files.read(file);
  auto after = with_config_path(change.path, change.before, files.real(folder));
  if (!after) return std::move(after).error();
  change.after = std::move(*after);
  change.what = fmt::format("config_path is exactly one folder: {}", files.real(folder));
  if (parts.size() > 1)
    plan.notes.push_back(
        fmt::format("config_path named several folders ({}); containerd's transfer service reads none of "
                    "them then. It is {} from now on",
                    config.config_path, files.real(folder)));
  add_change(plan, std::move(change));
  plan.todo.push_back(
      "config_path is read when containerd starts: systemctl restart containerd (containers go on running)");
  return folder;
}

}  // namespace

Result<ContainerdWay> containerd_way(FileSource& files) {
  Plan unused;
  CriConfig config;
  if (auto done = read_config(files, kConfig, 0, config, unused); !done) return std::move(done).error();
  return ContainerdWay{std::move(config.config_path), std::move(config.old_file)};
}

Result<Plan> plan_containerd(FileSource& files, const Input& input) {
  Plan plan;
  CriConfig config;
  if (auto done = read_config(files, kConfig, 0, config, plan); !done) return std::move(done).error();
  if (config.config_path.empty() && !config.old_ways.empty()) {
    if (auto done = plan_old_mirrors(files, input, config.old_file, config.old_plugin, plan); !done)
      return std::move(done).error();
    return plan;
  }
  auto folder = plan_config_path(files, config, plan);
  if (!folder) return std::move(folder).error();
  if (auto note = spegel_note(files, *folder); !note.empty()) plan.notes.push_back(std::move(note));
  if (config.no_cri)
    plan.notes.push_back(
        "containerd runs without its CRI plugin here: config_path counts for nobody, and ctr and nerdctl "
        "need --hosts-dir " +
        files.real(*folder));
  else
    plan.notes.push_back("ctr does not read config_path: give it --hosts-dir " + files.real(*folder));
  if (auto done = plan_hosts_folder(files, input, {*folder, kTool}, plan); !done)
    return std::move(done).error();
  return plan;
}

}  // namespace layerd::daemon::setup
