// What each endpoint last said about how many pulls it still allows, for `layerd status` and the metrics,
// and to whom it said so: registries count each account for itself.
// Loop thread. It decides nothing: a registry that has had enough answers 429.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "proxy/http/message.h"
#include "proxy/registry/pull_limit.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace layerd::upstream {

class PullLimits {
 public:
  PullLimits(Loop& loop, Metrics& metrics) : loop_(loop), metrics_(metrics) {}
  PullLimits(const PullLimits&) = delete;
  PullLimits& operator=(const PullLimits&) = delete;

  struct Known {
    registry::PullLimit limit;
    TimePoint at{};
    std::string asked_as = {};
  };
  // The headers of any answer of the endpoint itself; those without a limit change nothing.
  void note(const std::string& endpoint, std::string asked_as, const http::Headers& headers);
  // Nothing: it has said nothing yet.
  std::optional<Known> of(const std::string& endpoint) const;

 private:
  void show(const std::string& endpoint, const registry::PullLimit& limit);
  Loop& loop_;
  Metrics& metrics_;
  std::map<std::string, Known> all_;
};

}  // namespace layerd::upstream
