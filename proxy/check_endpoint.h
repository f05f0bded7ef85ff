// EndpointWalk: the way to one endpoint and up to its answer about a manifest, a step at a time: DNS,
// connection, TLS, /v2/, and the request of a pull with its credentials and token. Without a reference: the
// login alone. Loop thread. Destroying it aborts.
#pragma once

#include <memory>
#include <string>

#include "proxy/check_fetch.h"
#include "proxy/check_parts.h"
#include "proxy/upstream/authorization.h"
#include "proxy/upstream/redirect_flow.h"

namespace layerd::proxy {

class EndpointWalk {
 public:
  // All references outlive this. reference: tag or digest; empty: the login alone.
  EndpointWalk(const CheckParts& parts, CheckKit& kit, CheckReport& report, CheckRecorder& recorder,
               VerdictFacts& facts, registry::TargetPtr target, const registry::Rules& rules,
               std::size_t endpoint, std::string reference, Deadline deadline);
  EndpointWalk(const EndpointWalk&) = delete;
  EndpointWalk& operator=(const EndpointWalk&) = delete;

  // Once. Answers the head for the manifest (status 0 for a login). Every error has its step in the report
  // already. The callback may destroy this.
  void start(Done<upstream::FetchResponse> done);

 private:
  net::DialRequest dial_request() const;
  void ask_dns();
  void on_dns(net::DnsReport report);
  void dial();
  void on_dialled(Result<net::ByteStreamPtr> stream);
  void tell_connection(const Result<net::ByteStreamPtr>& stream);
  void ask_clock(Error error);
  void on_clock(Error error, const Result<http::ClientResponse>& response);
  void ping();
  void ask_over_tls(Error error);
  void ask_in_plain(Error error);
  void on_ping(Result<upstream::Landed> landed);
  void tell_api(const upstream::Landed& landed);
  void ask_manifest();
  void on_manifest(Result<upstream::FetchResponse> response);
  void ask_words(Error error);
  void on_words(Error error, Result<upstream::FetchResponse> response);
  void ask_tags(Error error);
  void on_tags(Error error, Result<upstream::FetchResponse> response);
  void log_in();
  void on_login(Result<upstream::Authorization> authorization);
  void on_login_taken(Result<upstream::Landed> landed);
  void fail(std::string_view step, Error error);
  void finish(Result<upstream::FetchResponse> result);

  const CheckParts& parts_;
  CheckKit& kit_;
  CheckReport& report_;
  CheckRecorder& recorder_;
  VerdictFacts& facts_;
  registry::TargetPtr target_;
  const registry::Rules& rules_;
  const std::size_t index_;
  const registry::Endpoint& endpoint_;
  const std::string reference_;
  const Deadline deadline_;

  std::shared_ptr<net::DialReport> dialled_ = std::make_shared<net::DialReport>();
  std::optional<upstream::Demand> demand_;  // of /v2/
  const registry::AskAs as_node_{};
  upstream::FetchRequest request_;
  upstream::Authorization login_;
  std::unique_ptr<upstream::RedirectFlow> asking_;
  std::unique_ptr<upstream::AuthorizationFlow> authorizing_;
  CheckFetch fetching_;
  Done<upstream::FetchResponse> done_;
  Ticket pending_;  // the look-up, the dial
};

}  // namespace layerd::proxy
