#include "daemon/setup/own_config.h"

#include <fmt/core.h>

#include "daemon/config.h"
#include "daemon/setup/yaml_edit.h"
#include "proxy/registry/text.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kHead =
    "Written by `layerd setup`: what the node's runtimes were configured with, so that layerd knows it as "
    "well.\n"
    "The next setup writes it anew. What config.yaml says of a registry wins.";

// config.yaml says it already: what is there wins anyway, and layerd would warn at each start.
void drop_known(Copied& copied, const YamlNode& root, const std::string& file,
                std::vector<std::string>& notes) {
  std::vector<std::string> unread;
  Copied own = read_copied(file, root, unread);
  for (auto& [key, mirror] : own.mirrors)
    if (const auto found = copied.mirrors.find(key); found != copied.mirrors.end()) {
      if (!(found->second == mirror))
        notes.push_back(fmt::format("{} has mirrors.\"{}\" already and wins over what was found", file, key));
      copied.mirrors.erase(found);
    }
  const YamlNode* configs = root.find("configs");
  for (const auto& entry : configs ? configs->entries : std::vector<YamlEntry>{})
    if (const auto found = copied.configs.find(entry.key.scalar); found != copied.configs.end()) {
      notes.push_back(
          fmt::format("{} has configs.\"{}\" already and wins over what was found", file, found->first));
      copied.configs.erase(found);
    }
}

// The same for one host and role whenever setup runs, and different for any other: a port is "_5000", a
// character that no file name should have "_5b"; the two never look alike.
std::string copy_name(const std::string& host, const char* role) {
  const auto colon = host.rfind(':');
  const bool has_port = colon != std::string::npos && colon + 1 < host.size() &&
                        host.find_first_not_of("0123456789", colon + 1) == std::string::npos &&
                        (host.find(':') == colon || host[colon - 1] == ']');
  std::string name;
  for (std::size_t i = 0; i < host.size(); ++i) {
    const char c = host[i];
    if (has_port && i == colon)
      name += '_';
    else if (registry::is_alnum(c) || c == '.' || c == '-')
      name += c;
    else
      name += fmt::format("_{:02x}", static_cast<unsigned char>(c));
  }
  return name + "-" + role;
}

Result<Ok> check_outcome(const OwnFiles& files, const std::string& config, const std::string& registries) {
  const ReadText read = [&](const std::string& path) -> Result<std::string> {
    if (path == files.registries) return registries;
    return Error{Errc::not_found, "cannot open " + path};
  };
  const auto loaded = parse_config(files.config, config, read, {.must_exist = true, .check_files = false});
  if (loaded.ok()) return Ok{};
  return {Errc::config,
          "layerd's configuration would be refused with what was found: " + loaded.errors.front().str()};
}

}  // namespace

std::string registries_text_of(const Copied& copied) { return copied_text(copied, kHead); }

Result<std::vector<FileChange>> plan_own_files(const OwnFiles& files,
                                               const std::vector<std::pair<std::string, Copied>>& all,
                                               std::vector<std::string>& notes) {
  Copied copied;
  for (const auto& [runtime, more] : all) merge_copied(copied, more, runtime, notes);
  drop_endpoint(copied, files.url);
  const std::string config = files.config_text.value_or("");
  auto root = read_yaml(files.config, config);
  if (!root) return std::move(root).error();
  drop_known(copied, *root, files.config, notes);
  const YamlNode* named = root->find("registries_file");
  const std::string other = named && named->kind == YamlNode::Kind::scalar ? named->scalar : std::string();
  std::vector<FileChange> changes;
  if (copied.empty() && !files.registries_text) return changes;
  if (!other.empty() && other == files.runtimes_own) {
    notes.push_back(
        fmt::format("layerd reads {} itself (registries_file), so nothing is copied from it", other));
    return changes;
  }
  if (!other.empty() && other != files.registries)
    return {
        Errc::config,
        fmt::format("{}:{}: registries_file is {} already, and setup has to add what it found in a file of "
                    "its own. Move the entries of that file into config.yaml, which takes mirrors and "
                    "configs as they are, take the line out and run setup again",
                    files.config, named->line, other)};
  FileChange registries;
  registries.path = files.registries;
  registries.before = files.registries_text;
  registries.after = registries_text_of(copied);
  registries.mode = 0600;
  registries.folder_mode = 0755;
  registries.for_daemon = true;
  registries.owner = files.daemon_owner;
  registries.what =
      fmt::format("layerd knows what the runtime was configured with: {} mirrors, {} hosts with login or TLS",
                  copied.mirrors.size(), copied.configs.size());
  std::string config_after = config;
  if (other.empty()) {
    if (!files.config_text)
      config_after = "# The configuration of layerd; every key is in docs/settings.md.\n";
    auto edited = with_top_key(files.config, config_after, "registries_file", yaml_quoted(files.registries));
    if (!edited) return std::move(edited).error();
    config_after = std::move(*edited);
  }
  if (auto good = check_outcome(files, config_after, *registries.after); !good)
    return std::move(good).error();
  if (registries.before != registries.after) changes.push_back(std::move(registries));
  if (files.config_text != config_after) {
    FileChange line;
    line.path = files.config;
    line.before = files.config_text;
    line.after = config_after;
    line.folder_mode = 0755;
    line.what = "names the file with what was copied";
    changes.push_back(std::move(line));
  }
  return changes;
}

void adopt_files(Copied& copied, const std::string& folder,
                 const std::function<bool(const std::string&)>& readable,
                 const std::function<std::optional<std::string>(const std::string&)>& read,
                 const std::optional<std::pair<uid_t, gid_t>>& owner, std::vector<FileChange>& changes,
                 std::vector<std::string>& notes) {
  for (auto& [host, settings] : copied.configs)
    for (const auto& [file, role] :
         {std::pair{&settings.ca_file, "ca.crt"}, std::pair{&settings.cert_file, "client.crt"},
          std::pair{&settings.key_file, "client.key"}}) {
      if (file->empty()) continue;
      const auto text = read(*file);
      if (!text) {
        notes.push_back(fmt::format("{} names {}, which cannot be read; it is not copied", host, *file));
        file->clear();
        continue;
      }
      if (readable(*file)) continue;
      FileChange copy;
      copy.path = folder + "/" + copy_name(host, role);
      copy.before = read(copy.path);
      copy.after = *text;
      copy.mode = 0600;
      copy.folder_mode = 0755;
      copy.for_daemon = true;
      copy.owner = owner;
      copy.what = "a copy of " + *file + ", which layerd's user cannot read";
      notes.push_back(fmt::format(
          "layerd's user cannot read {}: it gets a copy, which setup writes anew when it runs again", *file));
      *file = copy.path;
      if (copy.before != copy.after) changes.push_back(std::move(copy));
    }
  for (auto& [host, settings] : copied.configs)
    if (settings.cert_file.empty() != settings.key_file.empty()) settings.cert_file = settings.key_file = "";
}

}  // namespace layerd::daemon::setup
