#include "proxy/net/address_policy.h"

#include <fmt/core.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include <cstring>

#include "proxy/net/address.h"

namespace layerd::net {
namespace {

constexpr Duration kReadInterfacesAgain = std::chrono::seconds(5);

std::vector<Address> read_interfaces() {
  std::vector<Address> found;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return found;
  for (const ifaddrs* entry = list; entry; entry = entry->ifa_next) {
    if (!entry->ifa_addr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    found.push_back(address_of(storage));
  }
  freeifaddrs(list);
  return found;
}

bool fits(AddressPolicy policy, AddressKind kind) {
  if (kind == AddressKind::public_net) return true;
  return policy == AddressPolicy::site && (kind == AddressKind::private_net || kind == AddressKind::shared);
}

std::string configs_key(const DialRequest& request) {
  const bool is_usual = request.port == (request.tls ? 443 : 80);
  if (is_usual)
    return request.host.find(':') == std::string::npos ? request.host : fmt::format("\"[{}]\"", request.host);
  return fmt::format("\"{}\"",
                     Address{request.host, request.port, request.host.find(':') != std::string::npos}.str());
}

Error refusal(const DialRequest& request, const Address& address, bool is_own) {
  std::string message;
  if (is_own) {
    message = fmt::format("{} is layerd itself ({})", request.host, address.str());
  } else if (parse_address(request.host, 0)) {
    message = fmt::format("{} is {} and is not configured; add configs: {{{}: {{}}}}", request.host,
                          describe(kind_of(address)), configs_key(request));
  } else {
    message = fmt::format("{} resolves to {} and is not configured; add configs: {{{}: {{}}}}", request.host,
                          address.host, configs_key(request));
  }
  return {Errc::refused_by_policy, std::move(message), 0, 0, "address_not_allowed", {}};
}

}  // namespace

Result<std::vector<Address>> AddressRules::permitted(const DialRequest& request,
                                                     const std::vector<Address>& addresses) {
  std::vector<Address> allowed;
  std::optional<Error> refused;
  for (const Address& address : addresses) {
    const bool is_own = is_listener(address);
    const bool is_inside = request.policy != AddressPolicy::any &&
                           (!fits(request.policy, kind_of(address)) || is_this_machine(address));
    if (!is_own && !is_inside) {
      allowed.push_back(address);
    } else if (!refused) {
      refused = refusal(request, address, is_own);
    }
  }
  if (!allowed.empty()) return allowed;
  if (refused) return std::move(*refused);
  return Error{
      Errc::upstream_unreachable, fmt::format("{} has no address", request.host), 0, 0, "dns_not_found", {}};
}

bool AddressRules::is_listener(const Address& address) {
  for (const Address& listener : listeners_) {
    if (listener.port != address.port) continue;
    // To connect to 0.0.0.0 or :: is to connect to this machine.
    if (same_host(listener, address) || kind_of(address) == AddressKind::unspecified) return true;
    if (kind_of(listener) == AddressKind::unspecified && is_this_machine(address)) return true;
  }
  return false;
}

bool AddressRules::is_this_machine(const Address& address) {
  const AddressKind kind = kind_of(address);
  if (kind == AddressKind::loopback || kind == AddressKind::unspecified) return true;
  if (interfaces_.empty() || loop_.now() - interfaces_read_ > kReadInterfacesAgain) {
    interfaces_ = read_interfaces();
    interfaces_read_ = loop_.now();
  }
  for (const Address& ours : interfaces_) {
    if (same_host(ours, address)) return true;
  }
  return false;
}

}  // namespace layerd::net
