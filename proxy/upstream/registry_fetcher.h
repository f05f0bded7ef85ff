// RegistryFetcher: the Fetcher of the daemon. Owns what outlives single requests (tokens, demands,
// health of the endpoints); each fetch is a FailoverFlow of its own, held by its Ticket. Loop thread.
#pragma once

#include <vector>

#include "proxy/upstream/fetcher.h"
#include "proxy/upstream/flow_parts.h"

namespace layerd::upstream {

class RegistryFetcher final : public Fetcher {
 public:
  // `rules` answers the current rules; a fetch keeps those it began with. References outlive this,
  // and this outlives its Tickets and the bodies it handed out.
  RegistryFetcher(Loop& loop, Workers& workers, Children& children, http::Client& client,
                  Callback<registry::RulesPtr()> rules, Metrics& metrics, FetcherSettings settings);
  RegistryFetcher(const RegistryFetcher&) = delete;
  RegistryFetcher& operator=(const RegistryFetcher&) = delete;

  Ticket fetch(FetchRequest request, Done<FetchResponse> done) override;

  // From the next request on; those under way see the new time-outs from their next step on.
  void set_settings(FetcherSettings settings) { settings_ = std::move(settings); }
  // Breakers that are open let the next request through.
  void give_another_chance() { health_.give_another_chance(); }
  // Bytes per second of all bodies together; 0: no limit.
  void set_download_limit(ByteCount rate) { download_limit_.set(rate); }
  // Where credentials come from besides `configs`, from the next request on. Never null.
  void set_credentials(registry::CredentialRulesPtr rules) { credentials_.set_rules(std::move(rules)); }
  // As CredentialSource has them.
  Ticket look_at_files(Callback<void()> done) { return credentials_.look_at_files(std::move(done)); }
  std::vector<std::string> file_troubles() const { return credentials_.file_troubles(); }
  // What flows of their own may share with those of this object (`layerd check`).
  const FlowParts& parts() const { return parts_; }
  // For `layerd status`: every endpoint asked lately, by name.
  std::vector<EndpointReport> health() const { return health_.report(); }
  // Pulls that an endpoint of health() said are left.
  std::optional<PullLimits::Known> pull_limit(const std::string& endpoint) const {
    return pull_limits_.of(endpoint);
  }

 private:
  Loop& loop_;
  Callback<registry::RulesPtr()> rules_;
  FetcherSettings settings_;
  CredentialSource credentials_;
  Tokens tokens_;
  Refusals basic_refusals_;
  Refusals rate_limits_;
  Demands demands_;
  EndpointHealth health_;
  PullLimits pull_limits_;
  RateLimit download_limit_;
  FlowParts parts_;
};

}  // namespace layerd::upstream
