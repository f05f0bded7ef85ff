// The part `peers.share` of the configuration: what is shared with the other members. Plain values, any
// thread.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "proxy/registry/pattern.h"

namespace layerd::peers {

struct ShareRule {
  registry::Pattern match;  // of a resolved registry, or registry/repository
  bool with_all = true;     // false: never asked about, never answered
};

struct ShareRules {
  std::vector<ShareRule> rules;  // in order; the first that matches decides
  // What no rule names is shared.
  bool is_shared(const std::string& repository_key) const {
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const ShareRule& one) {
      return one.match.matches_repository(repository_key);
    });
    return rule == rules.end() || rule->with_all;
  }
};

}  // namespace layerd::peers
