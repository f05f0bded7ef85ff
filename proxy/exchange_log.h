// The one place where an exchange with a client is logged and counted (docs/logging.md). Handlers
// annotate the exchange with notes; this writes them when it has ended. Loop thread.
#pragma once

#include <array>
#include <string_view>

#include "proxy/http/exchange.h"
#include "runtime/metrics.h"

namespace layerd::proxy {

// How the answer came about: the value of Layerd-Source and of cache= in the log.
enum class Served : std::uint8_t {
  hit,       // from the cache, without any upstream traffic for its bytes
  join,      // by following what another client had begun
  peer,      // fetched for this client, and a member of the site began to give it
  upstream,  // fetched for this client
  stale,     // from the cache, because upstream could not be asked
  none,      // an error, or nothing of a registry
};
std::string_view name_of(Served served);

// Names of notes that mean something here.
namespace notes {
inline constexpr std::string_view kEvent = "event";
inline constexpr std::string_view kRef = "ref";
inline constexpr std::string_view kDigest = "digest";
inline constexpr std::string_view kCache = "cache";
inline constexpr std::string_view kRange = "range";
inline constexpr std::string_view kUpstream = "upstream";
inline constexpr std::string_view kDiagnosis = "diagnosis";
inline constexpr std::string_view kError = "err";
}  // namespace notes

// What was served since the start, for the hit rate of `layerd status`.
struct ServedTally {
  std::uint64_t exchanges = 0, errors = 0;
  std::uint64_t hits = 0, joins = 0, from_peers = 0, from_upstream = 0, stale = 0;
  ByteCount bytes = 0, hit_bytes = 0;  // bodies; of them from the cache or a shared download
};

class ExchangeLog {
 public:
  explicit ExchangeLog(Metrics& metrics);
  void ended(const http::Service::Summary& summary);
  const ServedTally& tally() const { return tally_; }

 private:
  static constexpr std::size_t kKinds = 5, kSources = 6;
  void count(const http::Service::Summary& summary, std::string_view event, Served served);

  Metrics& metrics_;
  std::array<std::array<Counter*, kSources>, kKinds> exchanges_{};
  Counter& served_bytes_;
  Counter& broken_bodies_;
  Histogram& first_byte_;
  ServedTally tally_;
};

}  // namespace layerd::proxy
