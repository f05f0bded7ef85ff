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
  // They were sent to the endpoint itself: by Basic, or a registry token.
  bool is_sent_as_it_is() const { return credentials && !token_request; }
  std::string note;  // for people: why the configured credentials were not used
  const char* note_diagnosis = "credentials_withheld";
  std::optional<HelperRequest> helper;  // that gave the credentials
  // Without credentials: what came near to some, for people, and its diagnosis. Both may be empty.
  std::string near_misses, diagnosis;
};

class AuthorizationFlow {
 public:
  // All references outlive this; `endpoint` and `as` too.
  AuthorizationFlow(FlowParts& parts, const registry::Endpoint& endpoint, const registry::Rules& rules,
                    const registry::AskAs& as, Demand demand)
      : parts_(parts), endpoint_(endpoint), rules_(rules), as_(as), demand_(std::move(demand)) {}
  AuthorizationFlow(const AuthorizationFlow&) = delete;
  AuthorizationFlow& operator=(const AuthorizationFlow&) = delete;

  // Once. Errors: denied (none configured, refused lately, refused by the token server),
  // refused_by_policy (the realm), config (a password file, a helper), upstream_* (the token server).
  // The callback may destroy this.
  void start(Done<Authorization> done);
  // What it waits for, for people.
  const char* waiting_for() const { return outcome_.token_request ? "its token" : "its credentials"; }

 private:
  void find_credentials();
  void on_credentials(Result<FoundCredentials> found);
  void use_registry_token();
  void use_basic();
  void ask_token_server();
  void on_token(Result<TokenGrant> grant);
  void finish(Result<Authorization> result);
  Error none_configured() const;
  Error only_a_token() const;  // and Basic is wanted
  void explain(Error& error) const;

  FlowParts& parts_;
  const registry::Endpoint& endpoint_;
  const registry::Rules& rules_;
  const registry::AskAs& as_;
  Demand demand_;
  NodeCredentialsPtr credentials_;
  bool may_ask_helper_again_ = true;
  std::string instead_of_;  // what is wrong with the realm that was replaced; empty: none was
  Authorization outcome_;
  Done<Authorization> done_;
  Ticket pending_;
};

// What a refusal of these credentials by this endpoint itself is remembered by.
std::string basic_key(const registry::Endpoint& endpoint, const NodeCredentials& credentials);

// Ends an error of a refusal without credentials: which host had none, and what came near.
void explain_none(Error& error, const registry::Endpoint& endpoint, const Authorization& authorization);

// Where credentials were configured, for people.
std::string source_of(const registry::Endpoint& endpoint, const NodeCredentials& credentials);

}  // namespace layerd::upstream
