#include "proxy/peers/member_lines.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/net/address.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kMostComplaints = 20;

Error wrong(std::string_view text, std::string_view why) {
  return {Errc::config, fmt::format("\"{}\" is no member: {}", printable(text, 80), why)};
}

bool is_host_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  const auto labels = registry::split(text, '.');
  const auto is_label = [](std::string_view label) {
    return !label.empty() && label.size() <= 63 && std::all_of(label.begin(), label.end(), [](char c) {
      return registry::is_alnum(c) || c == '-' || c == '_';
    });
  };
  // "10.1.2" or "300.1.1.1" is a mistyped address, not a name.
  const bool is_like_number = std::all_of(labels.back().begin(), labels.back().end(), registry::is_digit);
  return text.size() <= 253 && !is_like_number && std::all_of(labels.begin(), labels.end(), is_label);
}

}  // namespace

std::string ListedMember::str() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port);
}

std::string KubernetesMembers::server() const {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("{}://{}{}{}:{}{}", is_tls ? "https" : "http", is_ipv6 ? "[" : "", host,
                     is_ipv6 ? "]" : "", port, path);
}

bool is_zone_name(std::string_view text) {
  return !text.empty() && text.size() <= kMostZone && std::all_of(text.begin(), text.end(), [](char c) {
    return registry::is_alnum(c) || c == '-' || c == '_' || c == '.';
  });
}

Result<ListedMember> parse_member(std::string_view text, std::uint16_t default_port) {
  text = registry::trim_all(text);
  const auto blank = std::min(text.find_first_of(" \t"), text.size());
  const auto where = text.substr(0, blank), zone = registry::trim(text.substr(blank));
  if (where.empty()) return wrong(text, "an address was expected, as n1.site:5152");
  if (where.find('/') != std::string_view::npos)
    return wrong(text, "write the address alone, without https:// and path");
  auto parsed = net::parse_host_port(where, default_port);
  if (!parsed || parsed->port == 0)
    return wrong(text, "a name or an address with a port was expected, as n1.site:5152 or [fd00::1]:5152");
  ListedMember member{registry::lower_case(parsed->host), parsed->port, std::string(zone)};
  const auto numeric = net::parse_address(member.host, member.port);
  if (!numeric && !is_host_name(member.host))
    return wrong(text, "this is neither an address nor a host name");
  if (numeric) {
    const auto kind = net::kind_of(*numeric);
    if (kind == net::AddressKind::unspecified || kind == net::AddressKind::multicast)
      return wrong(text, fmt::format("{} is the address of no single machine", member.host));
    member.host = numeric->host;
  }
  if (!zone.empty() && !is_zone_name(zone))
    return wrong(text, fmt::format("behind the address a zone may stand: one word of at most {} letters, "
                                   "digits and -_.",
                                   kMostZone));
  return member;
}

MemberLines parse_member_lines(std::string_view text, std::uint16_t default_port) {
  MemberLines lines;
  std::size_t number = 0, more = 0;
  const auto complain = [&](std::string message) {
    if (lines.complaints.size() + 1 < kMostComplaints)
      lines.complaints.push_back(std::move(message));
    else
      ++more;
  };
  for (const auto whole : registry::split(text, '\n')) {
    ++number;
    const auto line = registry::trim_all(whole.substr(0, whole.find('#')));
    if (line.empty()) continue;
    auto member = parse_member(line, default_port);
    if (!member) {
      complain(fmt::format("line {}: {}", number, member.error().message));
    } else if (lines.members.size() >= kMostMembers) {
      complain(fmt::format("line {}: more than {} members", number, kMostMembers));
      break;
    } else {
      lines.members.push_back(std::move(*member));
    }
  }
  if (more > 0) lines.complaints.push_back(fmt::format("and {} more lines", more));
  return lines;
}

}  // namespace layerd::peers
