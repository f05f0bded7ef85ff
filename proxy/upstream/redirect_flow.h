// RedirectFlow: one GET or HEAD that follows redirects to where the object lies, without carrying
// credentials to another host (protocol.md §3.3). Loop thread. Destroying it aborts.
//
// Targets are never remembered: signed URLs run out. Their query is never put into a message.
#pragma once

#include <functional>
#include <string>

#include "proxy/upstream/flow_parts.h"

namespace layerd::upstream {

struct RedirectRequest {
  std::string method;
  registry::Url url;          // at the endpoint itself
  http::Headers headers;      // go along to every host: Accept, Range
  std::string authorization;  // to the endpoint's own origin alone; may be empty
  Deadline deadline;
  std::function<void()> progress;  // may be empty
  bool is_spare = false;
};

// Where the redirects ended.
struct Landed {
  http::ClientResponse response;
  registry::Url url;
  bool is_elsewhere = false;  // not the endpoint's own origin
};

class RedirectFlow {
 public:
  RedirectFlow(FlowParts& parts, const registry::Endpoint& endpoint, const registry::Rules& rules,
               RedirectRequest request)
      : parts_(parts), endpoint_(endpoint), rules_(rules), request_(std::move(request)), url_(request_.url) {}
  RedirectFlow(const RedirectFlow&) = delete;
  RedirectFlow& operator=(const RedirectFlow&) = delete;

  // Once. Any status that is no redirect is an answer. Errors: as http::Client::start;
  // upstream_protocol (no Location, too many); refused_by_policy (https to http, a private address).
  // The callback may destroy this.
  void start(Done<Landed> done);
  // The origin that was asked last, for messages.
  std::string place() const;
  // It asks a host the endpoint led to.
  bool is_elsewhere() const { return !url_.same_origin(request_.url); }
  // True until the endpoint itself has answered once.
  bool is_at_endpoint() const { return hops_ == 0 && !answered_; }

 private:
  void send();
  net::AddressPolicy policy() const;
  void on_head(Result<http::ClientResponse> response);
  void follow(const http::ResponseHead& head);
  void finish(Result<Landed> result);
  Error redirect_error(Errc code, std::string_view diagnosis, std::string_view why) const;

  FlowParts& parts_;
  const registry::Endpoint& endpoint_;
  const registry::Rules& rules_;
  RedirectRequest request_;
  registry::Url url_;
  std::size_t hops_ = 0;
  bool answered_ = false;
  bool has_left_ = false;  // once elsewhere, credentials stay at home even if the way leads back
  Done<Landed> done_;
  Ticket pending_;
};

}  // namespace layerd::upstream
