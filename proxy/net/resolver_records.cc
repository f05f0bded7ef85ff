#include "proxy/net/resolver_records.h"

#include <fmt/core.h>

#include "proxy/net/dns_report.h"
#include "proxy/net/resolver.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr std::chrono::seconds kTtlOfFiles{60};

Error dns_error(const char* diagnosis, std::string message) {
  return {Errc::upstream_unreachable, std::move(message), 0, 0, diagnosis, {}};
}

const char* word_for(DnsType type) {
  if (type == DnsType::srv) return "SRV record";
  return type == DnsType::a ? "IPv4 address" : "IPv6 address";
}

}  // namespace

void RecordQuery::start() { ask(); }

void RecordQuery::ask() {
  const Candidate& candidate = candidates_[candidate_];
  question_ = candidate.servers[server_]->ask(candidate.name, type_, [this](Result<DnsAnswer> answer) {
    on_answer(answer ? std::move(*answer) : DnsAnswer{});
  });
}

void RecordQuery::on_answer(DnsAnswer answer) {
  switch (answer.outcome) {
    case DnsOutcome::found:
      return finish(std::move(answer));
    case DnsOutcome::no_data:
      exists_ = true;
      return next_candidate();
    case DnsOutcome::not_found:
      return next_candidate();
    default:
      failures_ += fmt::format("{}{}: {}", failures_.empty() ? "" : ", ",
                               candidates_[candidate_].servers[server_]->name(), describe(answer.outcome));
      return next_server();
  }
}

void RecordQuery::next_server() {
  if (++server_ < candidates_[candidate_].servers.size()) return ask();
  finish(dns_error("dns_failed", fmt::format("DNS gave no answer for {}: {}", name_, failures_)));
}

void RecordQuery::next_candidate() {
  server_ = 0;
  if (++candidate_ < candidates_.size()) return ask();
  finish(dns_error("dns_not_found", exists_ ? fmt::format("{} has no {}", name_, word_for(type_))
                                            : fmt::format("{} does not exist", name_)));
}

void RecordQuery::finish(Result<DnsAnswer> result) {
  const auto self = shared_from_this();
  question_.reset();
  answer(std::move(result));
}

Ticket Resolver::records(const std::string& host, DnsType type, Done<DnsAnswer> done) {
  LAYERD_ON_LOOP(loop_);
  refresh();
  std::optional<Result<DnsAnswer>> at_hand;
  std::vector<RecordQuery::Candidate> candidates;
  const auto here = type == DnsType::srv ? std::nullopt : known(host);
  if (here) {
    DnsAnswer answer{DnsOutcome::found, {}, {}, kTtlOfFiles};
    for (const Address& address : *here)
      if (address.is_ipv6 == (type == DnsType::aaaa)) answer.addresses.push_back(address);
    if (answer.addresses.empty())
      at_hand = dns_error("dns_not_found", fmt::format("{} has no {}", host, word_for(type)));
    else
      at_hand = std::move(answer);
  } else if (!is_host_name(canonical_name(host))) {
    at_hand = dns_error("dns_not_found", fmt::format("\"{}\" is not a host name", printable(host)));
  } else {
    for (const std::string& candidate : candidates_for(host))
      candidates.push_back({candidate, servers_for(candidate)});
  }
  auto query = std::make_shared<RecordQuery>(loop_, host, type, std::move(candidates), std::move(done));
  if (at_hand)
    loop_.post_detached(
        [query, result = std::move(*at_hand)]() mutable { query->answer(std::move(result)); });
  else
    query->start();
  return Ticket(query);
}

}  // namespace layerd::net
