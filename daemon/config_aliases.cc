#include "daemon/config_aliases.h"

#include <algorithm>
#include <vector>

#include "proxy/registry/alias.h"
#include "runtime/log.h"

namespace layerd::daemon {

using registry::Alias;
using registry::AliasEntry;

namespace {

constexpr const char* kExample = "{from: \"docker.io/nexus/**\", to: \"docker.nexus.local/**\"}";

struct Rule {
  Alias alias;
  int line;
};

const std::vector<Key<AliasEntry>>& alias_keys() {
  static const std::vector<Key<AliasEntry>> kKeys{
      {"from", "pattern", "", true, "",
       [](const YamlNode& node, std::string_view key, AliasEntry& out, ConfigReader& reader) {
         out.from = reader.text(node, key).value_or("");
       },
       [](const AliasEntry& entry) { return yaml_quoted(entry.from); }},
      {"to", "pattern", "", true, "",
       [](const YamlNode& node, std::string_view key, AliasEntry& out, ConfigReader& reader) {
         out.to = reader.text(node, key).value_or("");
       },
       [](const AliasEntry& entry) { return yaml_quoted(entry.to); }},
  };
  return kKeys;
}

// The node the sentence is about: the side it begins with, else the whole rule.
const YamlNode& side_of(const YamlNode& item, const std::string& message) {
  const YamlNode* side = item.find(message.starts_with("from:") ? "from" : "to");
  return side ? *side : item;
}

void warn_of_dead_rule(const YamlNode& item, const std::string& where, const std::vector<Rule>& before,
                       const Alias& alias, ConfigReader& reader) {
  for (const Rule& rule : before) {
    if (!rule.alias.covers(alias)) continue;
    return reader.warn(
        item,
        fmt::format(
            "{}: {} in line {} is never used: {} in line {} stands before it, is about the same names and "
            "decides alone; put the narrower rule first or remove one",
            where.substr(0, where.size() - 1), alias.str(), item.line, rule.alias.str(), rule.line));
  }
}

// Nothing after it was reported what is wrong.
std::optional<Rule> read_alias(const YamlNode& item, const std::string& where, ConfigReader& reader) {
  const bool has_both = item.is_map() && item.find("from") && item.find("to");
  if (!has_both) {
    reader.error(item, fmt::format("{}: from and to were expected, as {}", where.substr(0, where.size() - 1),
                                   kExample));
    return std::nullopt;
  }
  AliasEntry entry;
  read_map(item, alias_keys(), entry, reader, UnknownKey::is_error, where);
  // What is no single value was reported above.
  const auto is_text = [&](const char* side) {
    const auto kind = item.find(side)->kind;
    return kind == YamlNode::Kind::scalar || kind == YamlNode::Kind::null;
  };
  if (!is_text("from") || !is_text("to")) return std::nullopt;
  auto alias = Alias::compile(entry);
  if (!alias) {
    reader.error(side_of(item, alias.error().message), where + alias.error().message);
    return std::nullopt;
  }
  return Rule{std::move(*alias), item.line};
}

}  // namespace

void read_aliases(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader) {
  if (node.kind != YamlNode::Kind::list)
    return reader.error(node, fmt::format("aliases: a list of rules was expected, as [{}]", kExample));
  if (node.items.size() > registry::kMostAliases)
    return reader.error(node, fmt::format("aliases: {} rules, at most {} are possible", node.items.size(),
                                          registry::kMostAliases));
  std::vector<Rule> rules;
  out.aliases.clear();
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const YamlNode& item = node.items[i];
    const std::string where = fmt::format("aliases[{}].", i + 1);
    auto rule = read_alias(item, where, reader);
    if (!rule) continue;
    if (const auto doubt = rule->alias.doubt(); !doubt.empty())
      reader.warn(side_of(item, doubt), where + doubt);
    warn_of_dead_rule(item, where, rules, rule->alias, reader);
    out.aliases.push_back(rule->alias.entry());
    rules.push_back(std::move(*rule));
  }
}

void warn_of_mirrors_behind_aliases(const YamlNode& root, const registry::RulesInput& rules,
                                    ConfigReader& reader) {
  const YamlNode* mirrors = root.is_map() ? root.find("mirrors") : nullptr;
  if (!mirrors || !mirrors->is_map()) return;
  std::vector<Alias> aliases;
  for (const AliasEntry& entry : rules.aliases)
    if (auto alias = Alias::compile(entry)) aliases.push_back(std::move(*alias));
  for (const auto& [key, value] : mirrors->entries) {
    const auto name = registry::parse_registry_name(key.scalar);
    if (!name) continue;
    const bool is_led_to = std::any_of(aliases.begin(), aliases.end(),
                                       [&](const Alias& alias) { return alias.leads_to(name->text); });
    if (is_led_to) continue;
    const auto renames = std::find_if(aliases.begin(), aliases.end(),
                                      [&](const Alias& alias) { return alias.covers_registry(name->text); });
    if (renames == aliases.end()) continue;
    reader.warn(
        key,
        fmt::format("mirrors.\"{}\" is not used for what clients ask of {}: the alias {} gives all of it "
                    "another name first",
                    printable(key.scalar, 80), name->text, renames->str()));
  }
}

std::vector<std::string> fall_backs_of_aliases(const registry::RulesInput& rules) {
  std::vector<std::string> notes;
  for (const AliasEntry& entry : rules.aliases) {
    if (entry.from == entry.to) continue;
    const auto slash = entry.from.find('/');
    const std::string registry = printable(entry.from.substr(0, slash), 80);
    const std::string below = slash == std::string::npos || entry.from.substr(slash) == "/**"
                                  ? "all its names"
                                  : printable(entry.from.substr(slash + 1), 80);
    notes.push_back(
        fmt::format("{} may answer for {} when layerd does not: a runtime then asks the registry it knows by "
                    "that name; close that way (containerd: server in its hosts.toml; k3s: "
                    "--disable-default-registry-endpoint)",
                    registry.find('*') == std::string::npos ? registry : "the registry itself", below));
  }
  return notes;
}

std::string show_aliases(const registry::RulesInput& rules) {
  std::string out;
  for (const AliasEntry& entry : rules.aliases)
    out += fmt::format("\n  - {{from: {}, to: {}}}", yaml_quoted(entry.from), yaml_quoted(entry.to));
  return out.empty() ? "[]" : out;
}

}  // namespace layerd::daemon
