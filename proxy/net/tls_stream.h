// TlsStream: the client's end of TLS with an upstream or a proxy. Loop thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/net/tls_channel.h"
#include "proxy/net/tls_context.h"
#include "proxy/net/tls_errors.h"

struct x509_store_ctx_st;

namespace layerd::net {

class TlsStream final : public TlsChannel {
 public:
  // name: for SNI and verification; numeric addresses get no SNI. port: part of the session's key.
  // Errors of handshake(): upstream_unreachable with a tls_* diagnosis; upstream_protocol never.
  TlsStream(Loop& loop, Workers& workers, ByteStreamPtr lower, TlsContextPtr context, std::string name,
            std::uint16_t port);

  // Before handshake(): no earlier session is resumed, so that the server shows its certificates and they are
  // verified.
  void begin_anew();
  bool was_resumed() const;
  // What the peer showed, once the handshake has answered, whichever way. Nothing: no certificate came.
  std::optional<PeerCertificates> peer_certificates() const;

  // C callbacks of the context.
  static int on_new_session(ssl_st* ssl, ssl_session_st* session) noexcept;
  static int on_verify(int ok, x509_store_ctx_st* store) noexcept;

 private:
  Error fault_in(Phase phase) override;
  Error interrupted(Error lower) const override;

  TlsContextPtr context_;
  TlsPeerName name_;
  std::string session_key_;
  std::optional<Error> certificate_fault_;
  std::optional<PeerCertificates> refused_;  // with certificate_fault_
};

}  // namespace layerd::net
