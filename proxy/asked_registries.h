// AskedRegistries: how often clients asked for something of each registry and when they last did, by the name
// clients use. For `layerd check`: a runtime that never asks goes past us; for `layerd status` and `setup
// --verify`, which see by the count that it asks. Loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "runtime/loop.h"

namespace layerd::proxy {

class AskedRegistries {
 public:
  explicit AskedRegistries(const Loop& loop) : loop_(loop) {}

  void note(const std::string& ns) {
    if (all_.size() >= kMost && !all_.contains(ns)) forget_oldest();
    auto& row = all_[ns];
    ++row.times;
    row.last = loop_.now();
  }
  // Nothing: not since the start, or long before many others.
  std::optional<Duration> since(const std::string& ns) const {
    const auto found = all_.find(ns);
    return found == all_.end() ? std::nullopt : std::make_optional(loop_.now() - found->second.last);
  }
  std::map<std::string, std::uint64_t> counts() const {
    std::map<std::string, std::uint64_t> counts;
    for (const auto& [ns, row] : all_) counts.emplace(ns, row.times);
    return counts;
  }

 private:
  static constexpr std::size_t kMost = 256;  // clients choose the names
  struct Row {
    std::uint64_t times = 0;
    TimePoint last;
  };
  void forget_oldest() {
    auto oldest = all_.begin();
    for (auto entry = all_.begin(); entry != all_.end(); ++entry)
      if (entry->second.last < oldest->second.last) oldest = entry;
    all_.erase(oldest);
  }

  const Loop& loop_;
  std::map<std::string, Row> all_;
};

}  // namespace layerd::proxy
