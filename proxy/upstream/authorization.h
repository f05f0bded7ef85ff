// AuthorizationFlow: from what an endpoint demands to the value of Authorization that it should take:
// the node's credentials, the realm's judgement, a token. Loop thread. Destroying it aborts.
#pragma once

#include <optional>
#include <string>

#include "proxy/upstream/flow_parts.h"
#include "proxy/upstream/realm.h"

namespace layerd::upstream {

struct Authorization {
  std::string header;              // value of Authorization; empty: none
  NodeCredentialsPtr credentials;  // the ones used; null for an anonymous token
  bool is_basic = false;
  bool is_fresh = true;                       // false: a token of the cache, which may have run out
  std::optional<TokenRequest> token_request;  // what it was the answer to
  std::string token;
  std::string note;  // for people: why the configured credentials were not used
};

class AuthorizationFlow {
 public:
  // All references outlive this; `endpoint` too.
  AuthorizationFlow(FlowParts& parts, const registry::Endpoint& endpoint, const registry::Rules& rules,
                    Demand demand)
      : parts_(parts), endpoint_(endpoint), rules_(rules), demand_(std::move(demand)) {}
  AuthorizationFlow(const AuthorizationFlow&) = delete;
  AuthorizationFlow& operator=(const AuthorizationFlow&) = delete;

  // Once. Errors: denied (none configured, refused lately, refused by the token server),
  // refused_by_policy (the realm), config (a password file), upstream_* (the token server).
  // The callback may destroy this.
  void start(Done<Authorization> done);

 private:
  void on_credentials(Result<NodeCredentialsPtr> credentials);
  void use_registry_token();
  void use_basic();
  void ask_token_server();
  void on_token(Result<TokenGrant> grant);
  void finish(Result<Authorization> result);
  Error none_configured() const;
  void explain(Error& error) const;

  FlowParts& parts_;
  const registry::Endpoint& endpoint_;
  const registry::Rules& rules_;
  Demand demand_;
  NodeCredentialsPtr credentials_;
  Authorization outcome_;
  Done<Authorization> done_;
  Ticket pending_;
};

// What a refusal of these credentials by this endpoint is remembered by.
std::string basic_key(const registry::Endpoint& endpoint, const NodeCredentials& credentials);

// Where credentials were configured, for people.
std::string source_of(const registry::Endpoint& endpoint, const NodeCredentials& credentials);

}  // namespace layerd::upstream
