// What the upstream side may be told: time-outs, bounds, who we are. Plain values; every duration is
// a longest time unless said otherwise.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "runtime/clock.h"

namespace layerd::upstream {

struct FetcherSettings {
  std::string version = "0.1.0";  // User-Agent: layerd/<version>
  std::string instance;           // of this process, random; Via: 1.1 <via_name(instance)>
  bool offline = false;           // true: no upstream is ever asked
  // Where runtimes keep TLS settings by host, /etc/docker/certs.d and the like.
  std::vector<std::string> certs_dirs = {};

  // One fetch whose caller gave no deadline: over all endpoints, retries, redirects and tokens.
  Duration total = std::chrono::seconds(20);
  // DNS, TCP and TLS of one connection.
  Duration connect = std::chrono::seconds(10);
  // From the connection to the end of the answer's head.
  Duration first_byte = std::chrono::seconds(15);
  // Longest silence inside a body.
  Duration stall = std::chrono::seconds(30);
  // One answer of a token server, its body included.
  Duration token = std::chrono::seconds(10);
  // An endpoint that has others behind it gets half of the time that is left, but at least this.
  Duration shortest_attempt = std::chrono::seconds(3);

  // Waits between rounds over the endpoints: doubling, jittered by half.
  Duration backoff_first = std::chrono::milliseconds(200);
  Duration backoff_most = std::chrono::seconds(4);
  // Rounds over the endpoints of one fetch, the first included.
  std::size_t rounds = 4;

  // The breaker: after so many failures in a row to get any answer an endpoint is left alone.
  unsigned breaker_failures = 3;
  Duration breaker_first = std::chrono::seconds(1);
  Duration breaker_most = std::chrono::seconds(30);
  // The only endpoint there is fails at once for this long after its last failure, no longer: a pull
  // storm on a dead line does not hang, and a line that comes back is noticed within this time.
  Duration fail_fast = std::chrono::seconds(1);

  // How long credentials that were refused are left alone: doubling up to the most, forgotten when
  // they change or work.
  Duration refused_first = std::chrono::seconds(30);
  Duration refused_most = std::chrono::minutes(10);
};

inline constexpr std::size_t kMostRedirects = 5;

// Our pseudonym in Via: what we send upstream and what a request that came back to us carries.
inline std::string via_name(const std::string& instance) { return "layerd-" + instance; }

}  // namespace layerd::upstream
