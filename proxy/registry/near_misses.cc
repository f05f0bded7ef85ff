#include "proxy/registry/near_misses.h"

#include <fmt/core.h>

#include "proxy/registry/reference.h"
#include "runtime/log.h"

namespace layerd::registry {

namespace {

constexpr std::size_t kMost = 16;

// Aliases that fit as well, or would if they were about what is below their name too.
void add_aliases(const RulesInput& input, std::string_view repository, const Target& target,
                 std::vector<std::string>& out) {
  const auto asked = parse_registry_name(target.ns);
  if (!asked) return;
  bool is_decided = false;
  for (const AliasEntry& entry : input.aliases) {
    const auto alias = Alias::compile(entry);
    if (!alias) continue;
    if (alias->apply(*asked, repository)) {
      if (is_decided)
        out.push_back(fmt::format("the alias {} fits as well, but {} stands before it and decides alone",
                                  alias->str(), target.alias));
      is_decided = true;
      continue;
    }
    const auto below = Pattern::compile(entry.from + "/**");
    if (below && below->matches(asked->text + "/" + std::string(repository)))
      out.push_back(
          fmt::format("the alias {} is about names of just that form; for what is below them write \"{}/**\"",
                      alias->str(), printable(entry.from, 80)));
  }
}

std::string host_of(std::string_view key) {
  const auto name = parse_registry_name(key);
  return name ? name->host : std::string();
}

// One key of `mirrors` or `configs` that is not the one that counted.
void add_key(std::string_view section, const std::string& key, const Target& target,
             std::vector<std::string>& out) {
  const auto registry = parse_registry_name(target.registry);
  if (!registry || key == "*" || key == target.mirror) return;
  if (key.find('*') != std::string::npos) {
    if (!key.starts_with("*.")) return;
    const auto one = Pattern::compile(key), many = Pattern::compile("*" + key);
    if (one && many && !one->matches(registry->text) && many->matches(registry->text))
      out.push_back(
          fmt::format("{}.\"{}\" is about exactly one label in front, and {} has another number of them; for "
                      "any number write \"*{}\"",
                      section, key, target.registry, key));
    return;
  }
  if (host_of(key) == registry->host && key != registry->text && key + ":443" != registry->text &&
      registry->text + ":443" != key)
    out.push_back(fmt::format("{}.\"{}\" is about another port than {}", section, key, target.registry));
}

void add_mirrors(const RulesInput& input, const Target& target, std::vector<std::string>& out) {
  const auto asked = parse_registry_name(target.ns);
  for (const auto& [key, entry] : input.mirrors) {
    if (!target.alias.empty() && asked && key == asked->text && key != target.registry)
      out.push_back(
          fmt::format("mirrors.\"{}\" is not used, because the alias {} comes first", key, target.alias));
    else
      add_key("mirrors", key, target, out);
  }
  if (input.mirrors.contains("*") && target.mirror.empty())
    out.push_back(
        fmt::format("mirrors.\"*\" is not used for {}, because configs has an entry for it; that is so in "
                    "k3s too: give it an entry of its own in mirrors",
                    target.registry));
}

}  // namespace

std::vector<std::string> near_misses(const RulesInput& input, std::string_view repository,
                                     const Target& target) {
  std::vector<std::string> out;
  add_aliases(input, repository, target, out);
  add_mirrors(input, target, out);
  for (const auto& [key, settings] : input.configs) add_key("configs", key, target, out);
  if (out.size() > kMost) out.resize(kMost);
  return out;
}

}  // namespace layerd::registry
