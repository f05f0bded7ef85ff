// Where a challenge may send us for a token, and whether our credentials may go there
// (protocol.md §3.1 and §3.2: a registry must not be able to collect them for others). Pure.
#pragma once

#include <string>
#include <string_view>

#include "proxy/net/dialer.h"
#include "proxy/registry/endpoint.h"
#include "proxy/registry/rules.h"
#include "runtime/result.h"

namespace layerd::upstream {

struct Realm {
  registry::Url url;               // of the token server; the challenge's own query is kept
  bool takes_credentials = false;  // false: only an anonymous token may be asked for
  std::string instead_of;          // not empty: asked at the registry itself, since this is wrong with it
  net::AddressPolicy policy = net::AddressPolicy::public_only;
};

// A realm that cannot be right is looked for under its path at the registry itself.
// Errors: as registry::resolve_realm; refused_by_policy for http on a host that has nothing to do
// with the registry.
Result<Realm> judge_realm(const registry::Endpoint& endpoint, std::string_view realm,
                          const registry::Rules& rules);

}  // namespace layerd::upstream
