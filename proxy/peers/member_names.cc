#include "proxy/peers/member_names.h"

#include <algorithm>
#include <memory>

#include "proxy/net/resolver.h"

namespace layerd::peers {
namespace {

class FamilyQuery final : public Pending<net::DnsAnswer>, public std::enable_shared_from_this<FamilyQuery> {
 public:
  FamilyQuery(MemberNames& names, std::string host, Done<net::DnsAnswer> done)
      : Pending(std::move(done)), names_(names), host_(std::move(host)) {}

  void ask(net::DnsType type, bool has_other) {
    pending_ = names_.records(host_, type, [this, type, has_other](Result<net::DnsAnswer> found) {
      if (!found && has_other && found.error().diagnosis == "dns_not_found")
        return ask(type == net::DnsType::a ? net::DnsType::aaaa : net::DnsType::a, false);
      finish(std::move(found));
    });
  }

 private:
  void finish(Result<net::DnsAnswer> found) {
    const auto self = shared_from_this();
    if (found)
      std::sort(found->addresses.begin(), found->addresses.end(),
                [](const net::Address& a, const net::Address& b) { return a.host < b.host; });
    answer(std::move(found));
  }
  void on_cancel() noexcept override { pending_.reset(); }

  MemberNames& names_;
  const std::string host_;
  Ticket pending_;
};

}  // namespace

Ticket ResolverNames::records(const std::string& name, net::DnsType type, Done<net::DnsAnswer> done) {
  return resolver_.records(name, type, std::move(done));
}

Ticket addresses_of(MemberNames& names, const std::string& host, bool ipv6_first, Done<net::DnsAnswer> done) {
  auto query = std::make_shared<FamilyQuery>(names, host, std::move(done));
  query->ask(ipv6_first ? net::DnsType::aaaa : net::DnsType::a, true);
  return Ticket(query);
}

}  // namespace layerd::peers
