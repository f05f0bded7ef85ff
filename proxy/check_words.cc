#include "proxy/check_words.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "proxy/registry/challenge.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

constexpr std::size_t kMostShown = 12;

std::string list_of(const std::vector<std::string>& items, std::size_t most = kMostShown) {
  std::string all;
  for (std::size_t i = 0; i < std::min(items.size(), most); ++i) all += (i ? ", " : "") + items[i];
  if (items.size() > most) all += fmt::format(" and {} more", items.size() - most);
  return all;
}

std::vector<std::string> hosts_of(const std::vector<net::Address>& addresses) {
  std::vector<std::string> hosts;
  for (const auto& address : addresses) hosts.push_back(address.host);
  return hosts;
}

std::string source_words(const net::DnsReport& dns) {
  using Source = net::DnsReport::Source;
  switch (dns.source) {
    case Source::numeric:
      return "it is an address";
    case Source::fixed:
      return "dns.hosts of the configuration";
    case Source::hosts_file:
      return "/etc/hosts";
    case Source::localhost:
      return "a name of this machine";
    case Source::zone:
      return dns.zone.empty() ? "dns.zones.\".\"" : fmt::format("dns.zones.\"{}\"", dns.zone);
    case Source::resolv_conf:
      break;
  }
  return "/etc/resolv.conf";
}

// Servers that know the name and have not one address in common: one of them may lie.
bool do_disagree(const net::DnsReport& dns) {
  const net::DnsServerAnswer* first = nullptr;
  for (const auto& answer : dns.answers) {
    if (answer.outcome != net::DnsOutcome::found) continue;
    if (first == nullptr) first = &answer;
    const auto has = [&](const net::Address& address) {
      return std::any_of(first->addresses.begin(), first->addresses.end(),
                         [&](const net::Address& other) { return other.host == address.host; });
    };
    if (std::none_of(answer.addresses.begin(), answer.addresses.end(), has)) return true;
  }
  return false;
}

Json json_of(const net::CertificateFacts& certificate) {
  return {{"subject", certificate.subject},
          {"issuer", certificate.issuer},
          {"names", certificate.names},
          {"not_before", day_and_time(certificate.not_before)},
          {"not_after", day_and_time(certificate.not_after)},
          {"sha256", certificate.fingerprint}};
}

std::string certificate_words(const net::CertificateFacts& certificate) {
  std::string words =
      fmt::format("\"{}\" issued by \"{}\", {} to {}", certificate.subject, certificate.issuer,
                  day_and_time(certificate.not_before), day_and_time(certificate.not_after));
  if (!certificate.names.empty()) words += ", for " + list_of(certificate.names);
  return words;
}

std::string param_words(const registry::Challenge& challenge, std::string_view name) {
  const auto value = challenge.param(name);
  return value.empty() ? std::string() : fmt::format(", {} {}", name, printable(value, 200));
}

}  // namespace

void tell_dns(CheckReport& report, const std::string& host, const net::DnsReport& dns) {
  const bool is_found = !dns.addresses.empty();
  auto& step = report.add(
      "dns", is_found ? StepState::good : StepState::bad,
      is_found ? fmt::format("{} is {} ({})", host, list_of(hosts_of(dns.addresses)), source_words(dns))
               : fmt::format("{} has no address ({})", host, source_words(dns)));
  step.facts = {{"addresses", hosts_of(dns.addresses)}, {"source", source_words(dns)}};
  Json servers = Json::array();
  for (const auto& answer : dns.answers) {
    const auto said = answer.outcome == net::DnsOutcome::found ? list_of(hosts_of(answer.addresses))
                                                               : std::string(describe(answer.outcome));
    step.details.push_back(fmt::format("{} for {}: {}{}", answer.server, answer.name, said,
                                       answer.counts ? " (this one counts)" : ""));
    servers.push_back(
        {{"server", answer.server}, {"name", answer.name}, {"said", said}, {"counts", answer.counts}});
  }
  if (!servers.empty()) step.facts["servers"] = std::move(servers);
  if (do_disagree(dns))
    step.details.push_back("the servers disagree: they have not one address in common, one of them may lie");
}

void tell_tls(CheckReport& report, StepState state, const std::string& said,
              const net::PeerCertificates& tls) {
  auto& step = report.add("tls", state, said);
  Json chain = Json::array();
  for (const auto& certificate : tls.chain) {
    step.details.push_back(certificate_words(certificate));
    chain.push_back(json_of(certificate));
  }
  step.facts = {{"name", tls.name}, {"version", tls.version}, {"chain", std::move(chain)}};
  if (!tls.authority) return;
  step.details.push_back(
      fmt::format("trusted by \"{}\" of {}", tls.authority->subject, tls.authority_source));
  step.facts["authority"] = json_of(*tls.authority);
  step.facts["authority_source"] = tls.authority_source;
}

void tell_access(CheckReport& report, cache::RepositoryClass repository_class, const std::string& how) {
  using Class = cache::RepositoryClass;
  if (repository_class == Class::unknown) return;
  const bool is_open = repository_class == Class::open, is_nodes = repository_class == Class::node;
  const std::string_view said =
      is_open    ? "open: layerd answers whoever asks"
      : is_nodes ? "the node's: layerd answers this node's container runtimes, with the node's credentials"
                 : "the client's: layerd answers who brings credentials that its registry takes (a pod's "
                   "imagePullSecrets)";
  report.add("access", StepState::told, fmt::format("{} ({})", said, how)).facts = {
      {"class", is_open    ? "open"
                : is_nodes ? "node"
                           : "client"}};
}

std::string endpoint_words(const registry::Target& target, const registry::Endpoint& endpoint) {
  std::string words = endpoint.base.str();
  if (!endpoint.repository.empty()) words += ", repository " + endpoint.repository;
  if (endpoint.is_own) {
    words += ", the registry's own address";
  } else if (!target.mirror.empty()) {
    words += fmt::format(", by mirrors.\"{}\"", target.mirror);
  }
  if (!endpoint.rewrite.empty())
    words += fmt::format(", rewritten by \"{}\"", printable(endpoint.rewrite, 120));
  return words;
}

std::vector<std::string> challenge_words(const http::Headers& headers) {
  std::vector<std::string> lines;
  for (const auto& challenge : registry::parse_challenges(headers.get_all("WWW-Authenticate"))) {
    std::string line = "it wants " + printable(challenge.scheme, 40);
    for (const auto* name : {"realm", "service", "scope", "error"}) line += param_words(challenge, name);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string day_and_time(WallTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(
      std::chrono::time_point_cast<std::chrono::system_clock::duration>(time));
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
  return text;
}

std::string byte_words(ByteCount bytes) {
  static constexpr std::array<const char*, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string span_words(Duration span) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(span).count();
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7200) return fmt::format("{} min", seconds / 60);
  if (seconds < 172800) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} days", seconds / 86400);
}

}  // namespace layerd::proxy
