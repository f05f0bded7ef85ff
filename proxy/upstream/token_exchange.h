// TokenExchange: one conversation with a token server: GET with Basic (or anonymous), or POST with an
// identity token. Where POST is unknown GET follows, with the password if there is one beside the identity
// token, else as nobody (left_out()). Loop thread. Destroying it aborts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "proxy/registry/token.h"
#include "proxy/upstream/credentials.h"
#include "proxy/upstream/realm.h"
#include "proxy/upstream/settings.h"
#include "proxy/upstream/small_body.h"
#include "runtime/loop.h"

namespace layerd::upstream {

struct TokenRequest {
  registry::Url realm;
  net::AddressPolicy policy = net::AddressPolicy::public_only;
  registry::HostSettingsPtr settings;  // of the realm's host: TLS; never null
  std::string service;                 // empty: not sent
  std::vector<std::string> scopes;     // sorted, without doubles; none: not sent
  NodeCredentialsPtr credentials;      // null: anonymous
  bool for_stranger = false;           // its token and its refusals are kept apart
};

class TokenExchange {
 public:
  TokenExchange(Loop& loop, http::Client& client, const FetcherSettings& settings, TokenRequest request)
      : loop_(loop), client_(client), settings_(settings), request_(std::move(request)) {}
  TokenExchange(const TokenExchange&) = delete;
  TokenExchange& operator=(const TokenExchange&) = delete;

  // Once. Errors: denied (401, 403, a refused identity token: Error::status), upstream_status (with
  // retry_after if told), upstream_timeout, upstream_protocol, upstream_unreachable. The callback may destroy
  // this.
  void start(Done<registry::TokenResponse> done);
  // Once it has answered: why the credentials of the request were of no use, for people; empty: they were
  // used.
  const std::string& left_out() const { return left_out_; }

 private:
  bool has_password() const;
  void ask_without_post();
  void get();
  void post();
  void send(http::ClientRequest request);
  void on_head(Result<http::ClientResponse> response);
  void on_body(Result<SmallBody> body);
  void finish(Result<registry::TokenResponse> result);
  Error refused(const std::string& text) const;
  http::ClientRequest request_to(const registry::Url& url) const;

  Loop& loop_;
  http::Client& client_;
  const FetcherSettings& settings_;
  TokenRequest request_;
  Done<registry::TokenResponse> done_;
  std::string left_out_;
  bool is_post_ = false;
  int status_ = 0;
  std::optional<std::chrono::seconds> retry_after_;
  Ticket pending_;  // the request, then its body
  Ticket limit_;    // of the whole conversation
};

}  // namespace layerd::upstream
