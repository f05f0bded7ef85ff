// RequestFlow: one endpoint asked for one object: the request with its redirects, and when it is
// refused the challenge, the credentials, the token, and the request again. Loop thread.
// Destroying it aborts. It has no time-out of its own: whoever holds it has (failover).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/upstream/authorization.h"
#include "proxy/upstream/counted_body.h"
#include "proxy/upstream/fetcher.h"
#include "proxy/upstream/flow_parts.h"
#include "proxy/upstream/redirect_flow.h"
#include "proxy/upstream/small_body.h"

namespace layerd::upstream {

class RequestFlow {
 public:
  // All references outlive this. `deadline`: of this attempt.
  RequestFlow(FlowParts& parts, const FetchRequest& request, const registry::Rules& rules,
              std::size_t endpoint, Deadline deadline);
  RequestFlow(const RequestFlow&) = delete;
  RequestFlow& operator=(const RequestFlow&) = delete;

  // Once. Errors: as Fetcher::fetch of this one endpoint; a 404 that is not a registry's own is
  // upstream_protocol. The callback may destroy this.
  void start(Done<FetchResponse> done);
  // The attempt took too long: what it was waiting for. Destroy it afterwards.
  Error expired();

 private:
  // 1. With what the endpoint demanded last time, if anything.
  std::string asked_as() const;  // tells accounts apart; empty: without any Authorization
  std::string rate_key() const;
  void authorize(Demand demand);
  void on_authorization(Result<Authorization> authorization);
  // 2. The request and its redirects.
  void send();
  http::Headers headers_to_send() const;
  void on_landed(Result<Landed> landed);
  bool may_ask_by_get() const;
  void note_endpoint_answer(const Result<Landed>& landed);
  void note_authorization_taken();
  // 3. Refused: the challenge, from the answer or from /v2/, and the request again.
  void on_refused(Landed landed);
  bool may_ask_again(const std::optional<Demand>& demand) const;
  void ask_for_challenge();
  void on_challenge(Result<Landed> landed);
  // 4. Accepted, or an error with its text.
  void on_accepted(Landed landed);
  void answer_head(FetchResponse answer);
  void take(FetchResponse answer);
  void sniff_manifest();
  void on_first_bytes(Result<Bytes> bytes);
  void read_error(Landed landed);
  void on_error_body(std::string_view body);
  void note_rate_limit(Error& error);
  Error denied_error(std::string_view body) const;

  void finish(Result<FetchResponse> result);

  FlowParts& parts_;
  const FetchRequest& request_;
  const registry::Rules& rules_;
  const registry::Endpoint& endpoint_;
  std::size_t endpoint_index_;
  Deadline deadline_;

  EndpointHealth::Attempt attempt_;  // until the endpoint's first answer
  std::optional<Authorization> authorization_;
  Demand demand_;                   // that authorization_ answers
  std::size_t authorizations_ = 0;  // how many were made for this request
  bool is_resolved_again_ = false;  // after a 403 of the storage
  bool is_head_by_get_ = false;     // HEAD is refused there: the first byte by GET tells the same
  http::ResponseHead head_;         // of the answer being looked at
  bool is_elsewhere_ = false;
  std::string place_;  // that gave it, for messages
  FetchResponse response_;
  CountedBody* body_ = nullptr;  // response_.body
  Done<FetchResponse> done_;

  std::unique_ptr<AuthorizationFlow> authorizing_;
  std::unique_ptr<RedirectFlow> asking_;
  Ticket pending_;  // a body
};

}  // namespace layerd::upstream
