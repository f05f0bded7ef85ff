#include "proxy/upstream/registry_fetcher.h"

#include <fmt/core.h>

#include <utility>

#include "proxy/upstream/failover.h"

namespace layerd::upstream {

RegistryFetcher::RegistryFetcher(Loop& loop, Workers& workers, Children& children, http::Client& client,
                                 Callback<registry::RulesPtr()> rules, Metrics& metrics,
                                 FetcherSettings settings)
    : loop_(loop),
      rules_(std::move(rules)),
      settings_(std::move(settings)),
      credentials_(loop, workers, children, metrics),
      tokens_(loop, client, settings_, metrics),
      basic_refusals_(settings_.refused_first, settings_.refused_most),
      rate_limits_(settings_.refused_first, settings_.refused_most),
      health_(loop, settings_),
      pull_limits_(loop, metrics),
      download_limit_(loop),
      parts_{loop,
             client,
             metrics,
             settings_,
             credentials_,
             tokens_,
             basic_refusals_,
             rate_limits_,
             demands_,
             health_,
             pull_limits_,
             download_limit_,
             metrics.counter("layerd_upstream_bytes_total", "Body bytes read from upstream registries."),
             metrics.counter("layerd_upstream_redirects_total", "Redirects of upstream registries followed."),
             metrics.counter("layerd_upstream_retries_total",
                             "Attempts at an endpoint after an earlier one of the same fetch failed.")} {}

Ticket RegistryFetcher::fetch(FetchRequest request, Done<FetchResponse> done) {
  LAYERD_ON_LOOP(loop_);
  if (settings_.offline) {
    Error error{
        Errc::upstream_unreachable,
        fmt::format("{} is not asked: layerd is configured with offline: true", request.target->registry)};
    error.diagnosis = "offline";
    return loop_.post(
        [error = std::move(error), done = std::move(done)]() mutable { done(std::move(error)); });
  }
  auto flow = std::make_shared<FailoverFlow>(parts_, rules_(), std::move(request), std::move(done));
  flow->start();
  return Ticket(flow);
}

}  // namespace layerd::upstream
