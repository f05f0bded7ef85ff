// Rules that contradict each other: each of them is legal, and together one is never used, or is used only
// for another way to write the same registry. A warning with file and line at the one that loses.
#pragma once

#include "daemon/config_reader.h"
#include "proxy/access_settings.h"
#include "proxy/registry/rules.h"

namespace layerd::daemon {

// root: of the file whose lines the warnings name. rules, access: all that is in force with it.
void warn_of_contradictions(const YamlNode& root, const registry::RulesInput& rules,
                            const proxy::AccessSettings& access, ConfigReader& reader);

}  // namespace layerd::daemon
