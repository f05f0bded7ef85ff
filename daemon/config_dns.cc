#include "daemon/config_dns.h"

#include <arpa/inet.h>

#include <algorithm>

#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::daemon {

namespace {

constexpr std::size_t kMostNames = 1024;  // hosts, zones
constexpr std::size_t kMostServers = 8;   // of one zone
constexpr std::size_t kMostAddresses = 32;
constexpr std::size_t kMostSearch = 16;

// Lower case, without the dot at its end; "" unless it is a host name.
std::string host_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  const auto is_label = [](std::string_view label) {
    return !label.empty() && label.size() <= 63 && std::all_of(label.begin(), label.end(), [](char c) {
      return registry::is_alnum(c) || c == '-' || c == '_';
    });
  };
  const auto labels = registry::split(text, '.');
  if (text.size() > 253 || !std::all_of(labels.begin(), labels.end(), is_label)) return {};
  return registry::lower_case(text);
}

bool is_numeric(const std::string& text) {
  unsigned char raw[16];
  return ::inet_pton(AF_INET, text.c_str(), raw) == 1 || ::inet_pton(AF_INET6, text.c_str(), raw) == 1;
}

// An IPv4 or IPv6 address, the latter with or without brackets, in its shortest form; "" if it is none.
std::string address_of(std::string_view text) {
  const bool is_bracketed = text.starts_with('[') && text.ends_with(']');
  if (is_bracketed) text = text.substr(1, text.size() - 2);
  const std::string word(text);
  unsigned char raw[16];
  char out[INET6_ADDRSTRLEN] = "";
  for (const int family : {AF_INET, AF_INET6}) {
    if (is_bracketed && family == AF_INET) continue;
    if (::inet_pton(family, word.c_str(), raw) == 1)
      return ::inet_ntop(family, raw, out, sizeof out) ? out : "";
  }
  return {};
}

// "10.43.0.10", "10.43.0.10:5353", "fd00::10", "[fd00::10]:5353" with port 53 where none is given.
std::string server_of(std::string_view text) {
  std::string address = address_of(text);
  std::uint64_t port = 53;
  if (address.empty()) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return {};
    const auto host = text.substr(0, colon);
    const auto number = registry::parse_digits(text.substr(colon + 1));
    // An IPv6 address that has a port behind it stands in brackets.
    if (!number || *number == 0 || *number > 65535 || (host.find(':') != host.npos && !host.starts_with('[')))
      return {};
    address = address_of(host);
    port = *number;
  }
  if (address.empty()) return {};
  const bool is_ipv6 = address.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", is_ipv6 ? "[" : "", address, is_ipv6 ? "]" : "", port);
}

using Words = std::vector<std::string>;

// The values of one name, each by `parse`; what `parse` does not take is an error with `expected`.
std::optional<Words> read_values(const YamlNode& node, const std::string& where,
                                 std::string (*parse)(std::string_view), std::string_view expected,
                                 std::size_t most, ConfigReader& reader) {
  const auto list = reader.texts(node, where, true);
  if (!list) return std::nullopt;
  Words values;
  for (const auto& [text, at] : *list) {
    std::string value = parse(registry::trim(text));
    if (value.empty())
      reader.error(*at, fmt::format("{}: \"{}\" is not {}", where, printable(text, 60), expected));
    else if (std::find(values.begin(), values.end(), value) != values.end())
      reader.warn(*at, fmt::format("{}: {} is there twice, the second one is dropped", where, value));
    else
      values.push_back(std::move(value));
  }
  if (list->empty()) reader.error(node, fmt::format("{}: at least one address is needed", where));
  if (values.size() > most)
    reader.error(node, fmt::format("{}: {} addresses, at most {} are possible", where, values.size(), most));
  return values;
}

// Calls `each` with every name and its node, the name by `parse` (which answers why it is none).
template <class Each>
void each_name(const YamlNode& node, std::string_view key, ConfigReader& reader,
               std::string (*parse)(std::string_view text, std::string& why), Each each) {
  if (!node.is_map())
    return reader.error(node,
                        fmt::format("{}: names with addresses were expected, as {{name: 10.0.0.1}}", key));
  if (node.entries.size() > kMostNames)
    return reader.error(
        node, fmt::format("{}: {} names, at most {} are possible", key, node.entries.size(), kMostNames));
  std::map<std::string, int> lines;
  for (const auto& [name, value] : node.entries) {
    std::string why;
    const std::string known = parse(name.scalar, why);
    const std::string where = fmt::format("{}.\"{}\"", key, printable(name.scalar, 80));
    if (!why.empty()) {
      reader.error(name, fmt::format("{}: {}", where, why));
      continue;
    }
    if (const auto [first, is_new] = lines.emplace(known, name.line); !is_new) {
      reader.error(name, fmt::format("{}: the same name stands in line {} already", where, first->second));
      continue;
    }
    each(known, value, where);
  }
}

std::string parse_host(std::string_view text, std::string& why) {
  std::string name = host_name(text);
  if (text.find("://") != std::string_view::npos || text.find('/') != std::string_view::npos)
    why = "write the host alone, without https:// and path";
  else if (text.find('*') != std::string_view::npos)
    why = "a name without wildcards was expected; servers for all names below one stand in dns.zones";
  else if (!address_of(text).empty())
    why = "this is an address already; a name was expected";
  else if (text.find(':') != std::string_view::npos)
    why =
        fmt::format("write the name without its port: \"{}\"", printable(text.substr(0, text.find(':')), 60));
  else if (name.empty())
    why = "this is not a host name";
  return name;
}

std::string parse_zone(std::string_view text, std::string& why) {
  if (text == ".") return {};
  for (std::string_view front : {"**.", "*.", "."}) {
    if (!text.starts_with(front)) continue;
    why = fmt::format("write \"{}\": all names below it are meant anyway",
                      printable(text.substr(front.size()), 60));
    return {};
  }
  std::string name = host_name(text);
  if (name.empty() || is_numeric(name))
    why = "this is not a domain; the end of names was expected, as cluster.local, or \".\" for every name";
  return name;
}

std::string show_words(const Words& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : ", ") + yaml_quoted(word);
  return "[" + list + "]";
}

}  // namespace

void read_dns_hosts(const YamlNode& node, std::string_view key, DnsSettings& out, ConfigReader& reader) {
  out.hosts.clear();
  each_name(node, key, reader, parse_host,
            [&](const std::string& name, const YamlNode& value, const std::string& where) {
              if (name == registry::kDockerHub || name == "index.docker.io")
                reader.warn(value,
                            fmt::format("{}: Docker Hub is asked at registry-1.docker.io, and for tokens at "
                                        "auth.docker.io; write these names",
                                        where));
              auto values =
                  read_values(value, where, address_of,
                              "an address: IPv4 or IPv6 without a port was expected, as 192.168.10.100; the "
                              "port belongs to the endpoint in mirrors",
                              kMostAddresses, reader);
              if (values) out.hosts.emplace(name, std::move(*values));
            });
}

void read_dns_zones(const YamlNode& node, std::string_view key, DnsSettings& out, ConfigReader& reader) {
  out.zones.clear();
  each_name(node, key, reader, parse_zone,
            [&](const std::string& name, const YamlNode& value, const std::string& where) {
              auto values =
                  read_values(value, where, server_of,
                              "the address of a DNS server: IPv4 or IPv6, with a port if it is not 53, was "
                              "expected, as 10.43.0.10, 10.43.0.10:5353 or \"[fd00::10]:5353\"",
                              kMostServers, reader);
              if (values) out.zones.emplace_back(name, std::move(*values));
            });
}

void read_dns_search(const YamlNode& node, std::string_view key, DnsSettings& out, ConfigReader& reader) {
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  out.search.clear();
  for (const auto& [text, at] : *list) {
    std::string name = host_name(text);
    if (name.empty())
      reader.error(
          *at, fmt::format("{}: \"{}\" is not a domain; the end of names was expected, as svc.cluster.local",
                           key, printable(text, 60)));
    else
      out.search.push_back(std::move(name));
  }
  if (out.search.size() > kMostSearch)
    reader.error(node,
                 fmt::format("{}: {} domains, at most {} are possible", key, out.search.size(), kMostSearch));
}

std::string show_dns_hosts(const DnsSettings& dns) {
  std::string list;
  for (const auto& [name, addresses] : dns.hosts)
    list += fmt::format("{}{}: {}", list.empty() ? "" : ", ", yaml_quoted(name), show_words(addresses));
  return "{" + list + "}";
}

std::string show_dns_zones(const DnsSettings& dns) {
  std::string list;
  for (const auto& [name, servers] : dns.zones)
    list += fmt::format("{}{}: {}", list.empty() ? "" : ", ", yaml_quoted(name.empty() ? "." : name),
                        show_words(servers));
  return "{" + list + "}";
}

std::string show_dns_search(const DnsSettings& dns) { return show_words(dns.search); }

void add_dns_names(const DnsSettings& dns, registry::RulesInput& out) {
  for (const auto& [name, addresses] : dns.hosts) out.dns_hosts.push_back(name);
  for (const auto& [name, servers] : dns.zones) out.dns_zones.push_back(name);
}

}  // namespace layerd::daemon
