#include "proxy/net/resolver_lookup.h"

#include <fmt/core.h>

namespace layerd::net {
namespace {

constexpr std::chrono::seconds kIncompleteTtl{5};

const char* word_for(DnsOutcome outcome) {
  switch (outcome) {
    case DnsOutcome::timed_out:
      return "did not answer";
    case DnsOutcome::servfail:
      return "answered SERVFAIL";
    case DnsOutcome::refused:
      return "answered REFUSED";
    default:
      return "gave an answer that makes no sense";
  }
}

Error dns_error(const char* diagnosis, std::string message) {
  return {Errc::upstream_unreachable, std::move(message), 0, 0, diagnosis, {}};
}

}  // namespace

Lookup::Lookup(Resolver& resolver, std::string name, std::vector<std::string> candidates)
    : resolver_(resolver),
      name_(std::move(name)),
      candidates_(std::move(candidates)),
      entry_(resolver.loop_.ledger(), "DNS look-up", name_, resolver.loop_.now()) {}

void Lookup::start() {
  overall_ = resolver_.loop_.after(resolver_.settings_.look_up_timeout, "DNS look-up", [this] {
    for (Query& query : queries_) {
      if (query.is_done) continue;
      failures_.insert(failures_.end(), query.failures.begin(), query.failures.end());
      failures_.push_back({servers_.front()->name(), DnsOutcome::timed_out});
    }
    finish_failed();
  });
  start_candidate();
}

void Lookup::start_candidate() {
  servers_ = resolver_.servers_for(candidates_[candidate_]);
  asked_servers_.clear();
  for (const auto& server : servers_) asked_servers_ += (asked_servers_.empty() ? "" : ", ") + server->name();
  other_family_.reset();
  for (std::size_t i = 0; i < queries_.size(); ++i) {
    queries_[i] = Query();
    queries_[i].type = i == 0 ? DnsType::a : DnsType::aaaa;
    ask_next(queries_[i]);
  }
}

void Lookup::ask_next(Query& query) {
  const auto server = servers_[query.asked++];
  query.questions.push_back(server->ask(candidates_[candidate_], query.type,
                                        [this, &query, name = server->name()](Result<DnsAnswer> answer) {
                                          on_answer(query, name, answer ? std::move(*answer) : DnsAnswer{});
                                        }));
  if (query.asked == servers_.size()) return query.next_server.reset();
  query.next_server = resolver_.loop_.after(resolver_.settings_.next_server, "next DNS server",
                                            [this, &query] { ask_next(query); });
}

void Lookup::on_answer(Query& query, const std::string& server, DnsAnswer answer) {
  ++query.answered;
  const bool is_definite = answer.outcome == DnsOutcome::found || answer.outcome == DnsOutcome::no_data ||
                           answer.outcome == DnsOutcome::not_found;
  if (is_definite) {
    if (answer.addresses.size() > kMostAddressesOfHost) answer.addresses.resize(kMostAddressesOfHost);
    query.answer = std::move(answer);
    return query_done(query);
  }
  query.failures.push_back({server, answer.outcome});
  if (query.asked < servers_.size()) return ask_next(query);
  if (query.answered < query.asked) return;
  failures_.insert(failures_.end(), query.failures.begin(), query.failures.end());
  query_done(query);
}

void Lookup::query_done(Query& query) {
  query.is_done = true;
  query.next_server.reset();
  query.questions.clear();
  const Query& other = &query == &queries_[0] ? queries_[1] : queries_[0];
  if (other.is_done) return candidate_done();
  if (query.answer.outcome != DnsOutcome::found) return;
  other_family_ = resolver_.loop_.after(resolver_.settings_.other_family, "other address family",
                                        [this] { answer_found(); });
}

void Lookup::candidate_done() {
  for (const Query& query : queries_) {
    if (query.answer.outcome == DnsOutcome::found) return answer_found();
  }
  // Silence will not end with another name; what other servers say may depend on it.
  bool is_silent = false;
  for (const Failure& failure : failures_) is_silent |= failure.outcome == DnsOutcome::timed_out;
  const bool got_word =
      queries_[0].answer.outcome != DnsOutcome::broken || queries_[1].answer.outcome != DnsOutcome::broken;
  if (++candidate_ < candidates_.size() && (got_word || !is_silent)) return start_candidate();
  finish_failed();
}

// IPv6 and IPv4 in turns is the dialer's business; here IPv6 comes first as RFC 6724 has it.
void Lookup::answer_found() {
  std::vector<Address> addresses;
  std::chrono::seconds ttl{3600};
  for (const std::size_t i : {1u, 0u}) {
    Query& query = queries_[i];
    if (query.answer.outcome == DnsOutcome::found) {
      for (Address& address : query.answer.addresses) addresses.push_back(std::move(address));
      ttl = std::min(ttl, query.answer.ttl);
    } else if (!query.is_done || query.answer.outcome == DnsOutcome::broken) {
      ttl = std::min(ttl, kIncompleteTtl);
    }
  }
  finish(std::move(addresses), ttl);
}

void Lookup::finish_failed() {
  bool is_absent = true;
  for (const Query& query : queries_)
    is_absent &= query.is_done && query.answer.outcome != DnsOutcome::broken;
  if (is_absent && failures_.empty()) {
    const bool exists = queries_[0].answer.outcome == DnsOutcome::no_data ||
                        queries_[1].answer.outcome == DnsOutcome::no_data;
    return finish(
        dns_error("dns_not_found", fmt::format("{} {} (asked {})", name_,
                                               exists ? "has no address" : "does not exist", asked_servers_)),
        {});
  }
  std::string said;
  bool all_silent = true;
  for (const Failure& failure : failures_) {
    all_silent &= failure.outcome == DnsOutcome::timed_out;
    const std::string part = fmt::format("{} {}", failure.server, word_for(failure.outcome));
    if (said.find(part) == std::string::npos) said += (said.empty() ? "" : ", ") + part;
  }
  finish(dns_error(all_silent ? "dns_timeout" : "dns_failed",
                   fmt::format("DNS gave no answer for {}: {}", name_, said)),
         {});
}

void Lookup::finish(Result<std::vector<Address>> result, std::chrono::seconds ttl) {
  resolver_.finished(name_, std::move(result), ttl);
}

}  // namespace layerd::net
