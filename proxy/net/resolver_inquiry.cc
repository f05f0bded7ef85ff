#include "proxy/net/resolver_inquiry.h"

#include <algorithm>

namespace layerd::net {
namespace {

// Of one name over all its servers; a server that is silent for longer counts as silent.
constexpr Duration kPatience = std::chrono::seconds(4);

// What is told of a server that gave one word for A and another one for AAAA: the more telling one.
int weight(DnsOutcome outcome) {
  switch (outcome) {
    case DnsOutcome::found:
      return 6;
    case DnsOutcome::no_data:
      return 5;
    case DnsOutcome::not_found:
      return 4;
    case DnsOutcome::servfail:
      return 3;
    case DnsOutcome::refused:
      return 2;
    case DnsOutcome::broken:
      return 1;
    case DnsOutcome::timed_out:
      break;
  }
  return 0;
}

bool is_definite(DnsOutcome outcome) { return weight(outcome) >= weight(DnsOutcome::not_found); }

}  // namespace

std::string_view describe(DnsOutcome outcome) {
  switch (outcome) {
    case DnsOutcome::found:
      return "found";
    case DnsOutcome::no_data:
      return "the name exists and has no address";
    case DnsOutcome::not_found:
      return "NXDOMAIN (no such name)";
    case DnsOutcome::timed_out:
      return "no answer";
    case DnsOutcome::servfail:
      return "SERVFAIL (it could not find out)";
    case DnsOutcome::refused:
      return "REFUSED (it does not answer us)";
    case DnsOutcome::broken:
      break;
  }
  return "an answer that makes no sense";
}

void Inquiry::start() {
  if (candidates_.empty()) {
    limit_ = loop_.post([this] { finish(); });
    return;
  }
  ask_candidate();
}

void Inquiry::ask_candidate() {
  const Candidate& candidate = candidates_[candidate_];
  first_row_ = report_.answers.size();
  questions_.clear();
  servers_.clear();
  limit_ = loop_.after(kPatience, "DNS inquiry", [this] { candidate_done(); });
  waiting_ = candidate.servers.size() * 2;
  for (const std::string& name : candidate.servers) {
    const std::size_t row = report_.answers.size();
    report_.answers.push_back({name, candidate.name, DnsOutcome::timed_out, {}, false});
    servers_.push_back(std::make_unique<DnsServer>(loop_, name, try_timeout_));
    for (const DnsType type : {DnsType::aaaa, DnsType::a})
      questions_.push_back(servers_.back()->ask(candidate.name, type, [this, row](Result<DnsAnswer> answer) {
        on_answer(row, std::move(answer));
      }));
  }
}

void Inquiry::on_answer(std::size_t row, Result<DnsAnswer> answer) {
  DnsServerAnswer& told = report_.answers[row];
  const DnsOutcome outcome = answer ? answer->outcome : DnsOutcome::broken;
  if (weight(outcome) > weight(told.outcome)) told.outcome = outcome;
  if (answer && answer->addresses.size() > kMostAddressesOfHost)
    answer->addresses.resize(kMostAddressesOfHost);
  if (answer)
    for (Address& address : answer->addresses) told.addresses.push_back(std::move(address));
  if (--waiting_ > 0) return;
  // On a later stack: the channel whose callback this is goes with the next candidate.
  limit_ = loop_.post([this] { candidate_done(); });
}

void Inquiry::candidate_done() {
  questions_.clear();
  const auto begin = report_.answers.begin() + static_cast<std::ptrdiff_t>(first_row_);
  const auto counting = std::find_if(begin, report_.answers.end(),
                                     [](const auto& answer) { return is_definite(answer.outcome); });
  const bool is_found = counting != report_.answers.end() && counting->outcome == DnsOutcome::found;
  if (counting != report_.answers.end()) counting->counts = true;
  if (is_found) report_.addresses = counting->addresses;
  // Silence will not end with another name, as for a look-up.
  const bool is_silent = std::all_of(begin, report_.answers.end(),
                                     [](const auto& told) { return told.outcome == DnsOutcome::timed_out; });
  if (!is_found && !is_silent && ++candidate_ < candidates_.size()) return ask_candidate();
  finish();
}

void Inquiry::finish() {
  limit_.reset();
  servers_.clear();
  answer(std::move(report_));
}

void Inquiry::on_cancel() noexcept {
  limit_.reset();
  questions_.clear();
  servers_.clear();
}

Ticket Resolver::inquire(const std::string& host, Done<DnsReport> done) {
  LAYERD_ON_LOOP(loop_);
  refresh();
  DnsReport report;
  std::vector<Inquiry::Candidate> candidates;
  const std::string name = canonical_name(host);
  if (auto addresses = known(host)) {
    report.addresses = std::move(*addresses);
    report.source = settings_.hosts.contains(name) ? DnsReport::Source::fixed
                    : hosts_.contains(name)        ? DnsReport::Source::hosts_file
                    : name.ends_with("localhost")  ? DnsReport::Source::localhost
                                                   : DnsReport::Source::numeric;
  } else {
    if (const DnsZone* zone = zone_of(name)) {
      report.source = DnsReport::Source::zone;
      report.zone = zone->suffix;
    }
    for (const std::string& candidate : candidates_for(host)) {
      candidates.push_back({candidate, {}});
      for (const auto& server : servers_for(candidate)) candidates.back().servers.push_back(server->name());
    }
  }
  auto inquiry = std::make_shared<Inquiry>(loop_, std::move(report), std::move(candidates),
                                           settings_.try_timeout, std::move(done));
  inquiry->start();
  return Ticket(inquiry);
}

}  // namespace layerd::net
