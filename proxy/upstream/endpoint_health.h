// EndpointHealth: how each endpoint has been doing, and the breaker that follows from it. An endpoint
// that gave no answer several times in a row is left alone for a growing while, then one request finds
// out. Any answer, whatever its status, makes it well again. Loop thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "proxy/upstream/settings.h"
#include "runtime/loop.h"
#include "runtime/result.h"

namespace layerd::upstream {

enum class EndpointState {
  well,     // the last request got an answer, or none was made yet
  failing,  // some failures in a row, fewer than the breaker takes
  open,     // left alone while there are others
  probing,  // one request finds out whether it is back
};
std::string_view name_of(EndpointState state);

// For `layerd status`.
struct EndpointReport {
  std::string endpoint;  // "https://ghcr.io"
  EndpointState state = EndpointState::well;
  unsigned failures = 0;   // in a row
  std::string last_error;  // empty: none since the start
  std::optional<double> success_age_seconds, failure_age_seconds;
  double latency_seconds = 0;  // to the head of an answer, smoothed
};

class EndpointHealth {
 public:
  EndpointHealth(Loop& loop, const FetcherSettings& settings) : loop_(loop), settings_(settings) {}
  EndpointHealth(const EndpointHealth&) = delete;
  EndpointHealth& operator=(const EndpointHealth&) = delete;

  // One request under way. Dropped without a verdict it says nothing about the endpoint.
  class Attempt {
   public:
    Attempt() = default;
    Attempt(Attempt&& other) noexcept;
    Attempt& operator=(Attempt&& other) noexcept;
    ~Attempt();
    bool is_open() const { return health_ != nullptr; }
    void answered();
    void failed(const Error& error);

   private:
    friend class EndpointHealth;
    EndpointHealth* health_ = nullptr;
    std::string endpoint_;
    TimePoint began_{};
    bool is_probe_ = false;
  };

  // False while the breaker is open: ask another endpoint if there is one.
  bool is_usable(const std::string& endpoint) const;
  // The failure that stands for the only endpoint there is, within settings.fail_fast of it.
  std::optional<Error> fresh_failure(const std::string& endpoint) const;
  // What opened its breaker.
  Error last_failure(const std::string& endpoint) const;
  Attempt begin(const std::string& endpoint);
  // What made endpoints fail may be mended (a changed configuration): open breakers let the next request
  // through; its failure opens them again.
  void give_another_chance();
  std::vector<EndpointReport> report() const;

 private:
  struct Entry {
    unsigned failures = 0;
    bool is_probed = false;
    TimePoint open_until{};
    Duration open_for{};
    std::optional<TimePoint> last_success, last_failure;
    TimePoint last_use{};
    Error last_error;
    double latency_seconds = 0;
  };
  bool is_tripped(const Entry& entry) const { return entry.failures >= settings_.breaker_failures; }
  EndpointState state_of(const Entry& entry) const;
  void make_room();

  Loop& loop_;
  const FetcherSettings& settings_;
  std::map<std::string, Entry> entries_;
};

}  // namespace layerd::upstream
