// The implementation of Rules: aliases, mirrors and configs of the configuration, compiled. Immutable, any
// thread. Lookups are maps for exact names and short lists for patterns.
#include "proxy/registry/rules.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <set>

#include "proxy/registry/host_table.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/pattern.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/rewrite.h"
#include "proxy/registry/text.h"

namespace layerd::registry {

namespace {

struct Mirror {
  std::string name;  // the key as written, for messages
  std::vector<Url> endpoints;
  Rewrites rewrites;
  bool default_endpoint = true;
  // Nothing in it: k3s drops such an entry, and "*" serves the registry.
  bool is_empty() const { return endpoints.empty() && default_endpoint; }
};

bool is_under(std::string_view host, std::string_view zone) {
  if (!host.ends_with(zone)) return false;
  return host.size() == zone.size() || host[host.size() - zone.size() - 1] == '.';
}

// Is it the registry's own address, however it came to be among the endpoints? By TLS also where its default
// endpoint is plain HTTP (a loopback registry), but never the other way round.
bool is_own_address(const Url& base, const RegistryName& registry) {
  const Url own = default_endpoint_of(registry);
  const bool is_hub = registry.text == kDockerHub && hub_name(base.host) == kDockerHub;
  return (base.host == own.host || is_hub) && base.port == own.port && base.path == own.path &&
         (base.scheme == own.scheme || base.scheme == "https");
}

class CompiledRules final : public Rules {
 public:
  static Result<std::shared_ptr<const Rules>> make(RulesInput input);

  Result<TargetPtr> resolve(std::string_view ns, std::string_view repository) const override;
  HostSettingsPtr settings_for(std::string_view host, std::uint16_t port) const override;
  bool is_configured(std::string_view host, std::uint16_t port) const override;

 private:
  Result<Ok> add_mirrors(std::map<std::string, MirrorEntry> mirrors);
  Result<Ok> add_allow(const std::vector<std::string>& allow);
  Result<Ok> add_aliases(const std::vector<AliasEntry>& aliases);

  Result<Target> target_of(const RegistryName& registry, const std::string& repository) const;
  Result<Alias::Name> name_of(std::string_view ns, std::string_view repository) const;
  const Mirror* own_mirror_of(const RegistryName& registry) const;
  const Mirror* mirror_of(const RegistryName& registry, bool& named) const;
  Endpoint endpoint(const Url& base, const RegistryName& registry, std::string repository, bool named) const;
  bool is_allowed(const std::string& registry, std::string_view repository) const;
  void add_mirror_endpoints(const Mirror& mirror, const RegistryName& registry, Target& target,
                            std::string& unusable) const;

  std::map<std::string, Mirror> mirrors_;
  PatternList<Mirror> mirror_patterns_;
  std::optional<Mirror> any_mirror_;

  HostTable hosts_;  // `configs`

  std::vector<Pattern> allow_;
  bool allow_everything_ = false;
  std::set<std::string> endpoint_hosts_;  // "host:port" of every endpoint of mirrors

  std::vector<Alias> aliases_;
  std::set<std::string, std::less<>> dns_hosts_;
  std::vector<std::string> dns_zones_;
};

Error in_mirror(std::string_view name, Error error) {
  error.code = Errc::config;
  error.message = fmt::format("mirrors.\"{}\": {}", name, error.message);
  return error;
}

Result<Ok> CompiledRules::add_mirrors(std::map<std::string, MirrorEntry> mirrors) {
  for (auto& [key, entry] : mirrors) {
    auto rewrites = Rewrites::compile(entry.rewrite);
    if (!rewrites) return in_mirror(key, std::move(rewrites).error());
    for (const Url& url : entry.endpoints) endpoint_hosts_.insert(host_port(url.host, url.port));
    Mirror mirror{key, std::move(entry.endpoints), std::move(*rewrites), entry.default_endpoint};
    if (key == "*") {
      any_mirror_ = std::move(mirror);
    } else if (key.find('*') != std::string::npos) {
      auto pattern = Pattern::compile(key);
      if (!pattern) return in_mirror(key, std::move(pattern).error());
      mirror_patterns_.emplace_back(std::move(*pattern), std::move(mirror));
    } else {
      auto name = parse_registry_name(key);
      if (!name) return in_mirror(key, std::move(name).error());
      mirrors_.emplace(name->text, std::move(mirror));
    }
  }
  sort_particular_first(mirror_patterns_);
  return Ok{};
}

Result<Ok> CompiledRules::add_allow(const std::vector<std::string>& allow) {
  for (const std::string& text : allow) {
    auto pattern = Pattern::compile(text);
    if (!pattern) return Error{Errc::config, "allow: " + pattern.error().message, 0, 0, {}, {}};
    allow_everything_ = allow_everything_ || pattern->is_everything();
    allow_.push_back(std::move(*pattern));
  }
  return Ok{};
}

Result<Ok> CompiledRules::add_aliases(const std::vector<AliasEntry>& aliases) {
  if (aliases.size() > kMostAliases)
    return Error{Errc::config,
                 fmt::format("aliases: {} rules, at most {} are possible", aliases.size(), kMostAliases),
                 0,
                 0,
                 "alias_invalid",
                 {}};
  for (const AliasEntry& entry : aliases) {
    auto alias = Alias::compile(entry);
    if (!alias) return Error{Errc::config, "aliases: " + alias.error().message, 0, 0, "alias_invalid", {}};
    aliases_.push_back(std::move(*alias));
  }
  return Ok{};
}

Result<std::shared_ptr<const Rules>> CompiledRules::make(RulesInput input) {
  auto rules = std::make_shared<CompiledRules>();
  if (auto added = rules->add_aliases(input.aliases); !added) return std::move(added).error();
  rules->dns_hosts_.insert(input.dns_hosts.begin(), input.dns_hosts.end());
  rules->dns_zones_ = std::move(input.dns_zones);
  if (auto added = rules->add_mirrors(std::move(input.mirrors)); !added) return std::move(added).error();
  auto hosts = HostTable::make(std::move(input.configs));
  if (!hosts) return std::move(hosts).error();
  rules->hosts_ = std::move(*hosts);
  if (auto added = rules->add_allow(input.allow); !added) return std::move(added).error();
  return std::shared_ptr<const Rules>(std::move(rules));
}

// What the client asked for, with the first alias that fits applied to it once.
Result<Alias::Name> CompiledRules::name_of(std::string_view ns, std::string_view repository) const {
  auto registry = parse_registry_name(ns);
  if (!registry) return std::move(registry).error();
  if (auto good = check_repository(repository); !good) return std::move(good).error();
  for (const Alias& alias : aliases_)
    if (auto name = alias.apply(*registry, repository)) return std::move(*name);
  return Alias::Name{std::move(*registry), std::string(repository), {}};
}

const Mirror* CompiledRules::own_mirror_of(const RegistryName& registry) const {
  if (const auto found = mirrors_.find(registry.text); found != mirrors_.end()) return &found->second;
  // "reg.example.com" and "reg.example.com:443" are one registry.
  const std::string other = registry.port == 443 ? bracketed(registry.host) : registry.text + ":443";
  if (registry.port && registry.port != 443) return nullptr;
  const auto found = mirrors_.find(other);
  return found == mirrors_.end() ? nullptr : &found->second;
}

// `named`: a key other than "*" stands for this registry.
const Mirror* CompiledRules::mirror_of(const RegistryName& registry, bool& named) const {
  const Mirror* own = own_mirror_of(registry);
  named = own != nullptr;
  if (own && !own->is_empty()) return own;
  for (const auto& [pattern, mirror] : mirror_patterns_) {
    if (!pattern.matches(registry.text)) continue;
    named = true;
    return &mirror;
  }
  // As in k3s, where such a registry has a hosts.toml of its own and `_default` is not read for it.
  const auto settings = hosts_.named(registry.host, registry.port.value_or(443));
  if (settings && says_something(*settings)) return own;
  return any_mirror_ ? &*any_mirror_ : own;
}

HostSettingsPtr CompiledRules::settings_for(std::string_view host, std::uint16_t port) const {
  if (auto settings = hosts_.named(host, port)) return settings;
  return hosts_.of_any(is_configured(host, port));
}

bool CompiledRules::is_configured(std::string_view host, std::uint16_t port) const {
  const std::string name = bracketed(lower_case(host)), full = host_port(lower_case(host), port);
  if (endpoint_hosts_.contains(full) || hosts_.named(host, port)) return true;
  const auto has = [&](const std::string& text) {
    const auto fits = [&](const auto& item) { return item.first.matches_as_written(text); };
    const auto allows = [&](const Pattern& pattern) {
      return !pattern.is_everything() && pattern.matches_as_written(text);
    };
    return mirrors_.contains(text) || std::any_of(mirror_patterns_.begin(), mirror_patterns_.end(), fits) ||
           std::any_of(allow_.begin(), allow_.end(), allows) ||
           std::any_of(aliases_.begin(), aliases_.end(),
                       [&](const Alias& alias) { return alias.leads_to(text); });
  };
  const auto is_in = [&](const std::string& zone) {
    return !zone.empty() && is_under(lower_case(host), zone);
  };
  if (dns_hosts_.contains(lower_case(host)) || std::any_of(dns_zones_.begin(), dns_zones_.end(), is_in))
    return true;
  if (has(full)) return true;
  return is_default_port(port) && (has(name) || has(hub_name(name)));
}

bool CompiledRules::is_allowed(const std::string& registry, std::string_view repository) const {
  if (allow_everything_) return true;
  const std::string whole = registry + "/" + std::string(repository);
  return std::any_of(allow_.begin(), allow_.end(),
                     [&](const Pattern& pattern) { return pattern.matches_repository(whole); });
}

Endpoint CompiledRules::endpoint(const Url& base, const RegistryName& registry, std::string repository,
                                 bool named) const {
  Endpoint made;
  made.base = base;
  made.repository = std::move(repository);
  made.configured = named || is_configured(base.host, base.port);
  made.settings = hosts_.of_endpoint(base, registry, made.configured);
  made.is_own = is_own_address(base, registry);
  return made;
}

bool has_endpoint(const std::vector<Endpoint>& endpoints, const Endpoint& wanted) {
  return std::any_of(endpoints.begin(), endpoints.end(), [&](const Endpoint& other) {
    return other.base.same_origin(wanted.base) && other.base.path == wanted.base.path &&
           other.repository == wanted.repository;
  });
}

void CompiledRules::add_mirror_endpoints(const Mirror& mirror, const RegistryName& registry, Target& target,
                                         std::string& unusable) const {
  const Url own = default_endpoint_of(registry);
  for (std::size_t i = 0; i < mirror.endpoints.size(); ++i) {
    const Url& base = mirror.endpoints[i];
    // As k3s does: the registry's own address written last is the default endpoint, not rewritten. An
    // entry of "*" has no address of its own there.
    const bool is_last = i + 1 == mirror.endpoints.size() && mirror.name != "*";
    if (is_last && mirror.default_endpoint && base.same_origin(own) && base.path == own.path) break;
    std::string rewrite;
    std::string rewritten = mirror.rewrites.apply(target.repository, &rewrite);
    if (!check_repository(rewritten)) {
      unusable = std::move(rewritten);
      continue;
    }
    // An endpoint of "*" is the operator's word; so is one of the registry's own entry.
    auto next = endpoint(base, registry, std::move(rewritten), true);
    next.rewrite = std::move(rewrite);
    if (!has_endpoint(target.endpoints, next)) target.endpoints.push_back(std::move(next));
  }
}

Error no_endpoint(const Mirror& mirror, const RegistryName& registry, std::string_view repository,
                  bool was_rewritten) {
  if (was_rewritten)
    return {Errc::config,
            fmt::format("mirrors.\"{}\": the rewrite turns {} into a name no registry can have", mirror.name,
                        repository),
            0,
            0,
            "rewrite_result_invalid",
            {}};
  return {Errc::refused_by_policy,
          fmt::format("mirrors.\"{}\" has no endpoint and default_endpoint is false: {} cannot be asked",
                      mirror.name, registry.text),
          0,
          0,
          "no_endpoint",
          {}};
}

Result<Target> CompiledRules::target_of(const RegistryName& registry, const std::string& repository) const {
  Target target;
  target.registry = registry.text;
  target.repository = repository;
  bool named = false;
  const Mirror* mirror = mirror_of(registry, named);
  if (mirror) target.mirror = mirror->name;
  std::string unusable;  // a name that a rewrite made and no registry can have
  if (mirror) add_mirror_endpoints(*mirror, registry, target, unusable);
  if (!mirror || mirror->default_endpoint) {
    auto last = endpoint(default_endpoint_of(registry), registry, repository, named);
    if (!has_endpoint(target.endpoints, last)) target.endpoints.push_back(std::move(last));
  }
  if (!target.endpoints.empty()) return target;
  return no_endpoint(*mirror, registry, repository, !unusable.empty());
}

Result<TargetPtr> CompiledRules::resolve(std::string_view ns, std::string_view asked) const {
  auto name = name_of(ns, asked);
  if (!name) return std::move(name).error();
  const RegistryName& registry = name->registry;
  if (!is_allowed(registry.text, name->repository))
    return Error{Errc::refused_by_policy,
                 fmt::format("{}/{} is not allowed: no pattern of `allow` matches it", registry.text,
                             name->repository),
                 0,
                 0,
                 "not_allowed",
                 {}};
  auto made = target_of(registry, name->repository);
  if (!made) return std::move(made).error();
  if (registry.port == 443) {
    // Two spellings of one registry are one name, unless the rules tell them apart.
    const auto plain = target_of({without_https_port(registry.text), registry.host, {}}, name->repository);
    if (plain && plain->endpoints == made->endpoints) {
      made->older_key = made->key();
      made->registry = plain->registry;
    }
  }
  made->ns = std::string(ns);
  made->alias = name->alias;
  return std::make_shared<const Target>(std::move(*made));
}

}  // namespace

Result<std::shared_ptr<const Rules>> Rules::make(RulesInput input) {
  return CompiledRules::make(std::move(input));
}

}  // namespace layerd::registry
