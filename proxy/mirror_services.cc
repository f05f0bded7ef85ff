#include "proxy/mirror_services.h"

#include <fmt/core.h>

namespace layerd::proxy {
namespace {

constexpr std::size_t kMostBroken = 1024;
constexpr Duration kReopenedWithin = std::chrono::seconds(60);

}  // namespace

void BrokenBodies::remember(const Digest& digest) {
  if (broken_at_.size() >= kMostBroken) broken_at_.clear();
  broken_at_[digest] = loop_.now();
}

bool BrokenBodies::recent(const Digest& digest) {
  const auto found = broken_at_.find(digest);
  if (found == broken_at_.end()) return false;
  if (loop_.now() - found->second < kReopenedWithin) return true;
  broken_at_.erase(found);
  return false;
}

Error offline_error(std::string_view what) {
  Error error{Errc::upstream_unreachable,
              fmt::format("{} is not in the cache, and with offline: true no upstream is asked", what)};
  error.diagnosis = "offline";
  return error;
}

}  // namespace layerd::proxy
