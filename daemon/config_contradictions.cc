#include "daemon/config_contradictions.h"

#include <algorithm>

#include "proxy/registry/pattern.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::daemon {
namespace {

using registry::MirrorEntry;

// Calls `each` with the node of every key of a section, and the key as the rules have it.
template <class Each>
void each_key(const YamlNode& root, std::string_view section, Each each) {
  const YamlNode* node = root.is_map() ? root.find(section) : nullptr;
  if (!node || !node->is_map()) return;
  for (const auto& [key, value] : node->entries) each(key, registry::lower_case(key.scalar));
}

void warn_of_two_spellings(const YamlNode& root, const registry::RulesInput& rules, ConfigReader& reader) {
  each_key(root, "mirrors", [&](const YamlNode& key, const std::string& name) {
    const auto other = registry::without_https_port(name);
    if (!other.empty() && rules.mirrors.contains(other))
      reader.warn(key,
                  fmt::format("mirrors.\"{}\" and mirrors.\"{}\" are about one registry: each counts only "
                              "for images that are written so; keep one of them",
                              printable(name, 80), printable(other, 80)));
  });
  each_key(root, "configs", [&](const YamlNode& key, const std::string& name) {
    const auto other = registry::without_https_port(name);
    if (!other.empty() && rules.configs.contains(other))
      reader.warn(key,
                  fmt::format("configs.\"{}\" and configs.\"{}\" are about one host, and only the former "
                              "counts with https; keep one of them",
                              printable(name, 80), printable(other, 80)));
  });
}

// May some repository of this registry be asked for?
bool is_allowed(const registry::RulesInput& rules, const std::string& name) {
  return std::any_of(rules.allow.begin(), rules.allow.end(), [&](const std::string& text) {
    const auto whole = registry::Pattern::compile(text);
    const auto host = registry::Pattern::compile(text.substr(0, text.find('/')));
    return (whole && (whole->is_everything() || whole->matches(name))) || (host && host->matches(name));
  });
}

void warn_of_forbidden(const YamlNode& root, const registry::RulesInput& rules, ConfigReader& reader) {
  each_key(root, "mirrors", [&](const YamlNode& key, const std::string& name) {
    const auto registry = registry::parse_registry_name(name);
    if (registry && !is_allowed(rules, registry->text))
      reader.warn(key, fmt::format("mirrors.\"{}\" is not used: no pattern of `allow` matches {}",
                                   printable(name, 80), registry->text));
  });
  const YamlNode* aliases = root.is_map() ? root.find("aliases") : nullptr;
  if (!aliases) return;
  for (std::size_t i = 0; i < aliases->items.size(); ++i) {
    const YamlNode* to = aliases->items[i].is_map() ? aliases->items[i].find("to") : nullptr;
    if (!to) continue;
    const auto registry = registry::parse_registry_name(to->scalar.substr(0, to->scalar.find('/')));
    if (registry && !is_allowed(rules, registry->text))
      reader.warn(*to,
                  fmt::format("aliases[{}].to leads to {}, which no pattern of `allow` matches: what the "
                              "alias renames is refused",
                              i + 1, registry->text));
  }
}

void warn_of_dead_ends(const YamlNode& root, const registry::RulesInput& rules, ConfigReader& reader) {
  each_key(root, "mirrors", [&](const YamlNode& key, const std::string& name) {
    const auto found = rules.mirrors.find(name);
    if (found == rules.mirrors.end() || !found->second.endpoints.empty()) return;
    const MirrorEntry& mirror = found->second;
    if (!mirror.default_endpoint)
      reader.warn(key, fmt::format("mirrors.\"{}\" has no endpoint and default_endpoint is false, so that it "
                                   "can never be asked; write an endpoint, or leave it out of `allow`",
                                   printable(name, 80)));
    else if (!mirror.rewrite.empty())
      reader.warn(key, fmt::format("mirrors.\"{}\".rewrite changes nothing: it counts at the entry's "
                                   "endpoints, and there are none",
                                   printable(name, 80)));
  });
}

bool is_about_tls(const registry::HostSettings& host) {
  return !host.ca_file.empty() || !host.ca_dir.empty() || !host.cert_file.empty() ||
         !host.server_name.empty() || !host.system_cas || host.insecure_skip_verify || host.tls_minor != 2;
}

// The first endpoint without TLS at this host[:port].
const registry::Url* plain_endpoint_at(const registry::RulesInput& rules, const std::string& name) {
  for (const auto& [registry, mirror] : rules.mirrors)
    for (const auto& url : mirror.endpoints)
      if (url.scheme == "http" && url.authority() == name) return &url;
  return nullptr;
}

void warn_of_idle_tls(const YamlNode& root, const registry::RulesInput& rules, ConfigReader& reader) {
  each_key(root, "configs", [&](const YamlNode& key, const std::string& name) {
    const auto found = rules.configs.find(name);
    if (found == rules.configs.end() || !found->second || !is_about_tls(*found->second)) return;
    if (const auto* url = plain_endpoint_at(rules, name))
      reader.warn(key,
                  fmt::format("configs.\"{}\".tls is not used: mirrors asks that host at {}, without TLS; "
                              "write https:// there, or take tls out",
                              printable(name, 80), url->str()));
  });
}

// Is every repository of this registry for clients with credentials of their own?
bool is_for_clients_alone(const proxy::AccessSettings& access, const std::string& registry) {
  // Names that nobody has: what matches them does so by a wildcard.
  return access.requires_client(registry + "/zq7") &&
         access.requires_client(registry + "/zq7/zq7/zq7/zq7/zq7/zq7/zq7/zq7");
}

// The registries of `mirrors` that are asked at this host[:port].
std::vector<std::string> registries_at(const registry::RulesInput& rules, const std::string& name) {
  const auto plain = registry::without_https_port(name);
  std::vector<std::string> registries;
  for (const auto& [registry, mirror] : rules.mirrors)
    if (std::any_of(mirror.endpoints.begin(), mirror.endpoints.end(),
                    [&](const auto& url) { return url.authority() == name || url.authority() == plain; }))
      registries.push_back(registry);
  return registries;
}

void warn_of_idle_credentials(const YamlNode& root, const registry::RulesInput& rules,
                              const proxy::AccessSettings& access, ConfigReader& reader) {
  if (access.require_client.empty()) return;
  each_key(root, "configs", [&](const YamlNode& key, const std::string& name) {
    const auto found = rules.configs.find(name);
    if (found == rules.configs.end() || !found->second) return;
    if (found->second->credentials.empty() && found->second->password_file.empty()) return;
    auto users = registries_at(rules, name);
    if (users.empty() && name.find('*') == std::string::npos) users.push_back(name);
    const bool is_idle =
        !users.empty() && std::all_of(users.begin(), users.end(), [&](const std::string& registry) {
          return is_for_clients_alone(access, registry);
        });
    if (is_idle)
      reader.warn(key,
                  fmt::format("configs.\"{}\".auth is not used: access.require_client turns layerd's own "
                              "credentials off for all of {}; take one of the two out, or write a "
                              "repository into require_client",
                              printable(name, 80), printable(users.front(), 80)));
  });
}

}  // namespace

void warn_of_contradictions(const YamlNode& root, const registry::RulesInput& rules,
                            const proxy::AccessSettings& access, ConfigReader& reader) {
  warn_of_idle_credentials(root, rules, access, reader);
  warn_of_two_spellings(root, rules, reader);
  warn_of_forbidden(root, rules, reader);
  warn_of_dead_ends(root, rules, reader);
  warn_of_idle_tls(root, rules, reader);
}

}  // namespace layerd::daemon
