// read_k3s_flags of k3s.h.
#include <fmt/core.h>

#include "daemon/config_values.h"
#include "daemon/setup/k3s.h"
#include "daemon/setup/yaml_edit.h"

namespace layerd::daemon::setup {
namespace {

// The word behind --flag in a unit's command line: "--flag x", "--flag=x", '--flag' \ 'x'. A flag that stands
// alone is "true".
std::string flag_of(const std::string& unit, const std::string& flag) {
  const std::size_t at = unit.find("--" + flag);
  if (at == std::string::npos) return {};
  std::size_t from = at + flag.size() + 2;
  if (from < unit.size() && (std::isalnum(static_cast<unsigned char>(unit[from])) || unit[from] == '-'))
    return {};
  const bool has_equals = from < unit.size() && unit[from] == '=';
  from = unit.find_first_not_of(" \t\r\n\\'\"=", from);
  if (from == std::string::npos) return "true";
  const std::string word = unit.substr(from, unit.find_first_of(" \t\r\n\\'\"", from) - from);
  return !has_equals && word.starts_with("-") ? "true" : word;
}

struct Values {
  std::string registries, data;
  bool embedded = false, closes = false;
};

void take_values(const YamlNode& root, Values& values) {
  const auto text = [&](const char* key) {
    const YamlNode* node = root.find(key);
    return node && node->kind == YamlNode::Kind::scalar ? node->scalar : std::string();
  };
  const auto is_on = [&](const char* key) {
    auto value = parse_bool(text(key));
    return value && *value;
  };
  if (auto path = text("private-registry"); !path.empty()) values.registries = path;
  if (auto path = text("data-dir"); !path.empty()) values.data = path;
  values.embedded |= is_on("embedded-registry");
  values.closes |= is_on("disable-default-registry-endpoint");
}

}  // namespace

K3sFlags read_k3s_flags(FileSource& files, const K3sKind& kind) {
  K3sFlags flags;
  Values values;
  std::vector<std::string> configs{kind.config};
  for (const auto& name : files.list(kind.config + ".d"))
    if (name.ends_with(".yaml") || name.ends_with(".yml")) configs.push_back(kind.config + ".d/" + name);
  for (const auto& path : configs)
    if (const auto text = files.read(path)) {
      auto root = read_yaml(files.real(path), *text);
      if (root)
        take_values(*root, values);
      else
        flags.problems.push_back(root.error().message);
    }
  for (const char* folder :
       {"/etc/systemd/system/", "/usr/lib/systemd/system/", "/usr/local/lib/systemd/system/"})
    for (const char* role : {"", "-server", "-agent"})
      if (const auto unit = files.read(folder + kind.name + role + ".service")) {
        if (auto path = flag_of(*unit, "private-registry"); !path.empty()) values.registries = path;
        if (auto path = flag_of(*unit, "data-dir"); !path.empty()) values.data = path;
        values.embedded |= flag_of(*unit, "embedded-registry") == "true";
        values.closes |= flag_of(*unit, "disable-default-registry-endpoint") == "true";
      }
  flags.registries = values.registries.empty() ? kind.registries : files.usual(values.registries);
  const std::string agent = values.data.empty() ? kind.agent : files.usual(values.data) + "/agent";
  flags.hosts_folder = agent + "/etc/containerd/certs.d";
  flags.embedded = values.embedded;
  flags.closes_default = values.closes;
  return flags;
}

}  // namespace layerd::daemon::setup
