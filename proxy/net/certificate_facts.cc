#include "proxy/net/certificate_facts.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "runtime/digest.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr std::size_t kMostNames = 50;
constexpr std::size_t kNamesInText = 6;
constexpr std::size_t kMostText = 100;

std::string text_of(const ASN1_STRING* string) {
  return printable({reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                    static_cast<std::size_t>(ASN1_STRING_length(string))},
                   kMostText);
}

std::string ip_text(const ASN1_OCTET_STRING* ip) {
  char text[INET6_ADDRSTRLEN] = "";
  const int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;
  if (ASN1_STRING_length(ip) != 4 && ASN1_STRING_length(ip) != 16) return "?";
  inet_ntop(family, ASN1_STRING_get0_data(ip), text, sizeof text);
  return text;
}

std::vector<std::string> names_in(X509* certificate) {
  std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  std::vector<std::string> list;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()) && list.size() < kMostNames; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) list.push_back(text_of(name->d.dNSName));
    if (name->type == GEN_IPADD) list.push_back(ip_text(name->d.iPAddress));
  }
  return list;
}

std::string short_name(const X509_NAME* name) {
  for (const int nid : {NID_commonName, NID_organizationName, NID_organizationalUnitName}) {
    const int at = X509_NAME_get_index_by_NID(name, nid, -1);
    if (at < 0) continue;
    return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  }
  return "without a name";
}

// Dates before 1678 or after 2262 do not fit into WallTime and mean "ever".
WallTime time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  constexpr std::time_t kMost = 9'000'000'000, kLeast = -9'000'000'000;
  return WallTime(std::chrono::seconds(std::clamp(timegm(&parts), kLeast, kMost)));
}

std::string formatted(WallTime time, const char* format) {
  const std::time_t seconds =
      std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, format, &parts);
  return text;
}

std::string fingerprint_of(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  if (size <= 0) return {};
  const std::string hex =
      digest_of(DigestAlgorithm::sha256, {reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)})
          .hex();
  OPENSSL_free(der);
  return hex;
}

}  // namespace

CertificateFacts facts_of(X509* certificate) {
  CertificateFacts facts;
  facts.subject = short_name(X509_get_subject_name(certificate));
  facts.issuer = short_name(X509_get_issuer_name(certificate));
  facts.names = names_in(certificate);
  facts.not_before = time_of(X509_get0_notBefore(certificate));
  facts.not_after = time_of(X509_get0_notAfter(certificate));
  facts.is_self_signed =
      X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
  facts.fingerprint = fingerprint_of(certificate);
  return facts;
}

std::string names_text(const CertificateFacts& facts) {
  if (facts.names.empty())
    return "no name (it has no subject alternative name; the common name does not count)";
  std::string list;
  const std::size_t shown = std::min(kNamesInText, facts.names.size());
  for (std::size_t i = 0; i < shown; ++i) list += (i ? ", " : "") + facts.names[i];
  if (facts.names.size() > shown) list += fmt::format(" and {} more", facts.names.size() - shown);
  return list;
}

std::string time_text(WallTime time) { return formatted(time, "%Y-%m-%d %H:%M UTC"); }
std::string date_text(WallTime time) { return formatted(time, "%Y-%m-%d"); }

std::string validity_text(const CertificateFacts& facts) {
  return fmt::format("valid {} to {}", date_text(facts.not_before), date_text(facts.not_after));
}

}  // namespace layerd::net
