#include "proxy/net/tls_errors.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <memory>
#include <vector>

#include "proxy/net/certificate_facts.h"
#include "proxy/net/clock_check.h"

namespace layerd::net {
namespace {

Error tls_error(const TlsPeerName& peer, const char* diagnosis, std::string_view what) {
  const std::string who =
      peer.address.rfind(peer.name, 0) == 0 ? peer.address : fmt::format("{} ({})", peer.name, peer.address);
  return {Errc::upstream_unreachable, fmt::format("TLS with {}: {}", who, what), 0, 0, diagnosis, {}};
}

// "for a.example, issued by "X", valid 2026-01-01 to 2027-01-01"
std::string details(const CertificateFacts& facts) {
  return fmt::format("for {}, issued by \"{}\", {}", names_text(facts), facts.issuer, validity_text(facts));
}

// Does the certificate itself say that its issuer is no root? Where the issuer is to be fetched (AIA), or
// the issuer's own issuer, when that is another (authority key identifier).
bool has_unrooted_issuer(X509* certificate) {
  if (X509_get_ext_by_NID(certificate, NID_info_access, -1) >= 0) return true;
  const GENERAL_NAMES* names = X509_get0_authority_issuer(certificate);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_DIRNAME &&
        X509_NAME_cmp(name->d.directoryName, X509_get_issuer_name(certificate)) != 0)
      return true;
  }
  return false;
}

// An authority was made anew under its old name, and the file here is of the old one.
Error other_key(const TlsPeerName& peer, const CertificateFacts& facts) {
  return tls_error(
      peer, "tls_unknown_ca",
      fmt::format("certificate \"{}\" is signed by another \"{}\" than the one trusted here (same "
                  "name, other key); put the authority's present certificate into tls.ca_file ({})",
                  facts.subject, facts.issuer, details(facts)));
}

bool is_name_trusted(X509_STORE_CTX* store, const X509* certificate) {
  STACK_OF(X509)* named = X509_STORE_CTX_get1_certs(store, X509_get_issuer_name(certificate));
  const bool is_trusted = named && sk_X509_num(named) > 0;
  sk_X509_pop_free(named, X509_free);
  return is_trusted;
}

// The issuer of `certificate` is not known. A leaf that came alone and was not issued by a root was meant
// to come with an intermediate.
Error unknown_issuer(X509_STORE_CTX* store, const TlsPeerName& peer, X509* certificate) {
  const CertificateFacts facts = facts_of(certificate);
  const bool is_alone = sk_X509_num(X509_STORE_CTX_get0_untrusted(store)) <= 1;
  if (is_alone && has_unrooted_issuer(certificate)) {
    return tls_error(peer, "tls_incomplete_chain",
                     fmt::format("the server sent its certificate without the intermediate \"{}\"; make the "
                                 "server send the whole chain, or put the intermediate into tls.ca_file "
                                 "(certificate {})",
                                 facts.issuer, details(facts)));
  }
  if (is_name_trusted(store, certificate)) return other_key(peer, facts);
  const std::string hint = is_alone ? " (if that is an intermediate, the server must send it as well)" : "";
  return tls_error(peer, "tls_unknown_ca",
                   fmt::format("certificate \"{}\" is signed by \"{}\", which is not trusted here; set "
                               "tls.ca_file to its certificate{} ({})",
                               facts.subject, facts.issuer, hint, details(facts)));
}

std::vector<CertificateFacts> verified_chain(X509_STORE_CTX* store) {
  std::vector<CertificateFacts> chain;
  STACK_OF(X509)* certificates = X509_STORE_CTX_get0_chain(store);
  for (int i = 0; certificates && i < sk_X509_num(certificates); ++i)
    chain.push_back(facts_of(sk_X509_value(certificates, i)));
  return chain;
}

Error wrong_dates(X509_STORE_CTX* store, const TlsPeerName& peer, const CertificateFacts& facts,
                  bool is_early, WallTime now) {
  const std::string fact = is_early ? fmt::format("is valid only from {}", time_text(facts.not_before))
                                    : fmt::format("expired on {}", time_text(facts.not_after));
  std::string why = clock_fault(now, verified_chain(store));
  if (why.empty())
    why = fmt::format("this machine's clock says {}: {}", time_text(now),
                      is_early ? "check it" : "if that is right, the certificate must be renewed");
  return tls_error(peer, is_early ? "tls_not_yet_valid" : "tls_expired",
                   fmt::format("certificate \"{}\" {}; {} ({})", facts.subject, fact, why, details(facts)));
}

// The version in a ServerHello: "TLS 1.1". Empty: the bytes are none.
std::string version_in_hello(std::string_view bytes) {
  if (bytes.size() < 11 || bytes[0] != 0x16 || bytes[5] != 2 || bytes[9] != 3) return {};
  const int minor = bytes[10];
  return minor == 0 ? "SSL 3" : fmt::format("TLS 1.{}", minor - 1);
}

Error version_error(const TlsPeerName& peer, std::string_view first_bytes) {
  const std::string theirs = version_in_hello(first_bytes);
  const std::string answered = theirs.empty() ? "" : fmt::format(" (it chose {})", theirs);
  const char* remedy =
      peer.minor_version > 2 ? "lower tls.min_version" : "it must be configured for a newer one";
  return tls_error(peer, "tls_protocol",
                   fmt::format("the server offers no TLS version from 1.{} on{}; {}", peer.minor_version,
                               answered, remedy));
}

bool is_plain_http(std::string_view first_bytes) {
  return first_bytes.starts_with("HTTP/") || first_bytes.starts_with("<!") || first_bytes.starts_with("<h");
}

}  // namespace

Error certificate_error(X509_STORE_CTX* store, const TlsPeerName& peer, WallTime now) {
  const int code = X509_STORE_CTX_get_error(store);
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  if (!certificate) certificate = X509_STORE_CTX_get0_cert(store);
  if (!certificate) return tls_error(peer, "tls_untrusted", X509_verify_cert_error_string(code));
  const CertificateFacts facts = facts_of(certificate);
  switch (code) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return tls_error(
          peer, "tls_name_mismatch",
          fmt::format("certificate is valid for {}, not {}; check whether {} is the right "
                      "address, or set tls.server_name (certificate \"{}\" issued by \"{}\", {})",
                      names_text(facts), peer.name, peer.address, facts.subject, facts.issuer,
                      validity_text(facts)));
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return tls_error(
          peer, "tls_self_signed",
          fmt::format("certificate \"{}\" is self-signed and not trusted here; set tls.ca_file to it ({})",
                      facts.subject, details(facts)));
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return tls_error(
          peer, "tls_unknown_ca",
          fmt::format("certificate chain ends at \"{}\", which is not trusted here; set tls.ca_file to "
                      "its certificate ({}; server's certificate {})",
                      facts.subject, validity_text(facts),
                      details(facts_of(X509_STORE_CTX_get0_cert(store)))));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return unknown_issuer(store, peer, certificate);
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return other_key(peer, facts);
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return wrong_dates(store, peer, facts, code == X509_V_ERR_CERT_NOT_YET_VALID, now);
    default:
      return tls_error(peer, "tls_untrusted",
                       fmt::format("certificate \"{}\" is refused: {} ({})", facts.subject,
                                   X509_verify_cert_error_string(code), details(facts)));
  }
}

Error handshake_error(const TlsPeerName& peer, std::string_view first_bytes, bool has_ended) {
  const unsigned long code = ERR_peek_last_error();
  const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  if (is_plain_http(first_bytes))
    return tls_error(peer, "scheme_mismatch",
                     "the port speaks plain HTTP and no TLS; write http:// in its endpoint");
  const bool is_record = !first_bytes.empty() && first_bytes[0] >= 0x14 && first_bytes[0] <= 0x17;
  if (!first_bytes.empty() && !is_record)
    return tls_error(peer, "tls_protocol", "the port does not speak TLS");
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return version_error(peer, first_bytes);
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_NO_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return tls_error(
          peer, "tls_client_certificate",
          fmt::format("the server refuses our client certificate, or wants one ({}); set tls.cert_file "
                      "and tls.key_file",
                      ERR_reason_error_string(code)));
    case SSL_R_TLSV1_UNRECOGNIZED_NAME:
      return tls_error(peer, "tls_handshake",
                       fmt::format("the server does not know the name {} (SNI); check the address, or set "
                                   "tls.server_name to one it knows",
                                   peer.name));
    default:
      break;
  }
  if (has_ended && reason == 0) {
    return tls_error(
        peer, "tls_handshake",
        "the connection was closed during the handshake (a firewall that filters by name does this)");
  }
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  return tls_error(peer, "tls_handshake",
                   fmt::format("handshake failed: {}", text ? text : "no reason given"));
}

}  // namespace layerd::net
