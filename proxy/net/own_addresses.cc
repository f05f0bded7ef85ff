#include "proxy/net/own_addresses.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "proxy/net/address.h"
#include "proxy/net/fd.h"

namespace layerd::net {

std::vector<Address> own_addresses() {
  std::vector<Address> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return addresses;
  for (const ifaddrs* entry = list; entry; entry = entry->ifa_next) {
    const bool is_up = (entry->ifa_flags & IFF_UP) != 0;
    if (!is_up || !entry->ifa_addr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage raw{};
    std::memcpy(&raw, entry->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    Address address = address_of(raw);
    address.port = 0;
    if (kind_of(address) != AddressKind::link_local) addresses.push_back(std::move(address));
  }
  freeifaddrs(list);
  return addresses;
}

std::optional<Address> source_towards(const Address& to) {
  const Fd socket(::socket(to.is_ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage raw{};
  socklen_t size = to_sockaddr(to, raw);
  if (socket.get() < 0 || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&raw), size) != 0)
    return std::nullopt;
  size = sizeof raw;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&raw), &size) != 0) return std::nullopt;
  Address address = address_of(raw);
  address.port = 0;
  return address;
}

}  // namespace layerd::net
