#include "daemon/setup/k3s.h"

#include <fmt/core.h>

#include <algorithm>

#include "daemon/setup/containerd.h"
#include "daemon/setup/files.h"
#include "daemon/setup/yaml_edit.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/reference.h"
#include "runtime/log.h"

namespace layerd::daemon::setup {
namespace {

bool is_in(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// One plan in the making.
class K3sPlanner {
 public:
  K3sPlanner(FileSource& files, const Input& input, const K3sKind& kind)
      : files_(files), input_(input), kind_(kind), flags_(read_k3s_flags(files, kind)) {}

  Result<Plan> run() {
    if (!flags_.problems.empty()) return {Errc::config, flags_.problems.front()};
    path_ = files_.real(flags_.registries);
    before_ = files_.read(flags_.registries);
    text_ = before_.value_or("");
    auto root = read_yaml(path_, text_);
    if (!root) return std::move(root).error();
    root_ = std::move(*root);
    found_ = read_copied(path_, root_, plan_.notes);
    plan_.secrets = secrets_of(found_);
    const bool rewrites = std::any_of(found_.mirrors.begin(), found_.mirrors.end(),
                                      [](const auto& entry) { return !entry.second.rewrite.empty(); });
    if (!rewrites) plan_.registries_file = path_;
    name_hosts();
    say_what_spegel_means();
    say_what_a_template_lacks();
    say_which_files_are_missing();
    copy();
    for (const auto& host : to_write_)
      if (auto done = point(host); !done) return std::move(done).error();
    if (auto done = close_default(); !done) return std::move(done).error();
    finish();
    if (auto done = live_files(); !done) return std::move(done).error();
    return std::move(plan_);
  }

 private:
  bool closes(const std::string& host) const {
    return !input_.keep_fallback || is_in(input_.closed_hosts, host);
  }
  bool needs_flag() const { return !input_.keep_fallback || !input_.closed_hosts.empty(); }
  // The flag takes the own address from every registry under `mirrors`, from those under "*" as well, and
  // k3s has no word to give it back: the default entry is written past k3s then.
  bool default_past_k3s() const {
    return input_.keep_fallback && needs_flag() && !found_.mirrors.contains("*");
  }

  // The key as it is written in the file.
  std::string key_of(const std::string& host) const {
    const YamlNode* mirrors = root_.find("mirrors");
    for (const auto& entry : mirrors ? mirrors->entries : std::vector<YamlEntry>{}) {
      const auto name = registry::parse_registry_name(entry.key.scalar);
      if (entry.key.scalar == host || (name && name->text == host)) return entry.key.scalar;
    }
    return host;
  }
  const CopiedMirror* mirror_of(const std::string& host) const {
    const auto found = found_.mirrors.find(key_of(host));
    return found == found_.mirrors.end() ? nullptr : &found->second;
  }

  void name_hosts() {
    std::vector<std::string> more;
    for (const auto& [key, mirror] : found_.mirrors) more.push_back(key);
    for (const auto& [key, config] : found_.configs) more.push_back(key);
    for (const auto& host : hosts_to_name(input_, more)) {
      const CopiedMirror* mirror = mirror_of(host);
      if (mirror && !mirror->rewrite.empty() && mirror->endpoints.empty()) {
        plan_.notes.push_back(
            fmt::format("{}: mirrors.\"{}\" has a rewrite and no endpoint, so k3s does nothing with it; "
                        "layerd would be asked by the rewritten name. It is left as it is",
                        path_, host));
        continue;
      }
      plan_.hosts.push_back(host);
    }
    to_write_ = plan_.hosts;
    if (!default_past_k3s()) to_write_.push_back("*");
  }

  void say_what_spegel_means() {
    if (!flags_.embedded) return;
    plan_.notes.push_back(
        fmt::format("{0} has embedded-registry on (Spegel). {0} puts it before every endpoint of "
                    "registries.yaml, so layerd is asked second: a miss of Spegel costs up to 5 s for each "
                    "request, it gives images to other nodes without asking the registry whether they may "
                    "have them, and what it serves layerd neither keeps nor counts. With layerd alone, set "
                    "embedded-registry: false on the servers",
                    kind_.name));
  }

  // containerd's configuration is made from it: without config_path nothing of registries.yaml counts.
  void say_what_a_template_lacks() {
    const std::string agent = folder_above(flags_.hosts_folder);
    for (const char* name : {"/config.toml.tmpl", "/config-v3.toml.tmpl"}) {
      const auto text = files_.read(agent + name);
      if (!text || text->find("config_path") != std::string::npos ||
          text->find("template \"base\"") != std::string::npos)
        continue;
      plan_.notes.push_back(fmt::format(
          "{0} takes the place of {1}'s own template and sets no config_path, so containerd reads "
          "no hosts.toml and asks neither layerd nor any other mirror. Begin it with {{{{ template "
          "\"base\" . }}}}, or add config_path = \"{2}\" to its table of the registry, and restart {1}",
          files_.real(agent + name), kind_.name, files_.real(flags_.hosts_folder)));
    }
  }

  // k3s writes them into hosts.toml, and containerd fails every pull by one that is not there.
  void say_which_files_are_missing() {
    for (const auto& [host, config] : found_.configs)
      for (const auto& file : {config.ca_file, config.cert_file, config.key_file})
        if (!file.empty() && !files_.exists(files_.usual(file)))
          plan_.notes.push_back(
              fmt::format("{}: configs.\"{}\" names {}, which is not there: containerd fails every pull from "
                          "{} because of that. Put the file there or take its name out",
                          path_, host, printable(file, 200), host));
  }

  // k3s rewrites names for every endpoint, layerd as well: what arrives is rewritten already.
  void copy() {
    plan_.copied = found_;
    for (auto& [key, mirror] : plan_.copied.mirrors) {
      if (mirror.rewrite.empty()) continue;
      mirror.rewrite.clear();
      mirror.default_endpoint = false;
      plan_.notes.push_back(
          fmt::format("{}: {} rewrites names of \"{}\" itself, for layerd too; layerd asks the same "
                      "endpoints by the names that arrive, and refuses what they do not have, so that {} "
                      "goes on with the name as it was",
                      path_, kind_.name, key, kind_.name));
    }
    drop_endpoint(plan_.copied, input_.url);
  }

  Result<Ok> point(const std::string& host) {
    const CopiedMirror* mirror = mirror_of(host);
    if (mirror && std::any_of(mirror->endpoints.begin(), mirror->endpoints.end(),
                              [&](const std::string& url) { return same_endpoint(url, input_.url); }))
      return Ok{};
    auto edited = with_first_item(path_, text_, {"mirrors", key_of(host), "endpoint"}, input_.url);
    if (!edited) return std::move(edited).error();
    text_ = std::move(*edited);
    return Ok{};
  }

  Result<Ok> close_default() {
    if (!needs_flag()) return Ok{};
    for (const auto& host : plan_.hosts) {
      if (closes(host) && found_.configs.contains(host))
        plan_.notes.push_back(
            fmt::format("{}: {} keeps asking {} itself when layerd refuses, in spite of "
                        "--disable-default-registry-endpoint, because configs has an entry for it. layerd "
                        "has that entry now: take it out of this file to close the way",
                        path_, kind_.name, host));
      if (closes(host) || found_.configs.contains(host)) continue;
      if (auto done = keep_open(host); !done) return done;
    }
    return flags_.closes_default ? Result<Ok>(Ok{}) : set_flag();
  }

  // The registry's own address as an endpoint, since the flag takes it away.
  Result<Ok> keep_open(const std::string& host) {
    const auto name = registry::parse_registry_name(host);
    if (!name || flags_.closes_default) return Ok{};
    auto url = registry::default_endpoint_of(*name);
    url.path.clear();
    const CopiedMirror* mirror = mirror_of(host);
    if (mirror && std::any_of(mirror->endpoints.begin(), mirror->endpoints.end(),
                              [&](const std::string& each) { return same_endpoint(each, url.str()); }))
      return Ok{};
    auto edited = with_last_item(path_, text_, {"mirrors", key_of(host), "endpoint"}, url.str());
    if (!edited) return std::move(edited).error();
    text_ = std::move(*edited);
    return Ok{};
  }

  Result<Ok> set_flag() {
    FileChange change;
    change.path = files_.real(kind_.config);
    change.before = files_.read(kind_.config);
    auto edited =
        with_top_key(change.path, change.before.value_or(""), "disable-default-registry-endpoint", "true");
    if (!edited) return std::move(edited).error();
    change.after = std::move(*edited);
    change.mode = 0600;
    std::string list;
    for (const auto& host : plan_.hosts)
      if (closes(host)) list += (list.empty() ? "" : ", ") + host;
    change.what =
        fmt::format("nobody but layerd answers for {} (1.26.13, 1.27.10, 1.28.6, 1.29.1 or newer)", list);
    add_change(plan_, std::move(change));
    plan_.todo.push_back(fmt::format(
        "{0} reads its flags when it starts: systemctl restart {0} (or {0}-agent, {0}-server)", kind_.name));
    return Ok{};
  }

  void finish() {
    FileChange change;
    change.path = path_;
    change.before = before_;
    change.after = text_;
    change.mode = 0600;
    std::string what = fmt::format("layerd is the first endpoint of {} registries", plan_.hosts.size());
    if (!default_past_k3s()) what += " and of all others";
    change.what = std::move(what);
    add_change(plan_, std::move(change));
  }

  // What k3s would make of registries.yaml at its next start, made now: containerd reads it at each pull.
  Result<Ok> live_files() {
    const std::string agent = folder_above(flags_.hosts_folder);
    const bool is_live =
        files_.read(agent + "/config.toml").value_or("").find("config_path") != std::string::npos;
    auto hosts = plan_.hosts;
    if (is_live || default_past_k3s()) hosts.push_back("*");
    if (!is_live && plan_.changes.empty()) return Ok{};
    for (const auto& host : hosts)
      if (is_live || host == "*")
        if (auto done = live_file(host); !done) return done;
    if (is_live)
      plan_.notes.push_back(
          fmt::format("{0} reads registries.yaml only when it starts, and makes hosts.toml files of it; "
                      "setup writes both, so layerd is asked from the next pull on",
                      kind_.name));
    else if (plan_.todo.empty())
      plan_.todo.push_back(
          fmt::format("{0} reads registries.yaml only when it starts: systemctl restart {0} (or {0}-agent, "
                      "{0}-server)",
                      kind_.name));
    return Ok{};
  }

  Result<Ok> live_file(const std::string& host) {
    const std::string folder = flags_.hosts_folder + "/" + hosts_folder(host);
    FileChange change;
    change.path = files_.real(folder + "/hosts.toml");
    change.before = files_.read(folder + "/hosts.toml");
    HostsWish wish;
    wish.url = input_.url;
    wish.tool = "layerd setup " + kind_.name;
    wish.close = host == "*" ? !input_.keep_fallback : closes(host) && !found_.configs.contains(host);
    if (const CopiedMirror* mirror = mirror_of(host)) wish.rewrite = mirror->rewrite;
    if (change.before && flags_.embedded) {
      auto there = read_hosts(change.path, *change.before);
      if (there && !there->hosts.empty() && authority_of(there->hosts[0].url).starts_with("127.0.0.1:") &&
          !same_endpoint(there->hosts[0].url, input_.url))
        wish.behind = there->hosts[0].url;
    }
    auto after = with_layerd(change.path, change.before, wish, {});
    if (!after) return std::move(after).error();
    change.after = std::move(*after);
    change.folder_mode = 0700;
    change.what = fmt::format("{} from now on, until {} makes this file anew",
                              host == "*" ? "every other registry" : host, kind_.name);
    add_change(plan_, std::move(change));
    return Ok{};
  }

  FileSource& files_;
  const Input& input_;
  const K3sKind& kind_;
  const K3sFlags flags_;
  std::string path_, text_;
  std::optional<std::string> before_;
  YamlNode root_;
  Copied found_;
  std::vector<std::string> to_write_;
  Plan plan_;
};

}  // namespace

Result<Plan> plan_k3s(FileSource& files, const Input& input, const K3sKind& kind) {
  return K3sPlanner(files, input, kind).run();
}

}  // namespace layerd::daemon::setup
