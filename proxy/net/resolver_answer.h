// What a DNS server answers, read: addresses and services. Worth of a byte is checked by c-ares or here; the
// bytes are anybody's. Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "proxy/net/stream.h"

namespace layerd::net {

enum class DnsType : std::uint8_t { a, aaaa, srv };

enum class DnsOutcome : std::uint8_t {
  found,      // addresses, or services
  no_data,    // the name exists, without a record of this type
  not_found,  // NXDOMAIN
  timed_out,  // no answer
  servfail,   // the server says it could not find out
  refused,    // the server does not answer us
  broken,     // an answer that makes no sense, or a name that cannot be asked for
};

// One SRV record.
struct DnsService {
  std::string target;  // a host name in lower case, without the dot at its end
  std::uint16_t port = 0;
  std::vector<Address> addresses;  // of the target, with the port, as far as the answer held them
};

struct DnsAnswer {
  DnsOutcome outcome = DnsOutcome::broken;
  std::vector<Address> addresses;    // port 0
  std::vector<DnsService> services;  // of DnsType::srv
  std::chrono::seconds ttl{0};       // the smallest, CNAMEs included
};

// What a name that is used for one host may have; for lists of hosts there is no other bound than the
// message's own 64 KiB.
inline constexpr std::size_t kMostAddressesOfHost = 32;

// Of a message whose code is NOERROR. outcome: found, no_data or broken.
DnsAnswer parse_dns_answer(DnsType type, const unsigned char* bytes, std::size_t size);

}  // namespace layerd::net
