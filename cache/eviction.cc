#include "cache/eviction.h"

#include <algorithm>

namespace layerd::cache {

int age_class(std::int64_t last_used, std::int64_t now) {
  int number = 0;
  for (auto hours = (now - last_used) / 3600; hours > 0; hours /= 2) ++number;
  return number;
}

std::vector<EvictionCandidate> choose_victims(std::vector<EvictionCandidate> candidates, ByteCount needed,
                                              std::int64_t now) {
  std::stable_sort(candidates.begin(), candidates.end(), [now](const auto& a, const auto& b) {
    const int class_a = age_class(a.last_used, now), class_b = age_class(b.last_used, now);
    if (class_a != class_b) return class_a > class_b;
    if (a.size != b.size) return a.size > b.size;
    return a.last_used < b.last_used;
  });
  ByteCount freed = 0;
  std::size_t count = 0;
  while (count < candidates.size() && freed < needed) freed += candidates[count++].size;
  candidates.resize(count);
  return candidates;
}

}  // namespace layerd::cache
