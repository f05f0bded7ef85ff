// What the flows of one RegistryFetcher share and borrow. Loop thread.
#pragma once

#include "proxy/http/client.h"
#include "proxy/registry/rules.h"
#include "proxy/upstream/credentials.h"
#include "proxy/upstream/demands.h"
#include "proxy/upstream/endpoint_health.h"
#include "proxy/upstream/flow_watcher.h"
#include "proxy/upstream/pull_limits.h"
#include "proxy/upstream/refusals.h"
#include "proxy/upstream/settings.h"
#include "proxy/upstream/tokens.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"
#include "runtime/rate_limit.h"

namespace layerd::upstream {

struct FlowParts {
  Loop& loop;
  http::Client& client;
  Metrics& metrics;
  const FetcherSettings& settings;
  CredentialSource& credentials;
  Tokens& tokens;
  Refusals& basic_refusals;  // of credentials that are sent as they are, by registries themselves
  Refusals& rate_limits;     // by registries that said when to come back
  Demands& demands;
  EndpointHealth& health;
  PullLimits& pull_limits;
  RateLimit& download_limit;
  Counter& body_bytes;
  Counter& redirects;
  Counter& retries;
  FlowWatcher* watcher = nullptr;  // null: nobody looks on
};

}  // namespace layerd::upstream
