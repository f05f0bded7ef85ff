// The settings of the way out as the floors below take them. Pure.
#pragma once

#include "daemon/settings.h"
#include "proxy/net/proxy_rules.h"

namespace layerd::daemon {

// Null: there is no proxy. TLS with an https:// proxy is made as `configs` says of its host.
net::ProxyRulesPtr proxy_rules(const Settings& settings);

}  // namespace layerd::daemon
