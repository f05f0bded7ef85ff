// The part `access` of the configuration, as the handlers use it. Plain values.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "proxy/registry/pattern.h"
#include "runtime/clock.h"

namespace layerd::proxy {

struct AccessSettings {
  bool challenge_ping = false;                         // /v2/ asks for credentials too
  Duration recheck = std::chrono::minutes(10);         // how old the class of a repository in use may be
  Duration grant = std::chrono::minutes(10);           // how long upstream's yes to a client holds
  Duration offline_grace = std::chrono::hours(72);     // and while upstream cannot be asked
  std::vector<uid_t> runtime_uids{0};                  // who the runtimes of this node run as
  std::vector<registry::Pattern> require_client = {};  // the node's own credentials are not for these

  bool is_runtime_uid(uid_t uid) const {
    return std::find(runtime_uids.begin(), runtime_uids.end(), uid) != runtime_uids.end();
  }
  bool requires_client(const std::string& repository_key) const {
    return std::any_of(require_client.begin(), require_client.end(),
                       [&](const auto& pattern) { return pattern.matches_repository(repository_key); });
  }
};

}  // namespace layerd::proxy
