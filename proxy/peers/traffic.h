// Traffic: what passed between this node and each member, for people (`layerd peers`). Loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/clock.h"

namespace layerd::peers {

struct MemberTraffic {
  std::string id;
  ByteCount received = 0, sent = 0;          // bytes of blobs
  std::uint64_t questions = 0, answers = 0;  // that we asked it, and gave it
  std::uint64_t faults = 0;  // questions it did not answer as it should, answers that broke off
  std::string last_fault;    // a sentence; empty: none yet
  bool is_refused = false;   // the last connection to it was refused by one of the two: no common secret, …
  Duration latency{};        // of its answers to small messages, smoothed; 0: not known
  TimePoint seen{};          // last sign of life
  std::string calls_itself;  // another id than the one it is listed under; empty: the same
};
using MemberTrafficPtr = std::shared_ptr<MemberTraffic>;

class Traffic {
 public:
  static constexpr std::size_t kMost = 8192;

  // Kept until there are more than kMost; then those nobody holds are forgotten.
  MemberTrafficPtr of(const std::string& id);
  // In order of ids.
  std::vector<MemberTrafficPtr> all() const;

 private:
  std::map<std::string, MemberTrafficPtr> members_;
};

}  // namespace layerd::peers
