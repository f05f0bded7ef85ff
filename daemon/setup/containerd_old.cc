// containerd's old way, registry.mirrors in config.toml: containerd does not start with both that and
// config_path, so layerd goes where the mirrors are. Part of containerd.h's planner.
#include "daemon/setup/containerd_old.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/reference.h"

namespace layerd::daemon::setup {
namespace {

CopiedMirror mirror_of(const TomlValue& mirror, const std::string& url) {
  CopiedMirror copied;
  if (const TomlValue* list = mirror.find("endpoint"))
    for (const auto& each : list->texts())
      if (!same_endpoint(each, url) && registry::parse_endpoint(each)) copied.endpoints.push_back(each);
  return copied;
}

void copy_tls(const TomlValue& registry, Plan& plan) {
  const TomlValue* configs = registry.find("configs");
  for (const auto& entry : configs ? configs->entries : std::vector<TomlEntry>{}) {
    const TomlValue* tls = entry.value.find("tls");
    if (!tls) continue;
    CopiedHost& host = plan.copied.configs[entry.key];
    host.ca_file = tls->text_at("ca_file");
    host.cert_file = tls->text_at("cert_file");
    host.key_file = tls->text_at("key_file");
    host.skip_verify = tls->true_at("insecure_skip_verify");
  }
}

// `text` with layerd as first endpoint of `host`. Nothing if it is there already.
Result<std::optional<std::string>> with_endpoint(const std::string& file, const std::string& text,
                                                 const std::string& plugin, const std::string& host,
                                                 const std::string& url) {
  auto root = parse_toml(file, text);
  if (!root) return std::move(root).error();
  const TomlValue* mirror = root->find({"plugins", plugin, "registry", "mirrors", host});
  const TomlValue* list = mirror ? mirror->find("endpoint") : nullptr;
  std::string out = text;
  if (list && list->is_inline) {
    const auto urls = list->texts();
    if (std::any_of(urls.begin(), urls.end(), [&](const auto& each) { return same_endpoint(each, url); }))
      return std::optional<std::string>();
    out.insert(list->begin + 1, toml_quoted(url) + (urls.empty() ? "" : ", "));
  } else if (mirror && mirror->has_header && !list) {
    out.insert(mirror->body, fmt::format("  endpoint = [{}]\n", toml_quoted(url)));
  } else if (!mirror) {
    if (!out.ends_with('\n')) out += '\n';
    out += fmt::format("\n[plugins.{}.registry.mirrors.{}]\n  endpoint = [{}]\n", toml_quoted(plugin),
                       toml_quoted(host), toml_quoted(url));
  } else {
    return {
        Errc::config,
        fmt::format("{}:{}: the mirror of {} is written in a way that setup cannot add to; write endpoint = "
                    "[{}, …] there and run setup again",
                    file, mirror->line, host, toml_quoted(url))};
  }
  if (auto check = parse_toml(file, out); !check) return std::move(check).error();
  return std::optional<std::string>(std::move(out));
}

}  // namespace

Result<Ok> plan_old_mirrors(FileSource& files, const Input& input, const std::string& path,
                            const std::string& plugin, Plan& plan) {
  FileChange change;
  change.path = files.real(path);
  change.before = files.read(path);
  auto root = parse_toml(change.path, change.before.value_or(""));
  if (!root) return std::move(root).error();
  const TomlValue& registry = *root->find({"plugins", plugin, "registry"});
  copy_tls(registry, plan);
  std::vector<std::string> more;
  const TomlValue* mirrors = registry.find("mirrors");
  for (const auto& entry : mirrors ? mirrors->entries : std::vector<TomlEntry>{}) {
    if (entry.key != "*") more.push_back(entry.key);
    if (auto copied = mirror_of(entry.value, input.url); !copied.endpoints.empty())
      plan.copied.mirrors.emplace(entry.key, std::move(copied));
  }
  auto hosts = hosts_to_name(input, more);
  plan.hosts = hosts;
  hosts.push_back("*");
  std::string text = change.before.value_or("");
  for (const auto& host : hosts) {
    auto edited = with_endpoint(change.path, text, plugin, host, input.url);
    if (!edited) return std::move(edited).error();
    if (*edited) text = std::move(**edited);
  }
  change.after = std::move(text);
  change.what =
      fmt::format("layerd is the first endpoint of {} registries and of all others", plan.hosts.size());
  add_change(plan, std::move(change));
  if (!plan.changes.empty())
    plan.todo.push_back(
        "registry.mirrors is read when containerd starts: systemctl restart containerd (containers go on "
        "running)");
  plan.notes.push_back(fmt::format(
      "{} has registry.mirrors, containerd's old way: layerd is added there. Each change of it takes a "
      "restart of containerd, and containerd 2.2 and newer want hosts.toml files instead",
      files.real(path)));
  if (!input.keep_fallback || !input.closed_hosts.empty())
    plan.notes.push_back(
        "with registry.mirrors containerd always asks the registry itself at last; to close that way move to "
        "config_path and hosts.toml files");
  return Ok{};
}

Result<std::string> without_old_mirrors(const std::string& file, const std::string& text,
                                        const std::string& url) {
  std::string out = text;
  for (const std::string& quoted : {toml_quoted(url) + ", ", toml_quoted(url)})
    for (auto at = out.find(quoted); at != std::string::npos; at = out.find(quoted))
      out.erase(at, quoted.size());
  if (auto check = parse_toml(file, out); !check) return std::move(check).error();
  return out;
}

}  // namespace layerd::daemon::setup
