// Small whole objects kept in memory: at most 64 KiB each, 1 MiB together, the least recently
// asked for go first. Loop thread.
#pragma once

#include <list>
#include <string>
#include <unordered_map>

#include "runtime/digest.h"

namespace layerd::cache {

class HotObjects {
 public:
  static constexpr std::size_t kMostEach = 64 << 10;
  static constexpr std::size_t kMostTogether = 1 << 20;

  const std::string* find(const Digest& digest) {
    const auto found = places_.find(digest);
    if (found == places_.end()) return nullptr;
    objects_.splice(objects_.begin(), objects_, found->second);
    return &found->second->second;
  }
  void put(const Digest& digest, ByteView content) {
    if (content.size() > kMostEach || places_.contains(digest)) return;
    objects_.emplace_front(digest, content);
    places_[digest] = objects_.begin();
    bytes_ += content.size();
    while (bytes_ > kMostTogether) erase(objects_.back().first);
  }
  void erase(const Digest& digest) {
    const auto found = places_.find(digest);
    if (found == places_.end()) return;
    const auto place = found->second;
    bytes_ -= place->second.size();
    places_.erase(found);
    objects_.erase(place);
  }

 private:
  std::list<std::pair<Digest, std::string>> objects_;  // most recent first
  std::unordered_map<Digest, std::list<std::pair<Digest, std::string>>::iterator> places_;
  std::size_t bytes_ = 0;
};

}  // namespace layerd::cache
