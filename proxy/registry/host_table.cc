#include "proxy/registry/host_table.h"

#include <fmt/core.h>

#include "proxy/registry/text.h"

namespace layerd::registry {

std::string host_port(std::string_view host, std::uint16_t port) {
  return fmt::format("{}:{}", bracketed(host), port);
}

std::string bracketed(std::string_view host) {
  return host.find(':') == std::string_view::npos ? std::string(host) : "[" + std::string(host) + "]";
}

std::string hub_name(std::string name) {
  return name == "registry-1.docker.io" || name == "index.docker.io" ? std::string(kDockerHub) : name;
}

bool says_something(const HostSettings& settings) {
  return !settings.ca_file.empty() || !settings.cert_file.empty() || !settings.key_file.empty() ||
         !settings.server_name.empty() || settings.insecure_skip_verify || !settings.credentials.empty() ||
         !settings.password_file.empty() || !settings.ca_dir.empty() || !settings.system_cas ||
         settings.tls_minor != 2;
}

Result<HostTable> HostTable::make(std::map<std::string, HostSettingsPtr> configs) {
  HostTable table;
  for (auto& [key, settings] : configs) {
    if (!settings) settings = table.none_;
    if (key == "*") {
      auto tls_only = std::make_shared<HostSettings>(*settings);
      tls_only->credentials = {};
      tls_only->password_file.clear();
      tls_only->cert_file.clear();  // a client's certificate tells who we are
      tls_only->key_file.clear();
      table.any_tls_ = std::move(tls_only);
      table.any_ = std::move(settings);
    } else if (key.find('*') != std::string::npos) {
      auto pattern = Pattern::compile(key);
      if (!pattern)
        return Error{
            Errc::config, fmt::format("configs.\"{}\": {}", key, pattern.error().message), 0, 0, {}, {}};
      table.patterns_.emplace_back(std::move(*pattern), std::move(settings));
    } else {
      table.exact_.emplace(lower_case(key), std::move(settings));
    }
  }
  sort_particular_first(table.patterns_);
  return table;
}

HostSettingsPtr HostTable::named(std::string_view host, std::uint16_t port) const {
  const std::string name = bracketed(lower_case(host));
  const std::string full = host_port(lower_case(host), port);
  if (const auto found = exact_.find(full); found != exact_.end()) return found->second;
  if (is_default_port(port))
    if (const auto found = exact_.find(name); found != exact_.end()) return found->second;
  if (const auto hub = hub_name(name); hub != name && is_default_port(port))
    if (const auto found = exact_.find(hub); found != exact_.end()) return found->second;
  for (const auto& [pattern, settings] : patterns_)
    if (pattern.matches_as_written(full) || (is_default_port(port) && pattern.matches_as_written(name)))
      return settings;
  return nullptr;
}

HostSettingsPtr HostTable::of_endpoint(const Url& base, const RegistryName& registry, bool configured) const {
  if (auto settings = named(base.host, base.port)) return settings;
  if (const auto found = exact_.find(registry.text); found != exact_.end()) return found->second;
  if (auto settings = named(registry.host, registry.port.value_or(443))) return settings;
  return of_any(configured);
}

HostSettingsPtr HostTable::of_any(bool configured) const {
  if (!any_) return none_;
  return configured ? any_ : any_tls_;
}

}  // namespace layerd::registry
