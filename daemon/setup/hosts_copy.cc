// copy_hosts of hosts_toml.h: a hosts.toml in the words of layerd's own configuration.
#include <fmt/core.h>

#include <algorithm>

#include "daemon/setup/hosts_toml.h"
#include "daemon/setup/plan.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::daemon::setup {
namespace {

std::string absolute(const std::string& folder, const std::string& file) {
  return file.empty() || file.starts_with('/') ? file : folder + "/" + file;
}

// containerd puts /v2 behind the path of a URL, unless override_path says that it is whole.
std::string endpoint_of(const HostsEntry& entry) {
  auto url = registry::parse_endpoint(entry.url);
  if (!url) return {};
  const std::string origin = url->scheme + "://" + url->authority();
  std::string path = entry.url;
  if (const auto scheme = path.find("://"); scheme != std::string::npos) path.erase(0, scheme + 3);
  path = path.find('/') == std::string::npos ? "" : path.substr(path.find('/'));
  while (path.ends_with('/')) path.pop_back();
  if (path.empty() || path == "/v2") return origin;
  return entry.override_path || path.ends_with("/v2") ? origin + path : origin + path + "/v2";
}

// `Authorization: Basic …` is a login; other headers layerd cannot send.
void copy_headers(const HostsEntry& entry, const std::string& path, CopiedHost& host,
                  std::vector<std::string>& notes, std::vector<std::string>& secrets) {
  for (const auto& [name, value] : entry.headers) {
    secrets.push_back(value);
    if (registry::equal_ascii_nocase(name, "authorization") &&
        registry::starts_with_nocase(value, "basic ")) {
      if (auto pair = split_auth(registry::trim(std::string_view(value).substr(6)))) {
        std::tie(host.username, host.password) = *pair;
        continue;
      }
    }
    notes.push_back(fmt::format("{}: the header {} is not copied: layerd sends no headers of its own", path,
                                printable(name, 60)));
  }
}

void copy_one(const HostsEntry& entry, const std::string& path, const std::string& folder,
              const std::string& key, Copied& copied, std::vector<std::string>& notes,
              std::vector<std::string>& secrets) {
  CopiedHost host;
  host.skip_verify = entry.skip_verify;
  if (!entry.ca.empty()) host.ca_file = absolute(folder, entry.ca[0]);
  if (entry.ca.size() > 1)
    notes.push_back(
        fmt::format("{}: of several files under ca layerd uses {}; put the certificates into one file", path,
                    host.ca_file));
  if (!entry.client.empty()) {
    host.cert_file = absolute(folder, entry.client[0].first);
    host.key_file =
        absolute(folder, entry.client[0].second.empty() ? entry.client[0].first : entry.client[0].second);
  }
  copy_headers(entry, path, host, notes, secrets);
  if (host.empty() || key.empty()) return;
  const auto [found, is_new] = copied.configs.emplace(key, host);
  if (found->second.empty()) found->second = host;  // only named so far
  if (!is_new && !(found->second == host))
    notes.push_back(
        fmt::format("{}: {} has other settings in another file; those count in layerd", path, key));
}

}  // namespace

void copy_hosts(const HostsFile& file, const std::string& path, const std::string& folder,
                const std::string& registry, const std::string& layerd_url, Copied& copied,
                std::vector<std::string>& notes, std::vector<std::string>& secrets) {
  CopiedMirror mirror;
  for (const auto& entry : file.hosts) {
    if (same_endpoint(entry.url, layerd_url) || !entry.may_pull()) continue;
    const std::string url = endpoint_of(entry);
    if (url.empty()) {
      notes.push_back(fmt::format("{}: {} is no endpoint that layerd can ask; it is not copied", path,
                                  printable(entry.url, 80)));
      continue;
    }
    mirror.endpoints.push_back(url);
    if (mirror.rewrite.empty()) mirror.rewrite = entry.rewrite;
    copy_one(entry, path, folder, authority_of(url), copied, notes, secrets);
  }
  const bool has_server = !file.server.url.empty() && !same_endpoint(file.server.url, layerd_url);
  const auto name = registry::parse_registry_name(registry);
  std::string own = name ? registry::default_endpoint_of(*name).authority() : std::string();
  if (has_server) {
    const std::string url = endpoint_of(file.server);
    own = authority_of(url);
    if (!name || !same_endpoint(url, registry::default_endpoint_of(*name).str())) {
      mirror.endpoints.push_back(url);
      mirror.default_endpoint = false;
    }
  }
  copy_one(file.server, path, folder, own, copied, notes, secrets);
  if (!mirror.endpoints.empty()) copied.mirrors.emplace(registry, std::move(mirror));
}

}  // namespace layerd::daemon::setup
