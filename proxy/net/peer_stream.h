// PeerStream: one end of a connection between two members: TLS 1.3 by a site secret or by certificates. A
// handshake that ends well has told who is there; see peer_card.h. Loop thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/net/peer_identity.h"
#include "proxy/net/peer_trust.h"
#include "proxy/net/tls_channel.h"

struct ssl_session_st;
struct evp_md_st;
struct x509_store_ctx_st;

namespace layerd::net {

class PeerStream final : public TlsChannel {
 public:
  enum class Role {
    dials,    // we are the client
    answers,  // it came to our listener
  };
  // own: our member id; an offer that bears it is our own, reflected, and refused.
  // Errors of handshake(): denied (diagnosis peer_*: we do not accept each other), upstream_unreachable
  // (broken off), upstream_protocol (diagnosis peer_no_tls: no member at all).
  // registry: where it stands from the end of a good handshake to its own.
  PeerStream(Loop& loop, Workers& workers, ByteStreamPtr lower, PeerTrustPtr trust, Role role,
             std::string own, std::shared_ptr<PeerConnections> registry);
  ~PeerStream() override;

  PeerCard* card() override { return &card_; }
  Role role() const { return role_; }
  const PeerGround& ground() const { return ground_; }
  // What it rests on is gone. Not from within its callbacks.
  void revoke(const std::string& why);

  // C callbacks of the contexts.
  static int on_offer_secret(ssl_st* ssl, const evp_md_st* hash, const unsigned char** identity,
                             std::size_t* size, ssl_session_st** session) noexcept;
  static int on_find_secret(ssl_st* ssl, const unsigned char* identity, std::size_t size,
                            ssl_session_st** session) noexcept;
  static int on_verify(int ok, x509_store_ctx_st* store) noexcept;
  static int on_choose_protocol(ssl_st* ssl, const unsigned char** chosen, unsigned char* size,
                                const unsigned char* offered, unsigned offered_size, void*) noexcept;

 private:
  Error fault_in(Phase phase) override;
  Error interrupted(Error lower) const override;
  std::optional<Error> judge() override;
  std::optional<Error> identify();
  bool accept(const PeerGreeting& greeting);
  ssl_session_st* session_of(const PeerSecret& secret);
  void read_certificate();
  Error refusal(const char* diagnosis, std::string_view what) const;

  const PeerTrustPtr trust_;
  const Role role_;
  const std::string own_;
  const std::shared_ptr<PeerConnections> registry_;
  std::string offer_;  // what we say; OpenSSL points at it
  PeerCard card_;
  PeerGround ground_;
  std::optional<Error> fault_;  // found in a callback
};

}  // namespace layerd::net
