#include "proxy/net/resolver_answer.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>

#include <algorithm>
#include <memory>
#include <optional>

namespace layerd::net {
namespace {

constexpr int kMostAddresses = 4096;  // what a message can hold
constexpr std::size_t kMostAddressesOfTarget = 8;

struct FreeText {
  void operator()(char* text) const { ares_free_string(text); }
};

// One record of a message, and how to get to the next.
class Records {
 public:
  Records(const unsigned char* bytes, std::size_t size) : bytes_(bytes), size_(size) {}

  struct Record {
    std::string name;  // lower case, no dot at its end
    unsigned type = 0;
    std::uint32_t ttl = 0;
    std::size_t data = 0, length = 0;
  };

  // The number of answers, and of all records; nothing if the message is none.
  struct Counts {
    std::size_t answers = 0, all = 0;
  };
  std::optional<Counts> begin() {
    if (size_ < NS_HFIXEDSZ) return std::nullopt;
    at_ = NS_HFIXEDSZ;
    for (std::size_t questions = word(4); questions > 0; --questions)
      if (!name() || !skip(NS_QFIXEDSZ)) return std::nullopt;
    return Counts{word(6), word(6) + word(8) + word(10)};
  }
  std::optional<Record> next() {
    auto owner = name();
    const std::size_t head = at_;
    if (!owner || !skip(NS_RRFIXEDSZ)) return std::nullopt;
    Record record{std::move(*owner), static_cast<unsigned>(word(head)),
                  static_cast<std::uint32_t>(word(head + 4) << 16 | word(head + 6)), at_, word(head + 8)};
    if (!skip(record.length)) return std::nullopt;
    return record;
  }
  std::size_t word(std::size_t at) const {
    return static_cast<std::size_t>(bytes_[at]) << 8 | bytes_[at + 1];
  }
  const unsigned char* data(const Record& record) const { return bytes_ + record.data; }
  std::optional<std::string> name_at(std::size_t at) const {
    char* text = nullptr;
    long length = 0;
    if (at >= size_ ||
        ares_expand_name(bytes_ + at, bytes_, static_cast<int>(size_), &text, &length) != ARES_SUCCESS)
      return std::nullopt;
    const std::unique_ptr<char, FreeText> held(text);
    length_ = static_cast<std::size_t>(length);
    std::string name(text);
    if (name.ends_with('.')) name.pop_back();
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    return name;
  }

 private:
  std::optional<std::string> name() {
    auto found = name_at(at_);
    if (found) at_ += length_;
    return found;
  }
  bool skip(std::size_t count) {
    if (count > size_ - at_) return false;
    at_ += count;
    return true;
  }

  const unsigned char* bytes_;
  const std::size_t size_;
  std::size_t at_ = 0;
  mutable std::size_t length_ = 0;  // of the name that was read last
};

std::string address_text(int family, const void* raw) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family, raw, text, sizeof text);
  return text;
}

void add_address(std::vector<DnsService>& services, const Records& records, const Records::Record& record) {
  const bool is_ipv6 = record.type == ns_t_aaaa;
  if (record.length != (is_ipv6 ? 16u : 4u)) return;
  const std::string host = address_text(is_ipv6 ? AF_INET6 : AF_INET, records.data(record));
  for (DnsService& service : services)
    if (service.target == record.name && service.addresses.size() < kMostAddressesOfTarget)
      service.addresses.push_back({host, service.port, is_ipv6});
}

// c-ares' own parser keeps neither the TTL nor the addresses that came along.
DnsAnswer parse_services(const unsigned char* bytes, std::size_t size) {
  DnsAnswer answer;
  Records records(bytes, size);
  const auto counts = records.begin();
  if (!counts) return answer;
  std::uint32_t ttl = UINT32_MAX;
  for (std::size_t i = 0; i < counts->all; ++i) {
    const auto record = records.next();
    if (!record) return {};
    if (i < counts->answers) ttl = std::min(ttl, record->ttl);
    if (i < counts->answers && record->type == ns_t_srv && record->length > 6) {
      auto target = records.name_at(record->data + 6);
      if (!target) return {};
      const auto port = static_cast<std::uint16_t>(records.word(record->data + 4));
      // "." says that there is no such service here.
      if (!target->empty() && port != 0) answer.services.push_back({std::move(*target), port, {}});
    } else if (i >= counts->answers && (record->type == ns_t_a || record->type == ns_t_aaaa)) {
      add_address(answer.services, records, *record);
    }
  }
  answer.outcome = answer.services.empty() ? DnsOutcome::no_data : DnsOutcome::found;
  answer.ttl = std::chrono::seconds(std::min<std::uint32_t>(ttl, INT32_MAX));
  return answer;
}

void take(DnsAnswer& answer, int family, const void* raw, int ttl) {
  answer.addresses.push_back({address_text(family, raw), 0, family == AF_INET6});
  const std::chrono::seconds seconds(std::max(ttl, 0));
  answer.ttl = answer.addresses.size() == 1 ? seconds : std::min(answer.ttl, seconds);
}

DnsOutcome outcome_of(int status, const DnsAnswer& answer) {
  if (status == ARES_ENODATA || (status == ARES_SUCCESS && answer.addresses.empty()))
    return DnsOutcome::no_data;
  return status == ARES_SUCCESS ? DnsOutcome::found : DnsOutcome::broken;
}

}  // namespace

// c-ares follows the chain of CNAMEs in the answer; its TTLs are those of the whole chain.
DnsAnswer parse_dns_answer(DnsType type, const unsigned char* bytes, std::size_t size) {
  if (type == DnsType::srv) return parse_services(bytes, size);
  DnsAnswer answer;
  // Each takes 16 bytes of the message at least.
  int count = static_cast<int>(std::min<std::size_t>(size / 16 + 1, kMostAddresses)), status = ARES_SUCCESS;
  if (type == DnsType::a) {
    std::vector<ares_addrttl> found(static_cast<std::size_t>(count));
    status = ares_parse_a_reply(bytes, static_cast<int>(size), nullptr, found.data(), &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; ++i)
      take(answer, AF_INET, &found[static_cast<std::size_t>(i)].ipaddr,
           found[static_cast<std::size_t>(i)].ttl);
  } else {
    std::vector<ares_addr6ttl> found(static_cast<std::size_t>(count));
    status = ares_parse_aaaa_reply(bytes, static_cast<int>(size), nullptr, found.data(), &count);
    for (int i = 0; status == ARES_SUCCESS && i < count; ++i)
      take(answer, AF_INET6, &found[static_cast<std::size_t>(i)].ip6addr,
           found[static_cast<std::size_t>(i)].ttl);
  }
  answer.outcome = outcome_of(status, answer);
  return answer;
}

}  // namespace layerd::net
