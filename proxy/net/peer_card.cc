#include "proxy/net/peer_card.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/net/address.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr std::size_t kMostPattern = 255;
constexpr unsigned kMostVersion = 9999;

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::optional<unsigned> parse_version(std::string_view text) {
  if (text.empty() || text.size() > 4) return std::nullopt;
  unsigned version = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    version = version * 10 + static_cast<unsigned>(c - '0');
  }
  return version <= kMostVersion ? std::optional(version) : std::nullopt;
}

bool is_key_name(std::string_view key) {
  return key.size() == 16 && std::all_of(key.begin(), key.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// As shells match, without the exponential case: the last star alone is gone back to, and a single star
// that cannot grow any more hands over to the last double one.
bool fits(std::string_view pattern, std::string_view name) {
  struct Star {
    std::size_t pattern = std::string_view::npos, name = 0;
    bool is_set() const { return pattern != std::string_view::npos; }
  };
  Star one, many;
  std::size_t p = 0, n = 0;
  while (n < name.size() || p < pattern.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      const bool is_double = p + 1 < pattern.size() && pattern[p + 1] == '*';
      p += is_double ? 2 : 1;
      (is_double ? many : one) = {p, n};
      if (is_double) one = {};
      continue;
    }
    if (p < pattern.size() && n < name.size() && lower(pattern[p]) == lower(name[n])) {
      ++p;
      ++n;
      continue;
    }
    const bool may_grow = one.is_set() && one.name < name.size() && name[one.name] != '.' &&
                          name[one.name] != '/' && name[one.name] != ':';
    if (may_grow) {
      n = ++one.name;
      p = one.pattern;
    } else if (many.is_set() && many.name < name.size()) {
      one = {};
      n = ++many.name;
      p = many.pattern;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

bool is_site_name(std::string_view site) {
  return site.size() <= 63 && std::all_of(site.begin(), site.end(), [](char c) {
           return is_alnum(c) || c == '.' || c == '-' || c == '_';
         });
}

bool is_member_id(std::string_view id) {
  if (id.empty() || id.size() > 64) return false;
  const auto host_port = parse_host_port(id, 0);
  if (!host_port || host_port->port == 0) return false;
  const auto address = parse_address(host_port->host, host_port->port);
  return address && address->str() == id;
}

Result<Ok> check_plausible(const PeerCard& card, std::string_view id) {
  if (!is_member_id(id))
    return Error{Errc::denied,
                 fmt::format("\"{}\" is no member id: a numeric address with a port", printable(id, 80))};
  const Address address = *parse_address(parse_host_port(id, 0)->host, 0);
  const auto is_it = [&address](const std::string& text) {
    const auto other = parse_address(text, 0);
    return other && same_host(*other, address);
  };
  if (card.own_ips.empty() || is_it(card.address)) return Ok{};
  if (std::any_of(card.own_ips.begin(), card.own_ips.end(), is_it)) return Ok{};
  return Error{Errc::denied,
               fmt::format("{} is neither where the connection comes from ({}) nor an address of the "
                           "certificate",
                           id, card.address)};
}

std::string text_of(const PeerGreeting& greeting) {
  return fmt::format("layerd-peer/{} key={} site={} id={} role=dial", greeting.version, greeting.key,
                     greeting.site, greeting.id);
}

std::optional<PeerGreeting> parse_greeting(std::string_view text) {
  constexpr std::string_view kStart = "layerd-peer/";
  if (text.size() > kMostGreeting || !text.starts_with(kStart)) return std::nullopt;
  text.remove_prefix(kStart.size());
  PeerGreeting greeting;
  std::string role;
  const auto next = [&text] {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    return word;
  };
  const auto version = parse_version(next());
  if (!version) return std::nullopt;
  greeting.version = *version;
  while (!text.empty()) {
    const std::string_view word = next();
    const auto equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = word.substr(0, equals), value = word.substr(equals + 1);
    if (name == "key") greeting.key = value;
    if (name == "site") greeting.site = value;
    if (name == "id") greeting.id = value;
    if (name == "role") role = value;
  }
  if (!is_key_name(greeting.key) || !is_site_name(greeting.site) || !is_member_id(greeting.id) ||
      role != "dial")
    return std::nullopt;
  return greeting;
}

bool fits_any(const std::vector<std::string>& patterns, std::string_view name) {
  if (name.empty() || name.size() > kMostPattern) return false;
  return std::any_of(patterns.begin(), patterns.end(),
                     [name](const std::string& pattern) { return fits(pattern, name); });
}

Result<Ok> check_name_pattern(std::string_view pattern) {
  if (pattern.empty() || pattern.size() > kMostPattern)
    return Error{Errc::config, "a pattern for names of certificates has 1 to 255 characters"};
  const bool is_plain =
      std::all_of(pattern.begin(), pattern.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!is_plain)
    return Error{Errc::config, fmt::format("\"{}\" is no pattern for names of certificates: no blanks, "
                                           "ASCII only",
                                           printable(pattern, 80))};
  return Ok{};
}

}  // namespace layerd::net
