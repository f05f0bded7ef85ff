#include "proxy/http/client_request.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/http/head_writer.h"
#include "proxy/net/proxy_tunnel.h"

namespace layerd::http {

namespace {

// Gives the connection back as soon as the last byte of the body was handed out.
class PooledBody final : public BodyReader {
 public:
  PooledBody(Loop& loop, HostPool::Lease lease, Duration stall)
      : loop_(loop), lease_(std::move(lease)), length_(lease_.connection()->body_length()), stall_(stall) {
    if (lease_.connection()->body_ended()) lease_.release();
  }

  // `this` is safe in the callback: the connection, which alone could call it, is ours.
  Ticket read(std::size_t max, Done<Bytes> done) override {
    if (!lease_) {
      return loop_.post([done = std::move(done), failure = failure_]() mutable {
        failure ? done(std::move(*failure)) : done(Bytes());
      });
    }
    return lease_.connection()->read_body(max, stall_,
                                          [this, done = std::move(done)](Result<Bytes> got) mutable {
                                            if (!got) failure_ = got.error();
                                            if (!got || lease_.connection()->body_ended()) lease_.release();
                                            done(std::move(got));
                                          });
  }

  std::optional<ByteCount> length() const override { return length_; }

 private:
  Loop& loop_;
  HostPool::Lease lease_;  // empty once the body has ended or failed
  const std::optional<ByteCount> length_;
  const Duration stall_;
  std::optional<Error> failure_;
};

std::string host_and_port(const net::DialRequest& where) {
  const bool is_ipv6 = where.host.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("[{}]:{}", where.host, where.port)
                 : fmt::format("{}:{}", where.host, where.port);
}

// What Host says: the port only where it is not the scheme's own.
std::string authority_of(const net::DialRequest& where) {
  std::string authority = host_and_port(where);
  if (where.port == (where.tls ? 443 : 80)) authority.resize(authority.rfind(':'));
  return authority;
}

// The upstream in messages.
std::string name_of(const net::DialRequest& where) {
  if (!where.proxy) return host_and_port(where);
  return fmt::format("{} (through the proxy {})", host_and_port(where), where.proxy->str());
}

// An answer that the proxy gave in its own name: it wants a login, or says so as squid and tinyproxy do.
bool is_proxys_own(const ResponseHead& head) {
  if (head.status < 400) return false;
  const auto server = head.headers.get("Server").value_or("");
  return head.status == 407 || head.headers.has("X-Squid-Error") || server.starts_with("tinyproxy");
}

bool is_fit_for_host(std::string_view host) {
  return !host.empty() && std::none_of(host.begin(), host.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == '/' || c == '@' || c == 0x7f;
  });
}

}  // namespace

RunningRequest::RunningRequest(std::shared_ptr<ClientShared> shared, std::shared_ptr<HostPool> pool,
                               net::Dialer& dialer, ClientRequest request, Done<ClientResponse> done)
    : Pending<ClientResponse>(std::move(done)),
      shared_(std::move(shared)),
      pool_(std::move(pool)),
      dialer_(dialer),
      request_(std::move(request)),
      name_(name_of(request_.where)) {}

void RunningRequest::start() {
  auto text = is_at_proxy() ? request_text(head_for_proxy(), authority_of(request_.where), request_.body)
                            : request_text(request_.head, authority_of(request_.where), request_.body);
  if (text && !is_fit_for_host(request_.where.host)) {
    text = Error{Errc::invalid_request, "the upstream's host name is empty or holds a forbidden character"};
  }
  if (!text) {
    step_ = shared_->loop.post([this, error = text.error()] { finish(error); });
    return;
  }
  text_ = std::move(*text);
  take_place();
}

// Without TLS the proxy itself is asked for the object (RFC 9112 §3.2.2).
RequestHead RunningRequest::head_for_proxy() const {
  RequestHead head = request_.head;
  head.target = fmt::format("http://{}{}", authority_of(request_.where), head.target);
  if (auto authorization = net::proxy_authorization(*request_.where.proxy); !authorization.empty())
    head.headers.set("Proxy-Authorization", std::move(authorization));
  return head;
}

void RunningRequest::take_place() {
  if (request_.is_spare && !pool_->has_spare()) {
    step_ = shared_->loop.post([this] {
      finish(Error{Errc::overloaded, fmt::format("no connection to {} is to spare", name_)});
    });
    return;
  }
  if (auto lease = pool_->try_take(request_.fresh_connection)) return on_place(std::move(*lease));
  const Deadline until = request_.where.deadline.sooner(request_.head_deadline);
  deadline_ = shared_->loop.at(until, "line for an upstream connection", [this] {
    finish(Error{Errc::overloaded, fmt::format("all {} connections to {} stayed busy",
                                               shared_->limits.connections_per_host, name_)});
  });
  step_ = pool_->wait(request_.fresh_connection, [this](Result<HostPool::Lease> lease) {
    deadline_.reset();
    on_place(std::move(*lease));
  });
}

void RunningRequest::on_place(HostPool::Lease lease) {
  lease_ = std::move(lease);
  is_reused_ = lease_.connection() != nullptr;
  if (!is_reused_) return dial();
  shared_->reused.add();
  send();
}

void RunningRequest::dial() {
  step_ = dialer_.dial(request_.where, [this](Result<net::ByteStreamPtr> stream) {
    if (!stream) return finish(std::move(stream).error());
    shared_->opened.add();
    lease_.set_connection(std::make_unique<ClientConnection>(shared_->loop, std::move(*stream), name_));
    send();
  });
}

void RunningRequest::send() {
  step_ = lease_.connection()->request(text_, request_.head.method == "HEAD", request_.head_deadline,
                                       [this](Result<ResponseHead> head) { on_head(std::move(head)); });
}

// An idle connection may have been closed by the upstream in the very moment it was taken.
bool RunningRequest::may_resend() {
  const bool is_safe = request_.may_repeat || request_.head.method == "GET" || request_.head.method == "HEAD";
  return is_reused_ && is_safe && !lease_.connection()->answer_begun();
}

void RunningRequest::on_head(Result<ResponseHead> head) {
  if (!head) {
    if (head.error().code != Errc::upstream_unreachable || !may_resend())
      return finish(std::move(head).error());
    shared_->resent.add();
    is_reused_ = false;
    lease_.set_connection(nullptr);
    return dial();
  }
  if (is_at_proxy() && is_proxys_own(*head)) return finish(refusal_of_proxy(*head));
  ClientResponse response;
  response.head = std::move(*head);
  response.peer = lease_.connection()->peer();
  response.body = std::make_unique<PooledBody>(shared_->loop, std::move(lease_), request_.stall);
  finish(std::move(response));
}

Error RunningRequest::refusal_of_proxy(const ResponseHead& head) const {
  const net::Proxy& proxy = *request_.where.proxy;
  return net::proxy_error(proxy.str(),
                          fmt::format("{} http://{}", request_.head.method, authority_of(request_.where)),
                          head.status, head.reason, head.headers.get("X-Squid-Error").value_or(""),
                          !net::proxy_authorization(proxy).empty());
}

void RunningRequest::finish(Result<ClientResponse> result) {
  deadline_.reset();
  step_.reset();
  lease_.release();
  answer(std::move(result));
}

void RunningRequest::on_cancel() noexcept {
  deadline_.reset();
  step_.reset();
  lease_.release();
}

}  // namespace layerd::http
