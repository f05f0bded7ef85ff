#include "proxy/net/peer_stream.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "proxy/net/certificate_facts.h"
#include "proxy/net/tls_errors.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

PeerStream& stream_of(SSL* ssl) { return *static_cast<PeerStream*>(SSL_get_app_data(ssl)); }

bool was_by_secret(const SSL* ssl) { return SSL_session_reused(ssl) == 1; }

}  // namespace

PeerStream::PeerStream(Loop& loop, Workers& workers, ByteStreamPtr lower, PeerTrustPtr trust, Role role,
                       std::string own, std::shared_ptr<PeerConnections> registry)
    : TlsChannel(loop, workers, std::move(lower),
                 {role == Role::dials ? trust->client() : trust->server(), trust->transport(),
                  std::const_pointer_cast<PeerTrust>(trust)},
                 role == Role::dials ? Side::client : Side::server),
      trust_(std::move(trust)),
      role_(role),
      own_(std::move(own)),
      registry_(std::move(registry)) {
  SSL_set_app_data(ssl(), this);
  card_.address = peer().host;
  ground_.site = trust_->settings().site;
}

PeerStream::~PeerStream() { registry_->all.erase(this); }

void PeerStream::revoke(const std::string& why) { cut(refusal("peer_revoked", why)); }

Error PeerStream::refusal(const char* diagnosis, std::string_view what) const {
  Error error{Errc::denied, fmt::format("member {}: {}", peer().str(), what)};
  error.diagnosis = diagnosis;
  return error;
}

SSL_SESSION* PeerStream::session_of(const PeerSecret& secret) {
  static constexpr unsigned char kSuite[] = {0x13, 0x01};  // TLS_AES_128_GCM_SHA256
  SSL_SESSION* session = SSL_SESSION_new();
  LAYERD_CHECK(session);
  const auto* key = reinterpret_cast<const unsigned char*>(secret.key().data());
  LAYERD_CHECK(SSL_SESSION_set1_master_key(session, key, secret.key().size()) == 1);
  LAYERD_CHECK(SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl(), kSuite)) == 1);
  LAYERD_CHECK(SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1);
  return session;
}

int PeerStream::on_offer_secret(SSL* ssl, const EVP_MD*, const unsigned char** identity, std::size_t* size,
                                SSL_SESSION** session) noexcept {
  PeerStream& stream = stream_of(ssl);
  const auto& secrets = stream.trust_->secrets();
  if (secrets.empty()) return 1;  // nothing is offered
  stream.offer_ = text_of(
      PeerGreeting{kPeerVersion, secrets.front().name(), stream.trust_->settings().site, stream.own_});
  *identity = reinterpret_cast<const unsigned char*>(stream.offer_.data());
  *size = stream.offer_.size();
  *session = stream.session_of(secrets.front());
  return 1;
}

// 0 ends the handshake with an alert of another kind than an unknown secret does, by which who dialled can
// tell the two apart.
int PeerStream::on_find_secret(SSL* ssl, const unsigned char* identity, std::size_t size,
                               SSL_SESSION** session) noexcept {
  PeerStream& stream = stream_of(ssl);
  *session = nullptr;
  stream.fault_.reset();  // of what else was offered
  const auto greeting = parse_greeting({reinterpret_cast<const char*>(identity), size});
  if (!greeting) {
    stream.fault_ = stream.refusal("peer_no_member", "what it offers is no member's greeting");
    return 1;
  }
  const PeerSecret* secret = stream.trust_->find_secret(greeting->key);
  if (!secret) {
    stream.fault_ = stream.refusal(
        "peer_other_secret",
        fmt::format(
            "{} offers the site secret {}, which is not in our peers.secret_file; if it is the new one, "
            "add it as the second line",
            greeting->id, greeting->key));
    return 1;
  }
  if (!stream.accept(*greeting)) return 0;
  *session = stream.session_of(*secret);
  return 1;
}

bool PeerStream::accept(const PeerGreeting& greeting) {
  if (greeting.id == own_) {
    fault_ = refusal("peer_is_ourselves",
                     fmt::format("it says to be {}, which is ourselves: an address of the member list leads "
                                 "to this node under another name, or somebody sends our own words back",
                                 greeting.id));
  } else if (greeting.site != trust_->settings().site) {
    fault_ =
        refusal("peer_other_site",
                fmt::format("{} belongs to the site \"{}\", not to \"{}\"; sites need secrets of their own",
                            greeting.id, greeting.site, trust_->settings().site));
  } else {
    card_.id = greeting.id;
    card_.site = greeting.site;
    card_.version = greeting.version;
    card_.key = greeting.key;
  }
  return !fault_;
}

int PeerStream::on_choose_protocol(SSL*, const unsigned char** chosen, unsigned char* size,
                                   const unsigned char* offered, unsigned offered_size, void*) noexcept {
  const std::string_view wanted = kPeerAlpn;
  for (unsigned at = 0; at < offered_size; at += 1u + offered[at]) {
    const std::string_view one(reinterpret_cast<const char*>(offered) + at + 1, offered[at]);
    if (one != wanted) continue;
    *chosen = offered + at + 1;
    *size = offered[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int PeerStream::on_verify(int ok, X509_STORE_CTX* store) noexcept {
  PeerStream& stream =
      stream_of(static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx())));
  if (stream.fault_) return 0;
  if (!ok) {
    Error why =
        certificate_error(store, {stream.peer().host, stream.peer().str(), 3}, stream.loop().wall_now());
    if (X509_STORE_CTX_get_error(store) == X509_V_ERR_INVALID_PURPOSE)
      why.message += "; a member's certificate is for clientAuth and for serverAuth";
    stream.fault_ = stream.refusal("peer_certificate", why.message);
    return 0;
  }
  if (X509_STORE_CTX_get_error_depth(store) != 0) return 1;
  const auto names = names_of(X509_STORE_CTX_get0_cert(store)).all;
  const auto& patterns = stream.trust_->settings().names;
  if (std::any_of(names.begin(), names.end(), [&](const auto& name) { return fits_any(patterns, name); }))
    return 1;
  const auto facts = facts_of(X509_STORE_CTX_get0_cert(store));
  stream.fault_ = stream.refusal("peer_certificate_name",
                                 fmt::format("its certificate \"{}\" is for {}, and none of these fits "
                                             "peers.tls.names",
                                             facts.subject, names_text(facts)));
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

std::optional<Error> PeerStream::judge() {
  if (auto refused = identify()) return refused;
  registry_->all.insert(this);
  if (registry_->begun) registry_->begun();
  return std::nullopt;
}

std::optional<Error> PeerStream::identify() {
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl(), &protocol, &size);
  if (std::string_view(reinterpret_cast<const char*>(protocol), size) != kPeerAlpn)
    return refusal("peer_no_member", "it speaks TLS and does not know this protocol (ALPN layerd-peer)");
  if (was_by_secret(ssl())) {
    fault_.reset();
    ground_.secret = role_ == Role::dials ? trust_->secrets().front().name() : card_.key;
    card_.key = ground_.secret;
    return std::nullopt;
  }
  if (SSL_get_verify_result(ssl()) != X509_V_OK || !SSL_get0_peer_certificate(ssl()))
    return refusal("peer_certificate", "it showed neither the site secret nor a certificate");
  fault_.reset();  // a secret that was not known, before a certificate that is
  read_certificate();
  return std::nullopt;
}

void PeerStream::read_certificate() {
  X509* certificate = SSL_get0_peer_certificate(ssl());
  auto names = names_of(certificate);
  card_.id.clear();
  card_.key.clear();
  card_.by_certificate = true;
  card_.names = ground_.names = std::move(names.all);
  card_.own_ips = std::move(names.ips);
  ground_.own = trust_->own_fingerprint();
  ground_.until = facts_of(certificate).not_after;
  const STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl());
  const int size = chain ? sk_X509_num(chain) : 0;
  if (size > 0) ground_.authority = facts_of(sk_X509_value(chain, size - 1)).fingerprint;
}

Error PeerStream::fault_in(Phase phase) {
  if (fault_) return *fault_;
  const unsigned long code = ERR_peek_last_error();
  const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  const std::string& first = wire().first;
  if (!first.empty() && (first[0] < 0x14 || first[0] > 0x17)) {
    Error error = refusal("peer_no_tls", "it does not speak TLS; is there another program behind its port?");
    error.code = Errc::upstream_protocol;
    return error;
  }
  const bool is_alert = reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
  const int alert = is_alert ? reason - SSL_AD_REASON_OFFSET : 0;
  if (role_ == Role::dials && alert == SSL_AD_INTERNAL_ERROR)
    return refusal("peer_not_admitted", "it refuses us for our site or our id; its log says more");
  if (role_ == Role::dials && alert == SSL_AD_HANDSHAKE_FAILURE)
    return refusal(
        "peer_other_secret",
        fmt::format("it does not know our site secret {}; both need a line in common in "
                    "peers.secret_file",
                    trust_->secrets().empty() ? "(we have none)" : trust_->secrets().front().name()));
  if (is_alert) {
    const char* text = ERR_reason_error_string(code);
    return refusal("peer_not_admitted", fmt::format("it refuses us: {}", text ? text : "no reason given"));
  }
  if (wire().has_ended && reason == 0) {
    Error error{Errc::upstream_unreachable,
                fmt::format("member {}: it closed the connection {}", peer().str(),
                            phase == Phase::handshake ? "in the handshake" : "")};
    error.diagnosis = "peer_closed";
    return error;
  }
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  return refusal(phase == Phase::handshake ? "peer_handshake" : "peer_record",
                 fmt::format("TLS failed: {}", text ? text : "no reason given"));
}

Error PeerStream::interrupted(Error lower) const {
  lower.message =
      fmt::format("member {}: the connection broke in the handshake: {}", peer().str(), lower.message);
  return lower;
}

}  // namespace layerd::net
