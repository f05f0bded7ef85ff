#include "daemon/setup/containers.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "daemon/setup/hosts_toml.h"
#include "daemon/setup/toml.h"
#include "proxy/registry/docker_config.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/reference.h"

namespace layerd::daemon::setup {
namespace {

constexpr const char* kMain = "/etc/containers/registries.conf";
constexpr const char* kFolder = "/etc/containers/registries.conf.d";
constexpr const char* kOurs = "zz-layerd.conf";  // the last one of a prefix counts
constexpr const char* kHead =
    "# Written by `layerd setup podman` or `layerd setup crio`, which share it; it goes with the --undo of "
    "the last.\n"
    "# What is changed here by hand is lost; other files of this folder are read and kept.\n";

struct MirrorOf {
  std::string location, pull;
  bool insecure = false;
};
// One [[registry]].
struct RegistryTable {
  std::string prefix, location, file;
  bool insecure = false, blocked = false, by_digest_only = false;
  std::vector<MirrorOf> mirrors;
};

RegistryTable table_of(const TomlValue& value, const std::string& file) {
  RegistryTable table;
  table.file = file;
  table.location = value.text_at("location");
  table.prefix = value.text_at("prefix");
  if (table.prefix.empty()) table.prefix = table.location;
  if (table.location.empty() && !table.prefix.starts_with("*")) table.location = table.prefix;
  table.insecure = value.true_at("insecure");
  table.blocked = value.true_at("blocked");
  table.by_digest_only = value.true_at("mirror-by-digest-only");
  if (const TomlValue* mirrors = value.find("mirror"))
    for (const auto& each : mirrors->items)
      table.mirrors.push_back(
          {each.text_at("location"), each.text_at("pull-from-mirror"), each.true_at("insecure")});
  return table;
}

std::string host_of(const std::string& location) { return location.substr(0, location.find('/')); }

// Has the host of `location` a port? Then no image's path can name it.
bool has_port(const std::string& location) {
  const auto name = registry::parse_registry_name(host_of(location));
  return !name || name->port.has_value();
}

class ContainersPlanner {
 public:
  ContainersPlanner(FileSource& files, const Input& input)
      : files_(files), input_(input), authority_(authority_of(input.url)) {}

  Result<Plan> run() {
    if (auto done = read_all(); !done) return std::move(done).error();
    copy_certificates();
    copy_logins();
    std::vector<std::string> more;
    for (const auto& [prefix, table] : tables_)
      if (prefix.find_first_of("/*") == std::string::npos) more.push_back(prefix);
    FileChange change;
    change.path = files_.real(std::string(kFolder) + "/" + kOurs);
    change.before = files_.read(std::string(kFolder) + "/" + kOurs);
    read_ours(change.before.value_or(""), more);
    std::string out = kHead;
    for (const auto& host : hosts_to_name(input_, more))
      if (!tables_.contains(host)) tables_.emplace(host, own_table(host));
    for (const auto& [prefix, table] : tables_) out += text_for(table);
    change.after = std::move(out);
    change.what = fmt::format("layerd is the first mirror of {} registries", plan_.hosts.size());
    if (auto taken = find_later(); !taken.empty())
      return {Errc::config,
              fmt::format("{} comes after {} and takes its place; rename it so that it sorts before", taken,
                          change.path)};
    add_change(plan_, std::move(change));
    say_limits();
    return std::move(plan_);
  }

 private:
  static RegistryTable own_table(const std::string& host) {
    RegistryTable table;
    table.prefix = table.location = host;
    return table;
  }
  bool closes(const std::string& host) const {
    return !input_.keep_fallback || closed_.contains(host) ||
           std::find(input_.closed_hosts.begin(), input_.closed_hosts.end(), host) !=
               input_.closed_hosts.end();
  }

  Result<Ok> read_one(const std::string& path) {
    const auto text = files_.read(path);
    auto root = text ? parse_toml(files_.real(path), *text) : Result<TomlValue>(TomlValue{});
    if (!root) return std::move(root).error();
    if (root->find({"registries", "search"}) || root->find({"registries", "insecure"}))
      return {Errc::config,
              fmt::format("{} is written in the old form ([registries.search]); write [[registry]] tables "
                          "instead, the old form cannot name a mirror",
                          files_.real(path))};
    const TomlValue* list = root->find("registry");
    for (const auto& value : list ? list->items : std::vector<TomlValue>{})
      if (auto table = table_of(value, path); !table.prefix.empty()) tables_[table.prefix] = std::move(table);
    return Ok{};
  }

  Result<Ok> read_all() {
    if (auto done = read_one(kMain); !done) return done;
    for (const auto& name : files_.list(kFolder))
      if (name.ends_with(".conf") && name != kOurs)
        if (auto done = read_one(std::string(kFolder) + "/" + name); !done) return done;
    return Ok{};
  }

  // What an earlier run wrote, for this tool or the other: its registries stay, and so does what it closed.
  void read_ours(const std::string& text, std::vector<std::string>& hosts) {
    const auto root = parse_toml(kOurs, text);
    const TomlValue* list = root ? root->find("registry") : nullptr;
    for (const auto& value : list ? list->items : std::vector<TomlValue>{}) {
      const RegistryTable table = table_of(value, "");
      const bool is_plain = table.prefix.find_first_of("/*") == std::string::npos;
      if (is_plain && registry::parse_registry_name(table.prefix)) hosts.push_back(table.prefix);
      if (table.location.starts_with(authority_ + "/")) closed_.insert(table.prefix);
    }
  }

  std::string find_later() const {
    for (const auto& [prefix, table] : tables_)
      if (!table.file.empty() && table.file.substr(table.file.rfind('/') + 1) > kOurs)
        return files_.real(table.file);
    return {};
  }

  std::string text_for(const RegistryTable& table) {
    if (table.blocked) return {};
    if (host_of(table.location) == authority_ || host_of(table.prefix) == authority_) return {};
    if (table.prefix.starts_with("*")) {
      plan_.notes.push_back(
          fmt::format("{}: layerd cannot stand before the pattern {}: a mirror has to name one registry. Add "
                      "a [[registry]] table for each that it means",
                      files_.real(table.file), table.prefix));
      return {};
    }
    if (has_port(table.location)) {
      plan_.notes.push_back(
          fmt::format("{} has a port, which cannot stand in the path of an image; podman and CRI-O go on "
                      "asking it themselves. Give it a name without a port in layerd's configuration (an "
                      "alias or a mirror) to pull it by that",
                      table.location));
      return {};
    }
    if (table.prefix.find('/') == std::string::npos) plan_.hosts.push_back(table.prefix);
    copy_mirrors(table);
    const std::string ours = authority_ + "/" + table.location;
    const bool close = closes(table.prefix);
    std::string out = fmt::format("\n[[registry]]\nprefix = {}\nlocation = {}\n", toml_quoted(table.prefix),
                                  toml_quoted(close ? ours : table.location));
    if (close || table.insecure) out += "insecure = true\n";
    if (table.by_digest_only && !close) out += "mirror-by-digest-only = true\n";
    if (close) return out;
    out += fmt::format("[[registry.mirror]]\nlocation = {}\ninsecure = true\n", toml_quoted(ours));
    for (const auto& mirror : table.mirrors) {
      if (mirror.location.starts_with(authority_ + "/")) continue;
      out += fmt::format("[[registry.mirror]]\nlocation = {}\n", toml_quoted(mirror.location));
      if (mirror.insecure) out += "insecure = true\n";
      if (!mirror.pull.empty()) out += fmt::format("pull-from-mirror = {}\n", toml_quoted(mirror.pull));
    }
    return out;
  }

  // https://host/v2/rest of "host/rest".
  static std::string url_of(const std::string& location) {
    const auto slash = location.find('/');
    return "https://" + host_of(location) +
           (slash == std::string::npos ? "" : "/v2" + location.substr(slash));
  }

  void note_insecure(const std::string& location) {
    plan_.copied.configs[host_of(location)].skip_verify = true;
    plan_.notes.push_back(
        fmt::format("{} is insecure: layerd takes any certificate there, but does not try http as podman "
                    "does; for a registry without TLS write mirrors: {{{}: {{endpoint: "
                    "[\"http://{}\"]}}}} into layerd's configuration",
                    location, host_of(location), host_of(location)));
  }

  void copy_mirrors(const RegistryTable& table) {
    if (table.insecure) note_insecure(table.location);
    if (table.location.find('/') != std::string::npos) return;  // mirrors of a part cannot be named in layerd
    CopiedMirror copied;
    for (const auto& mirror : table.mirrors) {
      if (mirror.location.starts_with(authority_ + "/") || !registry::parse_endpoint(url_of(mirror.location)))
        continue;
      copied.endpoints.push_back(url_of(mirror.location));
      if (mirror.insecure) note_insecure(mirror.location);
    }
    if (!copied.endpoints.empty()) plan_.copied.mirrors.emplace(table.location, std::move(copied));
  }

  void copy_certificates() {
    for (const char* folder : {"/etc/containers/certs.d", "/etc/docker/certs.d"})
      for (const auto& name : files_.list(folder)) {
        const auto host = registry::parse_registry_name(name);
        if (!host) continue;
        HostsFile alone;
        const std::string place = files_.real(std::string(folder) + "/" + name);
        alone.server = certificates_of(files_.list(std::string(folder) + "/" + name));
        copy_hosts(alone, place, place, host->text, input_.url, plan_.copied, plan_.notes, plan_.secrets);
      }
  }

  void copy_logins() {
    for (const char* path :
         {"/run/containers/0/auth.json", "/root/.config/containers/auth.json", "/root/.docker/config.json"}) {
      const auto text = files_.read(path);
      auto config = text ? registry::parse_docker_config(*text, files_.real(path))
                         : Result<registry::DockerConfig>(registry::DockerConfig{});
      if (!config) {
        plan_.notes.push_back(config.error().message);
        continue;
      }
      for (const auto& auth : config->auths) {
        const auto name = registry::parse_registry_name(auth.key);
        if (!auth.flaw.empty() || !name) {
          plan_.notes.push_back(
              fmt::format("{}: the login of {} is not copied: {}", files_.real(path), auth.key,
                          auth.flaw.empty() ? "it is for a part of a registry; layerd takes the file "
                                              "itself under credentials.docker_config"
                                            : auth.flaw));
          continue;
        }
        CopiedHost& host = plan_.copied.configs[name->text];
        if (!host.username.empty() || !host.identity_token.empty()) continue;  // the earlier file counts
        host.username = auth.credentials.username;
        host.password = auth.credentials.password;
        host.identity_token = auth.credentials.identity_token;
        host.token = auth.credentials.registry_token;
      }
      if (!config->store.empty() || !config->helpers.empty())
        plan_.notes.push_back(
            fmt::format("{} names credential helpers: name them under credentials.helpers in layerd's "
                        "configuration",
                        files_.real(path)));
    }
  }

  void say_limits() {
    plan_.notes.push_back(
        "podman, CRI-O and skopeo send credentials only to who asks for them at /v2/: images that need a "
        "user's own login go through layerd only with access.challenge_ping: true; without it they are "
        "asked for at the registry itself");
    plan_.notes.push_back(
        "registries without a table are not asked for at layerd: run setup again when the node has images of "
        "new ones");
  }

  FileSource& files_;
  const Input& input_;
  const std::string authority_;
  std::map<std::string, RegistryTable> tables_;  // by prefix; the last file's counts
  std::set<std::string> closed_;                 // prefixes that nobody but layerd answers for since earlier
  Plan plan_;
};

}  // namespace

Result<Plan> plan_containers(FileSource& files, const Input& input) {
  return ContainersPlanner(files, input).run();
}

Result<std::optional<std::string>> without_containers(const std::string& file, const std::string& text,
                                                      const std::string& url) {
  if (text.starts_with(kWritten)) return std::optional<std::string>();
  if (text.find(authority_of(url) + "/") == std::string::npos) return std::optional<std::string>(text);
  return {Errc::config,
          fmt::format("{} was changed since `layerd setup` wrote it; take {} out of it by hand", file, url)};
}

}  // namespace layerd::daemon::setup
