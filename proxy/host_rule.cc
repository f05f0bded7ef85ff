#include "proxy/host_rule.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::proxy {
namespace {

// "localhost:5151", "[::1]:5151", "127.0.0.1" -> the host alone, without brackets and final dot.
std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    return end == std::string_view::npos ? authority : authority.substr(1, end - 1);
  }
  authority = authority.substr(0, authority.find(':'));
  if (authority.ends_with('.')) authority.remove_suffix(1);
  return authority;
}

bool is_ours(std::string_view host, const net::Address& local, const std::vector<std::string>& own_names) {
  if (registry::equal_ascii_nocase(host, "localhost") || host == "127.0.0.1" || host == "::1") return true;
  if (registry::equal_ascii_nocase(host, local.host)) return true;
  return std::any_of(own_names.begin(), own_names.end(), [host](const std::string& name) {
    return registry::equal_ascii_nocase(host, host_of(name)) || registry::equal_ascii_nocase(host, name);
  });
}

}  // namespace

bool is_loopback(std::string_view numeric_host) {
  if (numeric_host.starts_with("::ffff:")) numeric_host.remove_prefix(7);
  return numeric_host == "::1" || numeric_host.starts_with("127.");
}

std::optional<Refusal> check_host(const http::RequestHead& request, std::string_view authority,
                                  const net::Address& local, const net::Address& peer,
                                  const std::vector<std::string>& own_names) {
  if (!is_loopback(local.host)) return std::nullopt;
  if (!is_loopback(peer.host))
    return Refusal{
        403, fmt::format("{} is not this machine, and this listener serves this machine only", peer.host)};
  const auto said = authority.empty() ? request.headers.get("Host") : std::optional(authority);
  if (!said) {
    if (request.version_minor == 0) return std::nullopt;  // HTTP/1.0 knows no Host; browsers send one
    return Refusal{421, "the request names no Host"};
  }
  if (is_ours(host_of(*said), local, own_names)) return std::nullopt;
  return Refusal{421, fmt::format("Host {} is none of this mirror's names; use 127.0.0.1 or localhost",
                                  printable(*said, 100))};
}

bool has_passed_us(const http::Headers& headers, std::string_view instance) {
  if (instance.empty()) return false;
  for (const http::Header& header : headers.all()) {
    if (!registry::equal_ascii_nocase(header.name, "Via")) continue;
    for (std::string_view hop : registry::split(header.value, ',')) {
      hop = registry::trim(hop);  // "1.1 pseudonym (comment)"
      const auto space = hop.find(' ');
      if (space == std::string_view::npos) continue;
      hop = registry::trim(hop.substr(space));
      if (hop.substr(0, hop.find(' ')) == instance) return true;
    }
  }
  return false;
}

}  // namespace layerd::proxy
