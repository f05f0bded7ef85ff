// Numeric addresses: text, sockaddr, and what kind of network they belong to. Pure; any thread.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/stream.h"
#include "runtime/result.h"

namespace layerd::net {

// A numeric IPv4 or IPv6 address without brackets and without a scope; nothing for a name.
std::optional<Address> parse_address(std::string_view host, std::uint16_t port);
Address address_of(const sockaddr_storage& address);
// Answers the length used of `out`. The address must be numeric.
socklen_t to_sockaddr(const Address& address, sockaddr_storage& out);

struct HostPort {
  std::string host;  // no brackets
  std::uint16_t port = 0;
};
// "1.2.3.4:53", "[::1]:53", "name:80"; without a port `default_port`; a bare IPv6 address is taken whole.
// Errors: invalid_request naming the text.
Result<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port);

// Where to listen: "127.0.0.1:5151", "[::1]:0", ":5151" (all IPv6 and IPv4), "localhost:5151" (both
// loopbacks). Errors: config, naming the text.
Result<std::vector<Address>> parse_listen(std::string_view text);

enum class AddressKind : std::uint8_t {
  public_net,     // may be dialled for names nobody configured
  unspecified,    // 0.0.0.0/8, ::
  loopback,       // 127.0.0.0/8, ::1
  private_net,    // RFC 1918, fc00::/7, fec0::/10, local-use NAT64
  shared,         // 100.64.0.0/10, carrier-grade NAT (and some clouds' metadata)
  link_local,     // 169.254.0.0/16 (metadata lives here), fe80::/10
  metadata,       // cloud services at addresses that look public
  multicast,      // 224.0.0.0/4, ff00::/8
  documentation,  // 192.0.2.0/24 and the like, 2001:db8::/32
  reserved,       // 192.0.0.0/24, 198.18.0.0/15, 240.0.0.0/4, broadcast, 100::/64
};
// An IPv6 address that carries an IPv4 one (mapped, compatible, NAT64, 6to4) is what the IPv4 one is.
// What cannot be parsed is `reserved`.
AddressKind kind_of(const Address& address);
// "a private address", for sentences.
std::string_view describe(AddressKind kind);

// The same host: equal after IPv4-mapped IPv6 addresses have been unwrapped. Ports are not compared.
bool same_host(const Address& a, const Address& b);

}  // namespace layerd::net
