// Rules of the configuration that look as if they were meant for a name and are not used for it. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/registry/rules.h"

namespace layerd::registry {

// `repository` is what the client asked for beside target.ns, `target` what Rules::resolve made of it.
// A sentence each, with the way out; at most 16.
std::vector<std::string> near_misses(const RulesInput& input, std::string_view repository,
                                     const Target& target);

}  // namespace layerd::registry
