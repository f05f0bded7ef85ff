// What App tells about itself: the JSON of docs/status.md, the status page's figures, the gauges.
#include <fmt/core.h>

#include <cmath>

#include "daemon/app.h"
#include "daemon/version.h"

namespace layerd::daemon {
namespace {

double seconds_of(Duration duration) { return std::chrono::duration<double>(duration).count(); }

Json downloads_json(const proxy::Downloads& downloads, const SitePart* peers) {
  Json rows = Json::array();
  for (const auto& row : downloads.status())
    rows.push_back({{"digest", row.digest.str()},
                    {"repository", row.repository},
                    {"state", row.state},
                    {"size", row.size ? Json(*row.size) : Json()},
                    {"present", row.present},
                    {"followers", row.followers},
                    {"segments", row.segments},
                    {"endpoint", row.endpoint},
                    {"from_members", row.from_members},
                    {"from_upstream", row.from_upstream},
                    {"units", peers ? peers->units(row.digest) : Json::array()},
                    {"bytes_per_second", std::round(row.bytes_per_second)},
                    {"age_seconds", row.age_seconds}});
  return rows;
}

Json pull_limit_json(const std::optional<upstream::PullLimits::Known>& known, TimePoint now) {
  if (!known) return {};
  return {{"limit", known->limit.most},
          {"remaining", known->limit.left},
          {"window_seconds", known->limit.window.count()},
          {"age_seconds", std::chrono::duration<double>(now - known->at).count()}};
}

Json upstreams_json(const upstream::RegistryFetcher& fetcher, TimePoint now) {
  Json rows = Json::array();
  for (const auto& row : fetcher.health()) {
    rows.push_back(
        {{"endpoint", row.endpoint},
         {"state", upstream::name_of(row.state)},
         {"failures", row.failures},
         {"last_error", row.last_error},
         {"last_success_seconds", row.success_age_seconds ? Json(*row.success_age_seconds) : Json()},
         {"last_failure_seconds", row.failure_age_seconds ? Json(*row.failure_age_seconds) : Json()},
         {"latency_ms", std::round(row.latency_seconds * 1000)},
         {"pull_limit", pull_limit_json(fetcher.pull_limit(row.endpoint), now)}});
  }
  return rows;
}

Json cache_json(const cache::StoreStats& stats, const std::string& path) {
  return {{"path", path},
          {"bytes", stats.bytes},
          {"blobs", stats.blobs},
          {"partial_bytes", stats.partial_bytes},
          {"max_bytes", stats.max_bytes},
          {"free_bytes", stats.free_bytes},
          {"min_free_bytes", stats.min_free_bytes},
          {"evicted_bytes", stats.evicted_bytes},
          {"quarantined", stats.quarantined},
          {"read_only", stats.read_only}};
}

// hit_rate counts answers that needed no upstream of their own.
Json traffic_json(const proxy::ServedTally& served, ByteCount upstream_bytes) {
  const auto own = served.hits + served.joins + served.from_peers + served.stale,
             all = own + served.from_upstream;
  return {{"exchanges", served.exchanges},
          {"errors", served.errors},
          {"hits", served.hits},
          {"joins", served.joins},
          {"from_peers", served.from_peers},
          {"from_upstream", served.from_upstream},
          {"stale", served.stale},
          {"served_bytes", served.bytes},
          {"upstream_bytes", upstream_bytes},
          {"saved_bytes", served.bytes > upstream_bytes ? served.bytes - upstream_bytes : 0},
          {"hit_rate", all == 0 ? 0.0 : static_cast<double>(own) / static_cast<double>(all)}};
}

}  // namespace

Json App::status() const {
  const auto stats = store_->stats();
  Json listen = Json::array();
  for (const auto& address : listener_->addresses()) listen.push_back(address.str());
  const bool degraded = config_state_.source == "last_good" || stats.read_only;
  return {
      {"version", kVersion},
      {"state", draining_  ? "draining"
                : degraded ? "degraded"
                           : "serving"},
      {"trouble", trouble()},
      {"uptime_seconds", static_cast<std::int64_t>(seconds_of(loop_.now() - started_))},
      {"listen", std::move(listen)},
      {"config",
       {{"file", config_state_.file}, {"source", config_state_.source}, {"errors", config_state_.errors}}},
      {"files", file_troubles()},
      {"cache", cache_json(stats, settings_->cache_path)},
      {"traffic", traffic_json(mirror_->tally(), metrics_.total("layerd_upstream_bytes_total"))},
      {"asked", mirror_->asked_registries().counts()},
      {"downloads", downloads_json(*downloads_, peers_.get())},
      {"upstreams", upstreams_json(*fetcher_, loop_.now())},
      {"outstanding", loop_.ledger().size()},
      {"buffers_bytes", buffers_->in_use()},
      {"log_lines_dropped", log::dropped_lines()},
      {"loop_lag_ms", std::round(seconds_of(loop_.worst_lag()) * 1000)}};
}

// One sentence when something is worse than promised; empty when all is well.
std::string App::trouble() const {
  if (draining_) return "the daemon is draining";
  if (config_state_.source == "last_good")
    return "the configuration is refused; running from the last good one";
  if (!config_state_.errors.empty())
    return "the changed configuration is refused; the former one is in force";
  if (store_->stats().read_only) return "the disk refuses writes; new blobs are passed through unkept";
  if (const auto files = file_troubles(); !files.empty())
    return "a file of credentials or certificates cannot be used; `layerd status` says which";
  if (peers_ && !peers_->trouble().empty()) return peers_->trouble();
  return cgroups_->trouble();
}

// Read where they are used, so that they are no part of the configuration's own errors.
std::vector<std::string> App::file_troubles() const {
  auto sentences = fetcher_->file_troubles();
  for (auto& sentence : tls_->troubles()) sentences.push_back(std::move(sentence));
  return sentences;
}

proxy::StatusFigures App::figures() const {
  proxy::StatusFigures figures;
  figures.version = kVersion;
  figures.uptime_seconds = seconds_of(loop_.now() - started_);
  figures.trouble = trouble();
  figures.served = mirror_->tally();
  figures.store = store_->stats();
  figures.downloads = downloads_->status();
  return figures;
}

Counter& App::config_loads(const char* result) {
  return metrics_.counter("layerd_config_loads_total",
                          "Configurations read while running, by what became of them.", {{"result", result}});
}

void App::register_gauges() {
  config_loads("taken");
  config_loads("refused");
  metrics_.gauge_from("layerd_loop_lag_seconds",
                      "The longest the loop was late for its tick in the last minute.",
                      [this] { return seconds_of(loop_.worst_lag()); });
  metrics_.gauge_from("layerd_worker_queue_jobs", "Jobs that wait for a worker thread.",
                      [this] { return static_cast<double>(workers_->queued()); });
  metrics_.gauge_from("layerd_buffer_bytes", "Bytes of the buffer budget in use.",
                      [this] { return static_cast<double>(buffers_->in_use()); });
  metrics_.gauge_from("layerd_outstanding_operations", "Operations that wait for something.",
                      [this] { return static_cast<double>(loop_.ledger().size()); });
  metrics_.gauge_from("layerd_log_lines_dropped", "Log lines lost because stderr could not take them.",
                      [] { return static_cast<double>(log::dropped_lines()); });
  metrics_.gauge_from("layerd_config_refused",
                      "1 while the configuration file is refused and another one is in force.",
                      [this] { return config_state_.errors.empty() ? 0.0 : 1.0; });
  metrics_.gauge_from(
      "layerd_unusable_files",
      "Files of credentials and certificates that cannot be used, as `layerd status` lists them.",
      [this] { return static_cast<double>(file_troubles().size()); });
  metrics_.gauge_from("layerd_uptime_seconds", "Seconds since the start.",
                      [this] { return seconds_of(loop_.now() - started_); });
}

}  // namespace layerd::daemon
