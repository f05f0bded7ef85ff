// What DNS answers decides where we connect: whatever the addresses, nothing inside is dialled for a name
// that nobody configured, and layerd's own port for nobody. Judged by rules of its own, on the bytes. Input:
// a byte of policy and port, then addresses: a byte of family each, and 4 or 16 bytes.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "proxy/net/address_policy.h"
#include "runtime/check.h"
#include "tests/support/virtual_loop.h"

namespace {

using layerd::net::Address;
using layerd::net::AddressPolicy;
using Octets = std::array<std::uint8_t, 16>;

bool begins(const std::uint8_t* octets, std::uint32_t prefix, int bits) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8U | octets[i];
  return (value ^ prefix) >> (32 - bits) == 0;
}

bool is_of_site(const std::uint8_t* four) {
  return begins(four, 0x0a000000, 8) || begins(four, 0xac100000, 12) || begins(four, 0xc0a80000, 16) ||
         begins(four, 0x64400000, 10);
}

bool is_never_public(const std::uint8_t* four) {
  return is_of_site(four) || begins(four, 0, 8) || begins(four, 0x7f000000, 8) ||
         begins(four, 0xa9fe0000, 16) || begins(four, 0xe0000000, 4) || begins(four, 0xf0000000, 4);
}

bool is_never_for_site(const std::uint8_t* four) {
  return begins(four, 0, 8) || begins(four, 0x7f000000, 8) || begins(four, 0xa9fe0000, 16) ||
         begins(four, 0xe0000000, 4);
}

// The IPv4 address an IPv6 one is another way to write: mapped, and NAT64's well-known prefix.
const std::uint8_t* carried(const Octets& six) {
  static constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
      kNat64{0, 0x64, 0xff, 0x9b};
  for (const auto& prefix : {kMapped, kNat64})
    if (std::equal(prefix.begin(), prefix.end(), six.begin())) return six.data() + 12;
  return nullptr;
}

bool is_wrong(const Address& address, AddressPolicy policy) {
  Octets octets{};
  const bool is_four = ::inet_pton(AF_INET, address.host.c_str(), octets.data()) == 1;
  if (!is_four && ::inet_pton(AF_INET6, address.host.c_str(), octets.data()) != 1) return true;
  const std::uint8_t* four = is_four ? octets.data() : carried(octets);
  if (four != nullptr) return policy == AddressPolicy::site ? is_never_for_site(four) : is_never_public(four);
  const bool is_loopback_or_none =
      std::all_of(octets.begin(), octets.end() - 1, [](auto b) { return b == 0; }) && octets[15] <= 1;
  const bool is_link_local = octets[0] == 0xfe && (octets[1] & 0xc0U) == 0x80;
  const bool is_local = (octets[0] & 0xfeU) == 0xfc;
  return is_loopback_or_none || is_link_local || octets[0] == 0xff ||
         (is_local && policy == AddressPolicy::public_only);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  static constexpr std::array kPolicies{AddressPolicy::any, AddressPolicy::site, AddressPolicy::public_only};
  layerd::test::VirtualLoop loop;
  layerd::net::AddressRules rules(loop);
  rules.set_listeners({{"127.0.0.1", 5151, false}, {"203.0.113.9", 5151, false}});
  layerd::net::DialRequest request;
  request.host = "registry.example";
  request.policy = kPolicies[data[0] % kPolicies.size()];
  request.port = data[0] < 128 ? 443 : 5151;
  std::vector<Address> answers;
  for (std::size_t at = 1; at < size && answers.size() < 64;) {
    const bool is_six = data[at++] % 2 == 1;
    Octets octets{};
    const std::size_t wanted = is_six ? 16 : 4;
    if (size - at < wanted) break;
    std::memcpy(octets.data(), data + at, wanted);
    at += wanted;
    char text[INET6_ADDRSTRLEN];
    ::inet_ntop(is_six ? AF_INET6 : AF_INET, octets.data(), text, sizeof text);
    answers.push_back({text, request.port, is_six});
  }
  const auto permitted = rules.permitted(request, answers);
  if (!permitted) {
    LAYERD_CHECK(!permitted.error().diagnosis.empty());
    return 0;
  }
  LAYERD_CHECK(!permitted->empty() && permitted->size() <= answers.size());
  for (const Address& address : *permitted) {
    LAYERD_CHECK(request.policy == AddressPolicy::any || !is_wrong(address, request.policy));
    LAYERD_CHECK(request.port != 5151 || (address.host != "127.0.0.1" && address.host != "203.0.113.9" &&
                                          address.host != "::ffff:127.0.0.1"));
  }
  return 0;
}
