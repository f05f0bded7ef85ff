// A pull through layerd as a runtime does it, over a plain socket, to see that it works before any
// runtime depends on it. Blocks; for commands.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "runtime/result.h"

namespace layerd::daemon::setup {

struct Pulled {
  std::string image;
  std::uint64_t bytes = 0;  // manifests, configuration and the smallest layer
  std::string source;       // Layerd-Source of the manifest: "hit", "upstream", …
};

// Manifest by tag, the one of this machine's platform, its configuration and its smallest layer, each
// compared with its digest. listen: "127.0.0.1:5151". `patience` for each answer to come or go on.
// Errors: upstream_unreachable: nobody listens there; upstream_status with layerd's own words;
// upstream_protocol, digest_mismatch, upstream_timeout, truncated; canceled: is_interrupted, which is asked
// at least once a second.
Result<Pulled> pull_through(
    const std::string& listen, const std::string& image,
    std::chrono::seconds patience = std::chrono::seconds(60),
    const std::function<bool()>& is_interrupted = [] { return false; });

}  // namespace layerd::daemon::setup
