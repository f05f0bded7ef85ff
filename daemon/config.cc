#include "daemon/config.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "daemon/config_aliases.h"
#include "daemon/config_contradictions.h"
#include "daemon/config_dns.h"
#include "daemon/config_peers.h"
#include "daemon/config_proxy.h"
#include "daemon/config_registries.h"
#include "daemon/peer_files.h"
#include "daemon/settings_table.h"
#include "runtime/guarded_file.h"

namespace layerd::daemon {

namespace {

// How many entries of `configs` have their secret in the file itself.
std::size_t secrets_in(const registry::RulesInput& rules) {
  return static_cast<std::size_t>(
      std::count_if(rules.configs.begin(), rules.configs.end(), [](const auto& entry) {
        const auto& settings = *entry.second;
        return (!settings.credentials.password.empty() && settings.password_file.empty()) ||
               !settings.credentials.identity_token.empty() || !settings.credentials.registry_token.empty();
      }));
}

// Does the configuration file itself hold secrets? Before the registries file and the environment are read.
bool holds_secret(const Settings& settings) {
  const auto in_url = [](const std::optional<net::Proxy>& proxy) {
    return proxy && !proxy->password.empty();
  };
  return secrets_in(settings.rules) > 0 || in_url(settings.proxy.http) || in_url(settings.proxy.https) ||
         std::any_of(settings.credentials.helpers.begin(), settings.credentials.helpers.end(),
                     [](const auto& helper) { return !helper.environment.empty(); });
}

// `configs` counts before the older `auths`, wherever they stand in the file.
YamlNode with_auths_last(YamlNode root) {
  std::stable_partition(root.entries.begin(), root.entries.end(),
                        [](const auto& entry) { return entry.key.scalar != "auths"; });
  return root;
}

// A key of registries.yaml that is none of k3s's three is read over there, and so it is here.
void read_registries(const YamlNode& root, Settings& settings, ConfigReader& reader) {
  static const std::vector<Key<Settings>> kKeys = [] {
    std::vector<Key<Settings>> keys;
    for (const auto& key : settings_keys())
      if (std::string_view path = key.path; path == "mirrors" || path == "configs" || path == "auths")
        keys.push_back(key);
    return keys;
  }();
  read_map(root, kKeys, settings, reader, UnknownKey::is_warning);
}

void add_files(const Settings& settings, std::vector<std::string>& files) {
  for (const auto& [host, entry] : settings.rules.configs)
    for (const std::string* name :
         {&entry->password_file, &entry->ca_file, &entry->cert_file, &entry->key_file})
      if (!name->empty()) files.push_back(*name);
  if (!settings.proxy.password_file.empty()) files.push_back(settings.proxy.password_file);
  for (const auto& name : settings.credentials.docker_configs) files.push_back(name);
  for (const std::string* name : peer_files(settings.peers))
    if (!name->empty()) files.push_back(*name);
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
}

void read_second_file(const std::string& path, const YamlNode& at, const ReadText& read, LoadOptions options,
                      Settings& settings, LoadedConfig& loaded) {
  auto text = read(path);
  if (!text) {
    loaded.errors.push_back(
        {loaded.sources.config_path, at.line, at.column, "registries_file: " + text.error().message});
    return;
  }
  loaded.sources.registries_path = path;
  loaded.sources.registries_text = *text;
  loaded.files.push_back(path);
  const YamlNode root = with_auths_last(parse_yaml(path, *text, loaded.errors));
  ConfigReader reader(path, options.check_files, loaded.warnings, loaded.errors);
  const auto secrets_before = secrets_in(settings.rules);
  read_registries(root, settings, reader);
  if (secrets_in(settings.rules) > secrets_before) loaded.secret_files.push_back(path);
  warn_of_mirrors_behind_aliases(root, settings.rules, reader);
  warn_of_contradictions(root, settings.rules, settings.access, reader);
}

void warn_of_open_file(const std::string& path, std::vector<Problem>& warnings) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || (info.st_mode & (S_IROTH | S_IWOTH)) == 0) return;
  warnings.push_back(
      {path, 0, 0,
       "every user can read this file and it may hold a password; take that away with chmod o= " + path});
}

}  // namespace

LoadedConfig parse_config(std::string path, std::string text, const ReadText& read, LoadOptions options) {
  LoadedConfig loaded;
  loaded.sources.config_path = path;
  loaded.sources.config_text = text;
  if (!path.empty()) loaded.files.push_back(path);
  Settings settings;
  const YamlNode root = with_auths_last(parse_yaml(path, text, loaded.errors));
  ConfigReader reader(path, options.check_files, loaded.warnings, loaded.errors);
  read_map(root, settings_keys(), settings, reader, UnknownKey::is_error, "", later_key_message);
  warn_of_mirrors_behind_aliases(root, settings.rules, reader);
  warn_of_contradictions(root, settings.rules, settings.access, reader);
  warn_of_proxy(root, settings.proxy, reader);
  if (!path.empty() && holds_secret(settings)) loaded.secret_files.push_back(path);
  if (!settings.proxy.password_file.empty()) loaded.stamps.push_back(settings.proxy.password_stamp);
  add_dns_names(settings.dns, settings.rules);
  finish_peers(root, settings.peers, read, options, reader);
  if (!settings.registries_file.empty())
    read_second_file(settings.registries_file, *root.find("registries_file"), read, options, settings,
                     loaded);
  if (options.environment) add_environment(options.environment, settings.proxy, loaded.warnings);
  if (!loaded.ok()) return loaded;
  auto rules = registry::Rules::make(settings.rules);
  if (!rules) {
    loaded.errors.push_back({path, 0, 0, rules.error().message});
    return loaded;
  }
  settings.compiled_rules = std::move(*rules);
  add_files(settings, loaded.files);
  loaded.settings = std::make_shared<const Settings>(std::move(settings));
  return loaded;
}

LoadedConfig load_config(const std::string& path, const ReadText& read, LoadOptions options) {
  auto text = read(path);
  LoadedConfig loaded;
  if (text) {
    loaded = parse_config(path, std::move(*text), read, options);
    for (const auto& file : loaded.secret_files) warn_of_open_file(file, loaded.warnings);
  } else if (!options.must_exist && text.error().sys_errno == ENOENT) {
    loaded = parse_config("", "", read, options);
    loaded.files.push_back(path);
  } else {
    loaded.sources.config_path = path;
    loaded.errors.push_back({path, 0, 0, text.error().message});
  }
  return loaded;
}

LoadedConfig load_config(const std::string& path, LoadOptions options) {
  std::vector<net::FileStamp> stamps;
  const ReadText read = [&stamps](const std::string& name) {
    stamps.push_back(net::FileStamp::of(name));
    return read_guarded(name, kMostConfigBytes);
  };
  LoadedConfig loaded = load_config(path, read, options);
  loaded.stamps.insert(loaded.stamps.end(), stamps.begin(), stamps.end());
  return loaded;
}

}  // namespace layerd::daemon
