#include "proxy/net/tls_stream.h"

#include <fmt/core.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/net/address.h"
#include "proxy/net/certificate_facts.h"

namespace layerd::net {
namespace {

constexpr int kMostShown = 16;  // certificates of a chain

std::vector<CertificateFacts> chain_facts(const STACK_OF(X509) * chain) {
  std::vector<CertificateFacts> facts;
  for (int i = 0; chain && i < std::min(sk_X509_num(chain), kMostShown); ++i)
    facts.push_back(facts_of(sk_X509_value(chain, i)));
  return facts;
}

std::string without_dot(std::string name) {
  if (!name.empty() && name.back() == '.') name.pop_back();
  return name;
}

}  // namespace

TlsStream::TlsStream(Loop& loop, Workers& workers, ByteStreamPtr lower, TlsContextPtr context,
                     std::string name, std::uint16_t port)
    : TlsChannel(loop, workers, std::move(lower), {context->raw(), context->transport(), context},
                 Side::client),
      context_(std::move(context)),
      name_{without_dot(std::move(name)), peer().str(), context_->minor_version()},
      session_key_(fmt::format("{}:{}", name_.name, port)) {
  SSL_set_app_data(ssl(), this);
  X509_VERIFY_PARAM* verify = SSL_get0_param(ssl());
  // As in Go the common name never counts.
  X509_VERIFY_PARAM_set_hostflags(verify,
                                  X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (parse_address(name_.name, 0)) {
    X509_VERIFY_PARAM_set1_ip_asc(verify, name_.name.c_str());
  } else {
    X509_VERIFY_PARAM_set1_host(verify, name_.name.c_str(), name_.name.size());
    SSL_ctrl(ssl(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name_.name.data());
  }
  if (SSL_SESSION* session = context_->find_session(session_key_)) SSL_set_session(ssl(), session);
}

int TlsStream::on_new_session(SSL* ssl, SSL_SESSION* session) noexcept {
  auto* stream = static_cast<TlsStream*>(SSL_get_app_data(ssl));
  stream->context_->remember_session(stream->session_key_, session);
  return 1;  // the reference is ours now
}

int TlsStream::on_verify(int ok, X509_STORE_CTX* store) noexcept {
  if (ok) return 1;
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* stream = static_cast<TlsStream*>(SSL_get_app_data(ssl));
  if (!stream->context_->verifies()) return 1;
  if (stream->certificate_fault_) return 0;
  stream->certificate_fault_ = certificate_error(store, stream->name_, stream->loop().wall_now());
  stream->refused_.emplace();
  stream->refused_->name = stream->name_.name;
  stream->refused_->verdict = PeerCertificates::Verdict::refused;
  stream->refused_->chain = chain_facts(X509_STORE_CTX_get0_untrusted(store));
  return 0;
}

std::optional<PeerCertificates> TlsStream::peer_certificates() const {
  if (refused_) return refused_;
  PeerCertificates peer;
  peer.name = name_.name;
  peer.chain = chain_facts(SSL_get_peer_cert_chain(ssl()));
  if (peer.chain.empty()) return std::nullopt;
  if (SSL_is_init_finished(ssl())) peer.version = SSL_get_version(ssl());
  const STACK_OF(X509)* verified = SSL_get0_verified_chain(ssl());
  const int size = verified ? sk_X509_num(verified) : 0;
  if (!context_->verifies()) {
    peer.verdict = PeerCertificates::Verdict::unchecked;
  } else if (size > 0 && SSL_get_verify_result(ssl()) == X509_V_OK) {
    peer.verdict = PeerCertificates::Verdict::trusted;
    peer.authority = facts_of(sk_X509_value(verified, size - 1));
    peer.authority_source = context_->source_of(*peer.authority);
  }
  return peer;
}

void TlsStream::begin_anew() { SSL_set_session(ssl(), nullptr); }
bool TlsStream::was_resumed() const { return SSL_session_reused(ssl()) == 1; }

Error TlsStream::fault_in(Phase phase) {
  if (phase == Phase::handshake && certificate_fault_) return *certificate_fault_;
  Error error = handshake_error(name_, wire().first, wire().has_ended);
  if (phase == Phase::reading && error.diagnosis != "tls_client_certificate")
    error.code = Errc::upstream_protocol;
  return error;
}

Error TlsStream::interrupted(Error lower) const {
  lower.message = fmt::format("TLS with {} ({}): the connection was reset during the handshake: {}",
                              name_.name, name_.address, lower.message);
  lower.diagnosis = "tls_handshake";
  return lower;
}

}  // namespace layerd::net
