// `aliases` of the configuration: short names and other names for registries (docs/names.md). Pure.
#pragma once

#include <string>
#include <vector>

#include "daemon/config_reader.h"
#include "proxy/registry/rules.h"

namespace layerd::daemon {

// Every wrong rule is an error at its line; a rule that an earlier one leaves nothing to, and one that
// drops a part of the name, is a warning.
void read_aliases(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader);

// Entries of `mirrors` in `root` (one file's whole tree) that are never asked for, because an alias gives
// all names of that registry another one.
void warn_of_mirrors_behind_aliases(const YamlNode& root, const registry::RulesInput& rules,
                                    ConfigReader& reader);

// For `config --check`: who answers for an alias's names when layerd does not, a sentence each.
std::vector<std::string> fall_backs_of_aliases(const registry::RulesInput& rules);

// As YAML, on one line for each rule; "[]" if there is none.
std::string show_aliases(const registry::RulesInput& rules);

}  // namespace layerd::daemon
