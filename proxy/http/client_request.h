// One request of the client from its place in line to the head of its answer, and the reader of the
// body behind it. Loop thread. Dropping its Ticket closes the connection it holds.
#pragma once

#include <memory>
#include <string>

#include "proxy/http/client.h"
#include "proxy/http/host_pool.h"

namespace layerd::http {

class RunningRequest final : public Pending<ClientResponse> {
 public:
  RunningRequest(std::shared_ptr<ClientShared> shared, std::shared_ptr<HostPool> pool, net::Dialer& dialer,
                 ClientRequest request, Done<ClientResponse> done);
  // Once. Calls nobody back before it returns.
  void start();

 private:
  void on_cancel() noexcept override;
  void take_place();
  void on_place(HostPool::Lease lease);
  void dial();
  void send();
  void on_head(Result<ResponseHead> head);
  bool may_resend();
  bool is_at_proxy() const { return request_.where.proxy && !request_.where.tls; }
  RequestHead head_for_proxy() const;
  Error refusal_of_proxy(const ResponseHead& head) const;
  void finish(Result<ClientResponse> result);

  const std::shared_ptr<ClientShared> shared_;
  const std::shared_ptr<HostPool> pool_;
  net::Dialer& dialer_;
  const ClientRequest request_;
  const std::string name_;  // "host:port" in messages
  std::string text_;
  HostPool::Lease lease_;
  bool is_reused_ = false;  // this try goes over a connection that was idle
  Ticket step_;             // waiting in line, dialling, or waiting for the head
  Ticket deadline_;         // of waiting in line
};

}  // namespace layerd::http
