// ProxyTunnel: asks an HTTP proxy for a way through to a host (CONNECT, RFC 9110 §9.3.6). Loop thread.
// Destroying it takes the question back; the stream is the caller's and is of no use after an error.
#pragma once

#include <string>

#include "proxy/net/proxy_rules.h"
#include "proxy/net/stream.h"

namespace layerd::net {

class ProxyTunnel {
 public:
  // stream: to the proxy; outlives this.
  ProxyTunnel(ByteStream& stream, const Proxy& proxy, const std::string& host, std::uint16_t port);

  // Once. Ok: what is written from now on reaches the host. The callback may destroy this.
  // Errors: upstream_unreachable with diagnosis proxy_failed: the proxy's own status and reason, an
  // answer that is no HTTP, or none.
  void start(Done<Ok> done);

 private:
  void read();
  void on_bytes(Result<Bytes> bytes);
  Result<Ok> verdict() const;
  void finish(Result<Ok> result);

  ByteStream& stream_;
  std::string proxy_, target_, request_;
  bool has_user_;
  std::string head_;
  Done<Ok> done_;
  Ticket writing_, reading_;
};

// Why a proxy did not do what it was asked. status: of its answer, 0 if there is none; more: why, in its
// own words. has_user: we sent it a user and password.
Error proxy_error(std::string_view proxy, std::string_view asked, int status, std::string_view reason,
                  std::string_view more, bool has_user);

}  // namespace layerd::net
