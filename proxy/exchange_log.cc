#include "proxy/exchange_log.h"

#include "runtime/log.h"

namespace layerd::proxy {
namespace {

constexpr std::array<std::string_view, 5> kKindNames{"blob", "manifest", "relay", "site", "refused"};
constexpr std::array<std::string_view, 6> kSourceNames{"hit", "join", "peer", "upstream", "stale", "none"};

std::size_t index_of(std::string_view event) {
  for (std::size_t i = 0; i < kKindNames.size(); ++i) {
    if (kKindNames[i] == event) return i;
  }
  return kKindNames.size() - 1;
}

Served served_of(std::string_view word) {
  for (std::size_t i = 0; i < kSourceNames.size(); ++i) {
    if (kSourceNames[i] == word) return static_cast<Served>(i);
  }
  return Served::none;
}

std::string_view note_of(const http::Service::Summary& summary, std::string_view name) {
  for (const auto& [key, value] : *summary.notes) {
    if (key == name) return value;
  }
  return {};
}

std::int64_t milliseconds(double seconds) { return static_cast<std::int64_t>(seconds * 1000 + 0.5); }

// warn: served, but worse than promised.
LogLevel level_of(const http::Service::Summary& summary, std::string_view event, Served served) {
  if (event == "site") return LogLevel::debug;
  if (served == Served::stale || summary.status >= 500) return LogLevel::warn;
  return LogLevel::info;
}

}  // namespace

std::string_view name_of(Served served) { return kSourceNames[static_cast<std::size_t>(served)]; }

ExchangeLog::ExchangeLog(Metrics& metrics)
    : metrics_(metrics),
      served_bytes_(metrics.counter("layerd_served_bytes_total", "Body bytes sent to clients.")),
      broken_bodies_(metrics.counter("layerd_broken_bodies_total",
                                     "Answers that ended before all of their body had been sent.")),
      first_byte_(metrics.histogram("layerd_first_byte_seconds",
                                    "Time from a client's request to the first byte of its answer.",
                                    {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30})) {}

void ExchangeLog::count(const http::Service::Summary& summary, std::string_view event, Served served) {
  const auto source = static_cast<std::size_t>(served);
  Counter*& counter = exchanges_[index_of(event)][source];
  if (!counter) {
    counter = &metrics_.counter(
        "layerd_exchanges_total", "Requests of clients that have ended, by kind and source.",
        {{"kind", std::string(kKindNames[index_of(event)])}, {"source", std::string(kSourceNames[source])}});
  }
  counter->add();
  served_bytes_.add(summary.body_bytes);
  if (summary.status != 0) first_byte_.observe(summary.first_byte_seconds);
  if (summary.status != 0 && !summary.complete) broken_bodies_.add();
  ++tally_.exchanges;
  tally_.bytes += summary.body_bytes;
  if (summary.status >= 400 || summary.status == 0) ++tally_.errors;
  if (served == Served::hit) ++tally_.hits;
  if (served == Served::join) ++tally_.joins;
  if (served == Served::peer) ++tally_.from_peers;
  if (served == Served::upstream) ++tally_.from_upstream;
  if (served == Served::stale) ++tally_.stale;
  if (served == Served::hit || served == Served::join || served == Served::stale)
    tally_.hit_bytes += summary.body_bytes;
}

void ExchangeLog::ended(const http::Service::Summary& summary) {
  const std::string_view noted = note_of(summary, notes::kEvent);
  const std::string_view event = noted.empty() ? "refused" : noted;
  const Served served = served_of(note_of(summary, notes::kCache));
  count(summary, event, served);
  const LogLevel level = level_of(summary, event, served);
  if (!log::enabled(level)) return;
  LogLine line(level, event);
  if (summary.request) line.field("method", printable(summary.request->method, 16));
  for (const auto& [name, value] : *summary.notes) {
    if (name != notes::kEvent && name != notes::kError) line.field(name, value);
  }
  line.field("status", summary.status).field("bytes", summary.body_bytes);
  line.field("wait_ms", milliseconds(summary.first_byte_seconds));
  line.field("total_ms", milliseconds(summary.total_seconds));
  if (summary.peer) line.field("client", summary.peer->host);
  if (!summary.complete) line.field("complete", false);
  const std::string_view error = note_of(summary, notes::kError);
  if (!error.empty())
    line.field("err", error);
  else if (!summary.error.empty())
    line.field("err", summary.error);
}

}  // namespace layerd::proxy
