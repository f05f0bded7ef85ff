// AskedLately: when a client last asked for something of a registry, by the name the client used. For `layerd
// check`: a runtime that never asks goes past us. Loop thread.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "runtime/loop.h"

namespace layerd::proxy {

class AskedLately {
 public:
  explicit AskedLately(const Loop& loop) : loop_(loop) {}

  void note(const std::string& ns) {
    if (all_.size() >= kMost && !all_.contains(ns)) forget_oldest();
    all_[ns] = loop_.now();
  }
  // Nothing: not since the start, or long before many others.
  std::optional<Duration> since(const std::string& ns) const {
    const auto found = all_.find(ns);
    return found == all_.end() ? std::nullopt : std::make_optional(loop_.now() - found->second);
  }

 private:
  static constexpr std::size_t kMost = 256;
  void forget_oldest() {
    auto oldest = all_.begin();
    for (auto entry = all_.begin(); entry != all_.end(); ++entry)
      if (entry->second < oldest->second) oldest = entry;
    all_.erase(oldest);
  }

  const Loop& loop_;
  std::map<std::string, TimePoint> all_;
};

}  // namespace layerd::proxy
