#include "proxy/peers/dns_members.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/peers/listed_members.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kMostQuestions = 16;  // for targets, at once
constexpr std::size_t kMostComplaints = 10;

bool is_absent(const Error& error) { return error.diagnosis == "dns_not_found"; }

// Those of the family that counts, so that a host is one member.
std::vector<net::Address> of_one_family(const std::vector<net::Address>& all, bool ipv6_first) {
  std::vector<net::Address> chosen;
  for (const bool is_ipv6 : {ipv6_first, !ipv6_first}) {
    for (const net::Address& address : all)
      if (address.is_ipv6 == is_ipv6) chosen.push_back(address);
    if (!chosen.empty()) break;
  }
  std::sort(chosen.begin(), chosen.end(),
            [](const net::Address& a, const net::Address& b) { return a.host < b.host; });
  return chosen;
}

}  // namespace

DnsMemberSource::DnsMemberSource(Loop& loop, MemberNames& names, DnsMembers dns, bool ipv6_first)
    : MemberSource("peers.dns", fmt::format("{}:{}", dns.name, dns.port)),
      loop_(loop),
      names_(names),
      dns_(std::move(dns)),
      ipv6_first_(ipv6_first) {}

void DnsMemberSource::start(std::vector<Member> kept, Callback<void()> changed) {
  members_ = std::move(kept);
  changed_ = std::move(changed);
  next_ = loop_.post([this] { ask(); });
}

void DnsMemberSource::ask() {
  const bool is_service = dns_.name.starts_with('_');
  question_ = names_.records(is_service ? dns_.name : "_layerd._tcp." + dns_.name, net::DnsType::srv,
                             [this, is_service](Result<net::DnsAnswer> answer) {
                               if (answer) return on_services(std::move(*answer));
                               // Servers that know nothing of SRV have said other things than "not found".
                               const bool is_without = is_absent(answer.error()) || !has_services_;
                               if (!is_service && is_without) return ask_addresses();
                               fail(answer.error());
                             });
}

void DnsMemberSource::ask_addresses() {
  question_ = addresses_of(names_, dns_.name, ipv6_first_, [this](Result<net::DnsAnswer> answer) {
    if (!answer) return fail(answer.error());
    std::vector<Member> members;
    for (net::Address& address : answer->addresses) {
      address.port = dns_.port;
      members.push_back(member_at(std::move(address), "", ""));
    }
    has_services_ = false;
    lost_targets_.clear();
    take(std::move(members), answer->ttl);
  });
}

void DnsMemberSource::on_services(net::DnsAnswer answer) {
  has_services_ = true;
  services_ = std::move(answer);
  if (services_.services.size() > kMostMembers) services_.services.resize(kMostMembers);
  targets_.clear();
  unknown_.clear();
  lost_.clear();
  for (const net::DnsService& service : services_.services) {
    if (targets_.contains(service.target)) continue;
    targets_[service.target] = of_one_family(service.addresses, ipv6_first_);
    if (targets_[service.target].empty()) unknown_.push_back(service.target);
  }
  ask_targets();
}

void DnsMemberSource::ask_targets() {
  while (!unknown_.empty() && asking_.size() < kMostQuestions) {
    const std::string target = std::move(unknown_.back());
    unknown_.pop_back();
    asking_[target] =
        addresses_of(names_, target, ipv6_first_,
                     [this, target](Result<net::DnsAnswer> answer) { on_target(target, std::move(answer)); });
  }
  if (asking_.empty()) take_services();
}

void DnsMemberSource::on_target(const std::string& target, Result<net::DnsAnswer> answer) {
  const std::string name = target;  // the question's own text goes with it
  asking_.erase(name);
  if (answer) {
    services_.ttl = std::min(services_.ttl, answer->ttl);
    targets_[name] = std::move(answer->addresses);
  } else if (lost_.size() < kMostComplaints) {
    lost_.push_back(fmt::format("{}: {}", name, answer.error().message));
  }
  ask_targets();
}

// A target that is not found now keeps the address it had.
void DnsMemberSource::take_services() {
  std::vector<Member> members;
  for (const net::DnsService& service : services_.services) {
    const std::string name = fmt::format("{}:{}", service.target, service.port);
    const auto& addresses = targets_[service.target];
    if (!addresses.empty()) {
      net::Address address = addresses.front();
      address.port = service.port;
      members.push_back(member_at(std::move(address), "", name));
      continue;
    }
    const auto old = std::find_if(members_.begin(), members_.end(),
                                  [&](const Member& member) { return member.name == name; });
    if (old != members_.end()) members.push_back(*old);
  }
  lost_targets_ = std::move(lost_);
  lost_.clear();
  take(std::move(members), services_.ttl);
}

void DnsMemberSource::take(std::vector<Member> members, std::chrono::seconds ttl) {
  members_ = std::move(members);
  has_answered_ = true;
  failure_.clear();
  backoff_.reset();
  question_.reset();
  next_ = loop_.after(next_look_up(ttl), "DNS name of the members", [this] { ask(); });
  changed_();
}

void DnsMemberSource::fail(const Error& error) {
  failure_ = error.message;
  question_.reset();
  next_ = loop_.after(backoff_.next(), "DNS name of the members", [this] { ask(); });
  changed_();
}

std::vector<std::string> DnsMemberSource::complaints() const {
  std::vector<std::string> complaints;
  if (!failure_.empty())
    complaints.push_back(failure_ + (members_.empty() ? "" : "; the members it had count"));
  for (const std::string& lost : lost_targets_) complaints.push_back(lost);
  return complaints;
}

}  // namespace layerd::peers
