// Url of endpoint.h: parsing and RFC 3986 §5.2 resolution, http and https only.
#include <fmt/core.h>

#include <algorithm>

#include "proxy/registry/endpoint.h"
#include "proxy/registry/text.h"
#include "runtime/log.h"

namespace layerd::registry {

namespace {

constexpr std::size_t kMostUrlBytes = 16384;  // signed storage URLs are long

Error bad_url(std::string_view text, std::string_view why) {
  return {Errc::invalid_request,
          fmt::format("{} is not a usable URL: {}", shown_url(text), why),
          0,
          0,
          "url_invalid",
          {}};
}

// A password may hold a slash: then what stands behind the colon is no port.
bool has_port_or_none(std::string_view authority) {
  const auto colon = authority.rfind(':');
  return colon == std::string_view::npos || authority.ends_with(']') ||
         std::all_of(authority.begin() + static_cast<std::ptrdiff_t>(colon) + 1, authority.end(), is_digit);
}

bool has_wrong_byte(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c <= 0x20 || c >= 0x7f; });
}

std::uint16_t default_port(std::string_view scheme) { return scheme == "http" ? 80 : 443; }

bool is_host_name(std::string_view host) {
  return !host.empty() && host.size() <= 255 && host.front() != '.' &&
         host.find("..") == std::string_view::npos && std::all_of(host.begin(), host.end(), [](char c) {
           return is_alnum(c) || c == '.' || c == '-' || c == '_';
         });
}

bool is_ipv6(std::string_view host) {
  return host.find(':') != std::string_view::npos && host.size() <= 45 &&
         std::all_of(host.begin(), host.end(), [](char c) { return is_hex(c) || c == ':' || c == '.'; });
}

// host[:port] into url; a reason if it is malformed, empty if all is well.
std::string_view take_authority(std::string_view authority, Url& url) {
  if (authority.find('@') != std::string_view::npos)
    return "user and password do not belong in a URL, use configs.<host>.auth";
  std::string_view port;
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos || !is_ipv6(authority.substr(1, close - 1)))
      return "the IPv6 address is malformed";
    url.host = lower_case(authority.substr(1, close - 1));
    port = authority.substr(close + 1);
    if (!port.empty() && port.front() != ':') return "the port is malformed";
  } else {
    const auto colon = authority.find(':');
    url.host = lower_case(authority.substr(0, colon));
    if (colon != std::string_view::npos) port = authority.substr(colon);
    if (!is_host_name(url.host)) return url.host.empty() ? "it names no host" : "the host is malformed";
  }
  url.port = default_port(url.scheme);
  if (port.size() <= 1) return {};
  const auto number = parse_digits(port.substr(1));
  if (!number || *number == 0 || *number > 65535) return "the port must be a number from 1 to 65535";
  url.port = static_cast<std::uint16_t>(*number);
  return {};
}

// RFC 3986 §5.2.4: "." and ".." resolved; never above the root.
std::string without_dots(std::string_view path) {
  std::vector<std::string_view> kept;
  const auto parts = split(path, '/');
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const bool last = i + 1 == parts.size();
    if (parts[i] == "." || parts[i] == "..") {
      if (parts[i] == ".." && !kept.empty()) kept.pop_back();
      if (last) kept.push_back("");
    } else {
      kept.push_back(parts[i]);
    }
  }
  std::string out;
  for (std::string_view part : kept) out.append("/").append(part);
  return out;
}

// A redirect's or realm's path keeps its trailing slash; the fragment is dropped.
void take_path_and_query(std::string_view rest, Url& url) {
  rest = rest.substr(0, rest.find('#'));
  const auto mark = rest.find('?');
  url.path = without_dots(rest.substr(0, mark));
  url.query = mark == std::string_view::npos ? "" : std::string(rest.substr(mark + 1));
}

// Scheme and authority of an absolute URL into `url`; answers what follows them.
Result<std::string_view> take_origin(std::string_view text, Url& url) {
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) return bad_url(text, "it must begin with https:// or http://");
  url.scheme = lower_case(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https") return bad_url(text, "only https and http are possible");
  const auto rest = text.substr(colon + 3);
  const auto end = std::min(rest.find_first_of("/?#"), rest.size());
  if (const auto why = take_authority(rest.substr(0, end), url); !why.empty()) return bad_url(text, why);
  return rest.substr(end);
}

bool has_scheme(std::string_view text) {
  const auto end = text.find_first_of(":/?#");
  return end != std::string_view::npos && end > 0 && text[end] == ':' && is_alpha(text[0]);
}

}  // namespace

std::string shown_url(std::string_view text) {
  std::string masked(text.substr(0, text.find_first_of("?#")));
  const auto slashes = masked.find("//");
  const auto begin = slashes == std::string::npos ? 0 : slashes + 2;
  const auto end = std::min(masked.find('/', begin), masked.size());
  const bool ends_early = !has_port_or_none(std::string_view(masked).substr(begin, end - begin));
  const auto at = masked.rfind('@', ends_early ? std::string::npos : end);
  if (at != std::string::npos && at >= begin) masked.replace(begin, at - begin, "****");
  return "\"" + printable(masked, 120) + "\"";
}

std::string Url::authority() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != default_port(scheme)) text += ":" + std::to_string(port);
  return text;
}

std::string Url::str() const {
  std::string text = scheme + "://" + authority() + path;
  if (!query.empty()) text += "?" + query;
  return text;
}

Result<Url> parse_url(std::string_view text) {
  if (text.size() > kMostUrlBytes) return bad_url(text.substr(0, 100), "it is too long");
  if (has_wrong_byte(text)) return bad_url(text, "it holds a space or a byte that no URL has");
  if (text.find('#') != std::string_view::npos) return bad_url(text, "it has a fragment (#)");
  Url url;
  auto rest = take_origin(text, url);
  if (!rest) return std::move(rest).error();
  take_path_and_query(*rest, url);
  while (url.path.ends_with('/')) url.path.pop_back();
  return url;
}

Result<Url> resolve_url(const Url& base, std::string_view reference) {
  reference = trim_all(reference);
  if (reference.size() > kMostUrlBytes) return bad_url(reference.substr(0, 100), "it is too long");
  if (has_wrong_byte(reference)) return bad_url(reference, "it holds a space or a byte that no URL has");
  Url url;
  if (has_scheme(reference)) {
    auto rest = take_origin(reference, url);
    if (!rest) return std::move(rest).error();
    take_path_and_query(*rest, url);
    return url;
  }
  url = base;
  url.query.clear();
  if (reference.starts_with("//")) {
    const auto rest = reference.substr(2);
    const auto end = std::min(rest.find_first_of("/?#"), rest.size());
    if (const auto why = take_authority(rest.substr(0, end), url); !why.empty())
      return bad_url(reference, why);
    take_path_and_query(rest.substr(end), url);
    return url;
  }
  const auto path = reference.substr(0, reference.find_first_of("?#"));
  if (path.empty()) {
    if (reference.starts_with('?')) {
      take_path_and_query(reference, url);
      url.path = base.path;
    } else {
      url.query = base.query;
    }
    return url;
  }
  if (path.starts_with('/')) {
    take_path_and_query(reference, url);
    return url;
  }
  const std::string merged =
      base.path.substr(0, base.path.rfind('/') == std::string::npos ? 0 : base.path.rfind('/')) + "/";
  take_path_and_query(merged + std::string(reference), url);
  return url;
}

}  // namespace layerd::registry
