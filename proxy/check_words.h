// How what a walk sees is put into lines: DNS answers, certificates, challenges, descriptors. Pure.
#pragma once

#include <string>
#include <vector>

#include "cache/catalog.h"
#include "proxy/check_report.h"
#include "proxy/http/message.h"
#include "proxy/net/dns_report.h"
#include "proxy/net/peer_certificates.h"
#include "proxy/registry/endpoint.h"
#include "runtime/bytes.h"
#include "runtime/clock.h"

namespace layerd::proxy {

// Adds the step "dns".
void tell_dns(CheckReport& report, const std::string& host, const net::DnsReport& dns);
// Adds the step "tls".
void tell_tls(CheckReport& report, StepState state, const std::string& said,
              const net::PeerCertificates& tls);
// Adds the step "access": whom the repository is open to. how: "learned 3 min ago". Nothing for `unknown`.
void tell_access(CheckReport& report, cache::RepositoryClass repository_class, const std::string& how);
// "https://x/v2, repository a/b, by mirrors.\"x\", rewritten by \"^(.*)$\""
std::string endpoint_words(const registry::Target& target, const registry::Endpoint& endpoint);
// "Bearer from https://auth.x/token for service x", a line each.
std::vector<std::string> challenge_words(const http::Headers& headers);

std::string day_and_time(WallTime time);  // "2026-11-21 06:00 UTC"
std::string byte_words(ByteCount bytes);  // "31.4 MiB"
// "3 h", "12 min", "40 s"
std::string span_words(Duration span);

}  // namespace layerd::proxy
