#include "proxy/net/address.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>

#include <array>
#include <charconv>
#include <cstring>

namespace layerd::net {
namespace {

using V6 = std::array<unsigned char, 16>;

struct V4Block {
  std::uint32_t net;
  int bits;
  AddressKind kind;
};

constexpr std::uint32_t v4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return (a << 24) | (b << 16) | (c << 8) | d;
}

// The first match counts. IANA IPv4 Special-Purpose Address Registry, and clouds' own services.
constexpr V4Block kV4Blocks[] = {
    {v4(168, 63, 129, 16), 32, AddressKind::metadata},  // Azure's wire server
    {v4(0, 0, 0, 0), 8, AddressKind::unspecified},
    {v4(10, 0, 0, 0), 8, AddressKind::private_net},
    {v4(100, 100, 100, 200), 32, AddressKind::metadata},  // Alibaba Cloud
    {v4(100, 64, 0, 0), 10, AddressKind::shared},
    {v4(127, 0, 0, 0), 8, AddressKind::loopback},
    {v4(169, 254, 0, 0), 16, AddressKind::link_local},
    {v4(172, 16, 0, 0), 12, AddressKind::private_net},
    {v4(192, 0, 0, 0), 24, AddressKind::reserved},
    {v4(192, 0, 2, 0), 24, AddressKind::documentation},
    {v4(192, 88, 99, 0), 24, AddressKind::reserved},
    {v4(192, 168, 0, 0), 16, AddressKind::private_net},
    {v4(198, 18, 0, 0), 15, AddressKind::reserved},
    {v4(198, 51, 100, 0), 24, AddressKind::documentation},
    {v4(203, 0, 113, 0), 24, AddressKind::documentation},
    {v4(224, 0, 0, 0), 4, AddressKind::multicast},
    {v4(240, 0, 0, 0), 4, AddressKind::reserved},
};

AddressKind kind_of_v4(std::uint32_t address) {
  for (const V4Block& block : kV4Blocks) {
    if ((address ^ block.net) >> (32 - block.bits) == 0) return block.kind;
  }
  return AddressKind::public_net;
}

bool begins_with(const V6& address, std::initializer_list<int> prefix) {
  std::size_t i = 0;
  for (int byte : prefix) {
    if (address[i++] != byte) return false;
  }
  return true;
}

std::uint32_t v4_in(const V6& address, std::size_t at) {
  return v4(address[at], address[at + 1], address[at + 2], address[at + 3]);
}

bool is_mapped(const V6& address) { return begins_with(address, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}); }

AddressKind kind_of_v6(const V6& a) {
  if (is_mapped(a)) return kind_of_v4(v4_in(a, 12));
  if (begins_with(a, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) {
    if (v4_in(a, 12) == 0) return AddressKind::unspecified;
    if (v4_in(a, 12) == 1) return AddressKind::loopback;
    return kind_of_v4(v4_in(a, 12));
  }
  if (begins_with(a, {0, 0x64, 0xff, 0x9b, 0, 1})) return AddressKind::private_net;
  if (begins_with(a, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) return kind_of_v4(v4_in(a, 12));
  if (begins_with(a, {0x20, 0x02})) return kind_of_v4(v4_in(a, 2));
  if (begins_with(a, {0x20, 0x01, 0x0d, 0xb8})) return AddressKind::documentation;
  if (begins_with(a, {0x3f, 0xff}) && (a[2] & 0xf0) == 0) return AddressKind::documentation;
  if (begins_with(a, {0x20, 0x01}) && (a[2] & 0xfe) == 0) return AddressKind::reserved;  // 2001::/23, Teredo
  if (begins_with(a, {0xfd, 0, 0x0e, 0xc2})) return AddressKind::metadata;               // AWS
  if ((a[0] & 0xfe) == 0xfc) return AddressKind::private_net;
  if (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) return AddressKind::link_local;
  if (a[0] == 0xfe && (a[1] & 0xc0) == 0xc0) return AddressKind::private_net;  // site-local, deprecated
  if (a[0] == 0xff) return AddressKind::multicast;
  // Only 2000::/3 has been given out as global unicast.
  return (a[0] & 0xe0) == 0x20 ? AddressKind::public_net : AddressKind::reserved;
}

std::optional<V6> v6_of(const Address& address) {
  V6 bytes{};
  if (address.is_ipv6) {
    if (inet_pton(AF_INET6, address.host.c_str(), bytes.data()) != 1) return std::nullopt;
    return bytes;
  }
  bytes[10] = bytes[11] = 0xff;
  if (inet_pton(AF_INET, address.host.c_str(), bytes.data() + 12) != 1) return std::nullopt;
  return bytes;
}

bool parse_port(std::string_view text, std::uint16_t& port) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::string Address::str() const {
  if (port == 0 && !host.empty() && host[0] == '/') return host;  // a Unix socket
  return is_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::optional<Address> parse_address(std::string_view host, std::uint16_t port) {
  if (host.empty() || host.size() > INET6_ADDRSTRLEN) return std::nullopt;
  const std::string text(host);
  V6 bytes{};
  char canonical[INET6_ADDRSTRLEN];
  for (const int family : {AF_INET, AF_INET6}) {
    if (inet_pton(family, text.c_str(), bytes.data()) != 1) continue;
    inet_ntop(family, bytes.data(), canonical, sizeof canonical);
    return Address{canonical, port, family == AF_INET6};
  }
  return std::nullopt;
}

Address address_of(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &address, sizeof in);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof text);
    return {text, ntohs(in.sin_port), false};
  }
  if (address.ss_family == AF_INET6) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, &address, sizeof in6);
    // A client of a two-family socket is shown as what it is.
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
      inet_ntop(AF_INET, in6.sin6_addr.s6_addr + 12, text, sizeof text);
      return {text, ntohs(in6.sin6_port), false};
    }
    inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof text);
    return {text, ntohs(in6.sin6_port), true};
  }
  return {};
}

socklen_t to_sockaddr(const Address& address, sockaddr_storage& out) {
  std::memset(&out, 0, sizeof out);
  if (address.is_ipv6) {
    sockaddr_in6 in6{};
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(address.port);
    LAYERD_CHECK(inet_pton(AF_INET6, address.host.c_str(), &in6.sin6_addr) == 1);
    std::memcpy(&out, &in6, sizeof in6);
    return sizeof in6;
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(address.port);
  LAYERD_CHECK(inet_pton(AF_INET, address.host.c_str(), &in.sin_addr) == 1);
  std::memcpy(&out, &in, sizeof in);
  return sizeof in;
}

Result<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port) {
  const auto bad = [&] {
    return Error{Errc::invalid_request, fmt::format("\"{}\" is not a host with an optional port", text)};
  };
  HostPort out{std::string(text), default_port};
  if (!text.empty() && text[0] == '[') {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return bad();
    out.host = std::string(text.substr(1, close - 1));
    const auto rest = text.substr(close + 1);
    if (!rest.empty() && (rest[0] != ':' || !parse_port(rest.substr(1), out.port))) return bad();
  } else if (const auto colon = text.rfind(':'); colon != std::string_view::npos && text.find(':') == colon) {
    out.host = std::string(text.substr(0, colon));
    if (!parse_port(text.substr(colon + 1), out.port)) return bad();
  }
  if (out.host.empty()) return bad();
  return out;
}

Result<std::vector<Address>> parse_listen(std::string_view text) {
  const auto bad = [&] {
    return Error{Errc::config, fmt::format("cannot listen on \"{}\": expected an address and a port such as "
                                           "127.0.0.1:5151 or [::1]:5151",
                                           text)};
  };
  if (!text.empty() && text[0] == ':') {
    std::uint16_t port = 0;
    if (!parse_port(text.substr(1), port)) return bad();
    return std::vector<Address>{{"::", port, true}};
  }
  if (text.rfind(':') == std::string_view::npos || text.back() == ']') return bad();
  auto parsed = parse_host_port(text, 0);
  if (!parsed) return bad();
  if (parsed->host == "localhost") {
    return std::vector<Address>{{"127.0.0.1", parsed->port, false}, {"::1", parsed->port, true}};
  }
  auto address = parse_address(parsed->host, parsed->port);
  // An IPv6 address without brackets cannot be told from its port.
  if (!address || (address->is_ipv6 && text[0] != '[')) return bad();
  return std::vector<Address>{*address};
}

AddressKind kind_of(const Address& address) {
  const auto bytes = v6_of(address);
  return bytes ? kind_of_v6(*bytes) : AddressKind::reserved;
}

std::string_view describe(AddressKind kind) {
  switch (kind) {
    case AddressKind::public_net:
      return "a public address";
    case AddressKind::unspecified:
      return "an unspecified address";
    case AddressKind::loopback:
      return "a loopback address";
    case AddressKind::private_net:
      return "a private address";
    case AddressKind::shared:
      return "a carrier-grade NAT address";
    case AddressKind::link_local:
      return "a link-local address";
    case AddressKind::metadata:
      return "a cloud metadata address";
    case AddressKind::multicast:
      return "a multicast address";
    case AddressKind::documentation:
      return "a documentation address";
    case AddressKind::reserved:
      return "a reserved address";
  }
  return "an address";
}

bool same_host(const Address& a, const Address& b) {
  const auto left = v6_of(a), right = v6_of(b);
  return left && right && *left == *right;
}

}  // namespace layerd::net
