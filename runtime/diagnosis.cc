#include "runtime/diagnosis.h"

#include <algorithm>
#include <utility>

namespace layerd {
namespace {

using enum Diagnosis;

constexpr std::array<DiagnosisText, kDiagnoses> kTexts{{
    {tls_name_mismatch, "tls_name_mismatch", "the certificate of {host} is for other names",
     "give the server a certificate for {host}, or write the name it has into "
     "configs.\"{host}\".tls.server_name"},
    {tls_unknown_ca, "tls_unknown_ca",
     "the certificate of {host} is signed by an authority nobody here trusts",
     "write the file with that authority's certificate into configs.\"{host}\".tls.ca_file"},
    {tls_expired, "tls_expired", "the certificate of {host} has expired",
     "renew the certificate of {host}; if it is valid elsewhere, set this machine's clock"},
    {tls_not_yet_valid, "tls_not_yet_valid", "the certificate of {host} is not valid yet",
     "set this machine's clock (timedatectl, chronyc makestep); the certificate is most likely right"},
    {dns_not_found, "dns_not_found", "DNS has no address for {host}",
     "correct the name, or say who knows it: dns: {zones: {<domain>: [<server>]}} or dns: {hosts: {{host}: "
     "<address>}}"},
    {dns_suspicious, "dns_suspicious", "DNS answers for {host} with somebody else's address",
     "ask another DNS server for it: dns: {zones: {{host}: [<server>]}}, or fix the address: "
     "dns: {hosts: {{host}: <address>}}"},
    {connect_refused, "connect_refused", "{host} refuses the connection",
     "start the registry, or correct the port in the endpoint"},
    {connect_timeout, "connect_timeout", "{host} does not answer",
     "open the way there (firewall, route, VPN), set proxy, or name a nearer endpoint in mirrors"},
    {scheme_mismatch, "scheme_mismatch",
     "{host} speaks HTTP where HTTPS was asked for, or the other way round",
     "write the scheme that the port speaks into the endpoint: mirrors: {\"{registry}\": {endpoint: "
     "[\"{other_scheme}://{host}\"]}}"},
    {credentials_missing, "credentials_missing", "{host} wants credentials and none are configured",
     "add configs: {\"{host}\": {auth: {username: ..., password_file: ...}}} or a file to "
     "credentials.docker_config; if it should be public, look at the name"},
    {credentials_unusable, "credentials_unusable", "there are credentials for {host} that cannot be used",
     "mend the entry that is named: an entry needs `auth` (base64 of user:password), or `username` and "
     "`password`"},
    {credentials_other_host, "credentials_other_host", "there are credentials for another host than {host}",
     "name the image by the host that the account is for, or add the credentials for {host}"},
    {credentials_refused, "credentials_refused", "{host} refuses the credentials",
     "put the right user name and password into {source}; a changed file counts at once"},
    {repository_denied, "repository_denied", "the account has no right to {repository}",
     "give the account of {source} the right to pull {repository}, or correct the name"},
    {repository_unknown, "repository_unknown", "{host} has no repository {repository}",
     "correct the name; in mirrors, look at rewrite and at the path of the endpoint"},
    {tag_unknown, "tag_unknown", "{host} has no {repository} with {reference}",
     "push it, or correct the tag; layerd asks again within 5 s"},
    {rate_limited, "rate_limited", "{host} answers that too much was asked of it",
     "wait, or log in: an account has a higher limit (configs.\"{host}\".auth)"},
    {proxy_failed, "proxy_failed", "the proxy does not let us through to {host}",
     "mend what the proxy complains about (user, password, rights), or put {host} into proxy.no_proxy"},
    {storage_unreachable, "storage_unreachable",
     "the registry answers, and the storage with its blobs does not",
     "open the way to the storage host that is named (firewall, proxy, DNS), or mirror through a registry "
     "that serves blobs itself"},
    {platform_missing, "platform_missing", "the image is not there for this platform",
     "build and push it for this platform, or take a tag that has it"},
    {not_configured, "not_configured", "the configuration does not let layerd ask {host}",
     "add configs: {\"{host}\": {}} if it is meant, and look at allow, aliases and offline"},
    {runtime_bypass, "runtime_bypass", "the container runtime does not ask layerd for {registry}",
     "run `layerd setup` for the runtime, or add {registry} to its mirrors"},
    {upstream_error, "upstream_error", "{host} answers something that a registry does not say",
     "look at the registry's own log, and at what stands between (ingress, proxy, firewall)"},
}};

// Finer words of errors, by the code they are told as.
constexpr std::pair<std::string_view, Diagnosis> kWords[] = {
    {"tls_self_signed", tls_unknown_ca},
    {"tls_incomplete_chain", tls_unknown_ca},
    {"tls_untrusted", tls_unknown_ca},
    {"tls_ca_file", tls_unknown_ca},
    {"tls_client_certificate", credentials_missing},
    {"tls_timeout", connect_timeout},
    {"dns_timeout", dns_not_found},
    {"dns_failed", dns_not_found},
    {"network_unreachable", connect_timeout},
    {"connect_failed", connect_timeout},
    {"redirect_to_http", scheme_mismatch},
    {"realm_not_https", scheme_mismatch},
    {"realm_downgrade", scheme_mismatch},
    {"credentials_withheld", not_configured},
    {"address_not_allowed", not_configured},
    {"alias_result_invalid", not_configured},
    {"offline", not_configured},
    {"blob_unknown", upstream_error},
};

Diagnosis diagnosis_of_fault(const Error& error) {
  if (error.status == 429) return rate_limited;
  switch (error.code) {
    case Errc::denied:
      return error.status == 403 ? repository_denied : credentials_missing;
    case Errc::not_found:
      return tag_unknown;
    case Errc::upstream_timeout:
      return connect_timeout;
    case Errc::refused_by_policy:
    case Errc::config:
      return not_configured;
    default:
      return upstream_error;
  }
}

}  // namespace

const std::array<DiagnosisText, kDiagnoses>& diagnoses() { return kTexts; }

const DiagnosisText& text_of(Diagnosis diagnosis) { return kTexts[static_cast<std::size_t>(diagnosis)]; }

Diagnosis diagnosis_of(const Error& error) {
  for (const auto& text : kTexts)
    if (text.code == error.diagnosis) return text.diagnosis;
  for (const auto& [word, diagnosis] : kWords)
    if (word == error.diagnosis) return diagnosis;
  return diagnosis_of_fault(error);
}

std::string_view stable_code(const Error& error) {
  switch (error.code) {
    case Errc::denied:
    case Errc::not_found:
    case Errc::upstream_unreachable:
    case Errc::upstream_timeout:
    case Errc::upstream_status:
    case Errc::upstream_protocol:
    case Errc::truncated:
    case Errc::digest_mismatch:
    case Errc::config:
      return code_of(diagnosis_of(error));
    case Errc::refused_by_policy:
      return error.diagnosis == "loop" ? error.diagnosis_code() : code_of(diagnosis_of(error));
    default:
      return error.diagnosis_code();
  }
}

}  // namespace layerd
