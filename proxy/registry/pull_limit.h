// What a registry says about how many pulls it still allows: Docker Hub's ratelimit-limit and
// ratelimit-remaining, "100;w=21600" (protocol.md §3.4). Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace layerd::registry {

struct PullLimit {
  std::uint64_t most = 0;  // pulls in one window
  std::uint64_t left = 0;
  std::chrono::seconds window{0};  // 0: not said; at most 366 days
};

// The values of the two headers. Nothing unless both begin with a number.
std::optional<PullLimit> read_pull_limit(std::string_view limit, std::string_view remaining);

// "76 of 100 pulls in 6 h are left".
std::string describe(const PullLimit& limit);

}  // namespace layerd::registry
