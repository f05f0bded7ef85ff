// What the walks of `layerd check` use: the same parts as pulls, except that connections, the demands of
// endpoints and their health are the walk's own. So a walk writes nothing into the cache and opens no
// breaker; credentials, tokens and what is remembered of refusals are shared, since a wrong password that is
// tried again and again locks the account. Loop thread.
#pragma once

#include <memory>
#include <string>

#include "cache/blob_store.h"
#include "cache/catalog.h"
#include "proxy/check_recorder.h"
#include "proxy/http/client_pool.h"
#include "proxy/net/dialer.h"
#include "proxy/net/resolver.h"
#include "proxy/registry/rules.h"
#include "proxy/upstream/flow_parts.h"

namespace layerd::proxy {

// Borrowed; all of it outlives the walks.
struct CheckParts {
  Loop& loop;
  Metrics& metrics;
  net::Resolver& resolver;
  net::Dialer& dialer;
  const upstream::FlowParts& flows;   // of the fetcher
  cache::BlobStore* store = nullptr;  // null: no daemon runs here, what is cached is not known
  cache::Catalog* catalog = nullptr;  // null with `store`
};

struct CheckQuestion {
  std::string name;                                   // an image, or a registry
  std::string platform;                               // "linux/arm64/v8"; empty: this machine's
  registry::RulesPtr rules;                           // never null
  std::shared_ptr<const registry::RulesInput> input;  // what they were made of; never null
  net::ProxyRulesPtr proxies = nullptr;               // null: none
  bool offline = false;
};

// What one walk has for itself.
struct CheckKit {
  CheckKit(const CheckParts& parts, CheckRecorder& watcher, net::ProxyRulesPtr way_out)
      : client(parts.loop, parts.dialer, parts.metrics),
        health(parts.loop, parts.flows.settings),
        flows{parts.loop,
              client,
              parts.metrics,
              parts.flows.settings,
              parts.flows.credentials,
              parts.flows.tokens,
              parts.flows.basic_refusals,
              parts.flows.rate_limits,
              demands,
              health,
              parts.flows.pull_limits,
              parts.flows.download_limit,
              parts.flows.body_bytes,
              parts.flows.redirects,
              parts.flows.retries,
              &watcher},
        proxies(std::move(way_out)) {
    client.set_proxies(proxies);
  }
  CheckKit(const CheckKit&) = delete;
  CheckKit& operator=(const CheckKit&) = delete;

  http::PooledClient client;
  upstream::Demands demands;
  upstream::EndpointHealth health;
  upstream::FlowParts flows;
  const net::ProxyRulesPtr proxies;
};

}  // namespace layerd::proxy
