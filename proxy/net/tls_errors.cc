#include "proxy/net/tls_errors.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>

#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr int kMostNames = 6;

std::string text_of(const ASN1_STRING* string) {
  return printable({reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                    static_cast<std::size_t>(ASN1_STRING_length(string))},
                   100);
}

std::string ip_text(const ASN1_OCTET_STRING* ip) {
  char text[INET6_ADDRSTRLEN] = "";
  const int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;
  if (ASN1_STRING_length(ip) != 4 && ASN1_STRING_length(ip) != 16) return "?";
  inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof text);
  return text;
}

// "a.example, *.b.example", or what to do when there are none.
std::string names_in(X509* certificate) {
  std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  std::string list;
  int shown = 0, all = 0;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS && name->type != GEN_IPADD) continue;
    ++all;
    if (shown == kMostNames) continue;
    list += shown++ ? ", " : "";
    list += name->type == GEN_DNS ? text_of(name->d.dNSName) : ip_text(name->d.iPAddress);
  }
  if (all > shown) list += fmt::format(" and {} more", all - shown);
  return list.empty() ? "no name (it has no subject alternative name; the common name does not count)" : list;
}

std::string short_name(const X509_NAME* name) {
  for (const int nid : {NID_commonName, NID_organizationName, NID_organizationalUnitName}) {
    const int at = X509_NAME_get_index_by_NID(name, nid, -1);
    if (at < 0) continue;
    return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  }
  return "without a name";
}

std::string when(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "an unreadable date";
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

Error tls_error(const TlsPeerName& peer, const char* diagnosis, std::string_view what) {
  const std::string who =
      peer.address.rfind(peer.name, 0) == 0 ? peer.address : fmt::format("{} ({})", peer.name, peer.address);
  return {Errc::upstream_unreachable, fmt::format("TLS with {}: {}", who, what), 0, 0, diagnosis, {}};
}

// The leaf's issuer is not known. A leaf that came alone and says where its issuer is to be fetched
// was most likely meant to come with an intermediate.
Error unknown_issuer(X509_STORE_CTX* store, const TlsPeerName& peer, X509* certificate) {
  const std::string issuer = short_name(X509_get_issuer_name(certificate));
  const STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(store);
  const bool is_alone = sk_X509_num(sent) <= 1;
  const bool names_issuer = X509_get_ext_by_NID(certificate, NID_info_access, -1) >= 0;
  if (is_alone && names_issuer) {
    return tls_error(peer, "tls_incomplete_chain",
                     fmt::format("the server sent its certificate without the intermediate \"{}\"; make the "
                                 "server send the whole chain, or put the intermediate into ca_file",
                                 issuer));
  }
  return tls_error(
      peer, "tls_unknown_ca",
      fmt::format("certificate is signed by \"{}\", which is not trusted here; set tls.ca_file to its "
                  "certificate",
                  issuer));
}

}  // namespace

Error certificate_error(X509_STORE_CTX* store, const TlsPeerName& peer) {
  const int code = X509_STORE_CTX_get_error(store);
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  if (!certificate) certificate = X509_STORE_CTX_get0_cert(store);
  const std::string subject = certificate ? short_name(X509_get_subject_name(certificate)) : "";
  switch (certificate ? code : X509_V_ERR_UNSPECIFIED) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return tls_error(peer, "tls_name_mismatch",
                       fmt::format("certificate is valid for {}, not {}", names_in(certificate), peer.name));
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return tls_error(
          peer, "tls_self_signed",
          fmt::format("certificate \"{}\" is self-signed and not trusted here; set tls.ca_file to it",
                      subject));
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return tls_error(
          peer, "tls_unknown_ca",
          fmt::format("certificate chain ends at \"{}\", which is not trusted here; set tls.ca_file to "
                      "its certificate",
                      subject));
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return unknown_issuer(store, peer, certificate);
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return tls_error(peer, "tls_expired",
                       fmt::format("certificate \"{}\" expired on {} (this machine's clock says {})", subject,
                                   when(X509_get0_notAfter(certificate)), now_text()));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return tls_error(
          peer, "tls_not_yet_valid",
          fmt::format("certificate \"{}\" is valid only from {}; this machine's clock says {}: check it",
                      subject, when(X509_get0_notBefore(certificate)), now_text()));
    default:
      return tls_error(
          peer, "tls_untrusted",
          fmt::format("certificate \"{}\" is refused: {}", subject, X509_verify_cert_error_string(code)));
  }
}

Error handshake_error(const TlsPeerName& peer, std::string_view first_bytes, bool has_ended) {
  const unsigned long code = ERR_peek_last_error();
  const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  if (first_bytes.substr(0, 5) == "HTTP/") {
    return tls_error(peer, "tls_protocol", "the port speaks plain HTTP; write http:// in its endpoint");
  }
  const bool is_record = !first_bytes.empty() && first_bytes[0] >= 0x14 && first_bytes[0] <= 0x17;
  if (!first_bytes.empty() && !is_record)
    return tls_error(peer, "tls_protocol", "the port does not speak TLS");
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return tls_error(peer, "tls_protocol", "the server offers no TLS version from 1.2 on");
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_NO_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return tls_error(
          peer, "tls_client_certificate",
          fmt::format("the server refuses our client certificate, or wants one ({}); set tls.cert_file "
                      "and tls.key_file",
                      ERR_reason_error_string(code)));
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
