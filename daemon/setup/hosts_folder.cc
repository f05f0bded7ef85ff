// plan_hosts_folder of containerd.h: a folder of hosts.toml files, one below each registry's name.
#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "daemon/setup/containerd.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/reference.h"
#include "runtime/log.h"

namespace layerd::daemon::setup {
namespace {

bool is_in(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// A registry that somebody wrote a file for is meant to be asked, wherever it stands: layerd dials private
// addresses only for names that its configuration has (design.md §3.6).
void copy_name(const std::string& registry, const std::string& text, Copied& copied) {
  const auto name = registry::parse_registry_name(registry);
  if (!name || name->text == registry::kDockerHub || text.starts_with(kWritten) ||
      copied.mirrors.contains(registry))
    return;
  copied.configs.emplace(registry::default_endpoint_of(*name).authority(), CopiedHost{});
}

// containerd looks for host_port_, then host:port; the first that is there counts.
std::string folder_of(FileSource& files, const std::string& folder, const std::string& registry) {
  const std::string usual = folder + "/" + hosts_folder(registry), plain = folder + "/" + registry;
  if (usual != plain && registry != "*" && files.list(usual).empty() && !files.list(plain).empty())
    return plain;
  return usual;
}

std::string what_of(const std::string& registry, bool close) {
  const std::string name = registry == "*" ? "every other registry" : registry;
  return close ? fmt::format("{}: layerd is asked, and nobody else", name)
               : fmt::format("{}: layerd is asked first, the registry itself when layerd refuses", name);
}

void copy_certificates(const std::vector<std::string>& names, const std::string& real,
                       const std::string& registry, Plan& plan) {
  HostsFile alone;
  alone.server = certificates_of(names);
  copy_hosts(alone, real, real, registry, "", plan.copied, plan.notes, plan.secrets);
}

Result<Ok> plan_registry(FileSource& files, const Input& input, const HostsFolder& folder,
                         const std::string& registry, Plan& plan) {
  const std::string place = folder_of(files, folder.path, registry), file = place + "/hosts.toml";
  const auto names = files.list(place);
  FileChange change;
  change.path = files.real(file);
  change.before = files.read(file);
  if (change.before) {
    auto old = read_hosts(change.path, *change.before);
    if (!old) return std::move(old).error();
    for (const auto& missing : missing_files(files, *old, place))
      plan.notes.push_back(fmt::format(
          "{} names {}, which is not there: {} fails every pull of {} because of that, and asks layerd as "
          "little as the registry. Put the file there or take its name out",
          change.path, printable(missing, 200), folder.tool.substr(folder.tool.rfind(' ') + 1),
          registry == "*" ? "every other registry" : registry));
    if (folder.copies) {
      copy_hosts(*old, change.path, files.real(place), registry, input.url, plan.copied, plan.notes,
                 plan.secrets);
      copy_name(registry, *change.before, plan.copied);
    }
  } else if (folder.copies) {
    copy_certificates(names, files.real(place), registry, plan);
  }
  HostsWish wish;
  wish.url = input.url;
  wish.tool = folder.tool;
  wish.close = !input.keep_fallback || is_in(input.closed_hosts, registry);
  auto after = with_layerd(change.path, change.before, wish, names);
  if (!after) return std::move(after).error();
  change.after = std::move(*after);
  change.what = what_of(registry, wish.close);
  add_change(plan, std::move(change));
  return Ok{};
}

}  // namespace

std::vector<std::string> missing_files(FileSource& files, const HostsFile& file, const std::string& folder) {
  std::vector<std::string> missing;
  const auto look = [&](const std::string& name) {
    if (name.empty() || files.exists(name.starts_with('/') ? name : folder + "/" + name)) return;
    if (!is_in(missing, name)) missing.push_back(name);
  };
  const auto look_at = [&](const HostsEntry& entry) {
    for (const auto& name : entry.ca) look(name);
    for (const auto& [certificate, key] : entry.client) look(certificate), look(key);
  };
  for (const auto& entry : file.hosts) look_at(entry);
  look_at(file.server);
  return missing;
}

std::vector<std::string> registries_in(FileSource& files, const std::string& folder) {
  std::vector<std::string> registries;
  for (const auto& name : files.list(folder))
    if (auto registry = registry_of_folder(name); !registry.empty() && name != "_backup")
      registries.push_back(std::move(registry));
  return registries;
}

Result<Ok> plan_hosts_folder(FileSource& files, const Input& input, const HostsFolder& folder, Plan& plan) {
  const auto there = registries_in(files, folder.path);
  auto hosts = hosts_to_name(input, there);
  for (const auto& host : hosts)
    if (!is_in(plan.hosts, host)) plan.hosts.push_back(host);
  hosts.push_back("*");
  for (const auto& host : hosts)
    if (auto done = plan_registry(files, input, folder, host, plan); !done) return done;
  return Ok{};
}

std::string spegel_note(FileSource& files, const std::string& folder) {
  bool found = !files.list(folder + "/_backup").empty();
  for (const auto& name : files.list(folder)) {
    const auto text = files.read(folder + "/" + name + "/hosts.toml");
    auto hosts = text ? read_hosts(name, *text) : Result<HostsFile>(HostsFile{});
    if (!hosts) continue;
    for (const auto& entry : hosts->hosts)
      for (const char* port : {":30020", ":30021", ":29999"})
        found |= authority_of(entry.url).ends_with(port);
  }
  if (!found) return {};
  return fmt::format(
      "Spegel writes into {} as well (its folder _backup or its ports are there). It makes these files anew "
      "whenever its pod starts, and layerd's entries are gone then: turn that off in its chart "
      "(spegel.containerdMirrorAdd: false) or run setup again after each of its starts. Where both are "
      "named, layerd comes first and Spegel is asked for what layerd refuses",
      files.real(folder));
}

}  // namespace layerd::daemon::setup
