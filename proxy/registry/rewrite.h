// Rewrites of repository names (`mirrors.<registry>.rewrite`): Go's regexp.ReplaceAllString on RE2,
// which is Go's own engine (protocol.md §2.4). Pure; compiled once, any thread afterwards.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/result.h"

namespace layerd::registry {

class Rewrites {
 public:
  // In the order written. Errors: config, naming the expression and what RE2 says of it; also more
  // than 64 rewrites or one longer than 1 KiB.
  static Result<Rewrites> compile(const std::vector<std::pair<std::string, std::string>>& rules);

  // The repository after the first rule that changes it; unchanged if none does. At most 1 KiB long.
  // `by`, if it is given, becomes the expression of that rule.
  std::string apply(std::string_view repository, std::string* by = nullptr) const;
  bool empty() const { return rules_.empty(); }

 private:
  struct Rule;
  std::vector<std::shared_ptr<const Rule>> rules_;
};

// What Go makes of a replacement and people rarely mean: "$1x" is the group "1x", which does not
// exist. Empty if there is nothing to say, else a sentence for a warning.
std::string doubtful_replacement(std::string_view expression, std::string_view replacement);

}  // namespace layerd::registry
