#include "proxy/net/proxy_rules.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <charconv>

#include "proxy/net/address.h"
#include "proxy/net/dialer.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return out;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// The 16 bytes of an address, IPv4 mapped; empty: it is a name.
std::string bytes_of(std::string_view host) {
  const auto address = parse_address(host, 0);
  if (!address) return {};
  std::string bytes(16, '\0');
  if (address->is_ipv6) {
    inet_pton(AF_INET6, address->host.c_str(), bytes.data());
    return bytes;
  }
  bytes[10] = bytes[11] = static_cast<char>(0xff);
  inet_pton(AF_INET, address->host.c_str(), bytes.data() + 12);
  return bytes;
}

bool same_bits(std::string_view a, std::string_view b, unsigned bits) {
  const std::size_t whole = bits / 8;
  if (a.substr(0, whole) != b.substr(0, whole)) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<unsigned char>(0xff00u >> (bits % 8));
  return ((static_cast<unsigned char>(a[whole]) ^ static_cast<unsigned char>(b[whole])) & mask) == 0;
}

Result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2)
      return Error{Errc::config,
                   "user and password hold a % that two hex digits must follow (write % as %25)"};
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

Error bad_proxy(std::string_view shown, std::string_view why) {
  return {Errc::config, fmt::format("\"{}\" is no proxy: {}", printable(shown, 120), why)};
}

bool is_good_host(std::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || c == ':';
  });
}

std::string with_brackets(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

Result<Ok> take_user(std::string_view user, std::string_view shown, Proxy& proxy) {
  const auto colon = user.find(':');
  auto name = percent_decoded(user.substr(0, colon));
  auto password = percent_decoded(colon == std::string_view::npos ? "" : user.substr(colon + 1));
  if (!name || !password) return bad_proxy(shown, (name ? password.error() : name.error()).message);
  if (name->find(':') != std::string::npos) return bad_proxy(shown, "the user's name holds a colon");
  proxy.username = std::move(*name);
  proxy.password = std::move(*password);
  return Ok{};
}

}  // namespace

std::string Proxy::str() const {
  return fmt::format("{}://{}:{}", tls ? "https" : "http", with_brackets(host), port);
}

std::string proxy_authorization(const Proxy& proxy) {
  if (proxy.username.empty() && proxy.password.empty()) return {};
  const std::string plain = proxy.username + ":" + proxy.password;
  std::string text((plain.size() + 2) / 3 * 4 + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                      reinterpret_cast<const unsigned char*>(plain.data()), static_cast<int>(plain.size()));
  text.resize(static_cast<std::size_t>(size));
  return "Basic " + text;
}

Result<Proxy> parse_proxy(std::string_view text) {
  text = trimmed(text);
  const auto scheme_end = text.find("://");
  const std::string scheme =
      scheme_end == std::string_view::npos ? "http" : lower(text.substr(0, scheme_end));
  std::string_view rest = scheme_end == std::string_view::npos ? text : text.substr(scheme_end + 3);
  const auto at = rest.rfind('@');
  // What stands before the last @ is a secret, wherever a slash may be.
  const std::string_view user = at == std::string_view::npos ? std::string_view() : rest.substr(0, at);
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  const std::string shown = fmt::format("{}{}{}", scheme_end == std::string_view::npos ? "" : scheme + "://",
                                        at == std::string_view::npos ? "" : "****@", rest);
  if (scheme.starts_with("socks"))
    return bad_proxy(shown, "SOCKS is not spoken, only http:// and https:// proxies");
  if (scheme != "http" && scheme != "https")
    return bad_proxy(shown, "http://host:port or https://host:port was expected");
  const auto path = rest.find_first_of("/?#");
  if (path != std::string_view::npos && rest.substr(path) != "/")
    return bad_proxy(shown, "a proxy has no path");
  Proxy proxy;
  proxy.tls = scheme == "https";
  const auto place =
      parse_host_port(rest.substr(0, path), proxy.tls ? std::uint16_t{443} : std::uint16_t{80});
  if (!place || !is_good_host(place->host) || place->port == 0)
    return bad_proxy(shown, "http://host:port was expected");
  proxy.host = lower(place->host);
  proxy.port = place->port;
  if (auto taken = take_user(user, shown, proxy); !taken) return std::move(taken).error();
  return proxy;
}

Result<Ok> NoProxy::add(std::string_view given) {
  const std::string entry = lower(trimmed(given));
  const auto bad = [&](std::string_view why) {
    return Error{Errc::config, fmt::format("\"{}\": {}", printable(given, 80), why)};
  };
  if (entry.empty()) return Ok{};
  if (entry == "*") {
    everything_ = true;
    return Ok{};
  }
  if (const auto slash = entry.find('/'); slash != std::string::npos) {
    const std::string bytes = bytes_of(entry.substr(0, slash));
    const bool is_v4 = entry.find(':') == std::string::npos;
    unsigned bits = 0;
    const char* const end_of_text = entry.data() + entry.size();
    const auto [end, error] = std::from_chars(entry.data() + slash + 1, end_of_text, bits);
    if (bytes.empty() || error != std::errc() || end != end_of_text || bits > (is_v4 ? 32u : 128u))
      return bad("a network was expected, as 10.0.0.0/8 or fd00::/8");
    networks_.push_back({bytes, is_v4 ? bits + 96 : bits, 0});
    return Ok{};
  }
  auto place = parse_host_port(entry, 0);
  if (!place) return bad("a name, an address or a network was expected, as .local, 10.1.2.3 or 10.0.0.0/8");
  if (const std::string bytes = bytes_of(place->host); !bytes.empty()) {
    networks_.push_back({bytes, 128, place->port});
    return Ok{};
  }
  std::string_view name = place->host;
  if (name.starts_with("*.")) name.remove_prefix(1);
  if (name.ends_with('.')) name.remove_suffix(1);
  if (!is_good_host(name) || name == ".")
    return bad("a name, an address or a network was expected, as .local, 10.1.2.3 or 10.0.0.0/8");
  const bool itself = name.front() != '.';
  names_.push_back({itself ? "." + std::string(name) : std::string(name), itself, place->port});
  return Ok{};
}

bool NoProxy::covers(std::string_view given, std::uint16_t port) const {
  std::string host = lower(given);
  if (host.ends_with('.')) host.pop_back();
  if (host == "localhost" || host.ends_with(".localhost")) return true;
  if (const auto address = parse_address(host, 0); address && kind_of(*address) == AddressKind::loopback)
    return true;
  if (everything_) return true;
  const auto fits = [port](std::uint16_t wanted) { return wanted == 0 || wanted == port; };
  if (const std::string bytes = bytes_of(host); !bytes.empty()) {
    return std::any_of(networks_.begin(), networks_.end(), [&](const Network& network) {
      return fits(network.port) && same_bits(network.bytes, bytes, network.bits);
    });
  }
  return std::any_of(names_.begin(), names_.end(), [&](const Name& name) {
    if (!fits(name.port)) return false;
    return host.ends_with(name.suffix) || (name.itself && host == std::string_view(name.suffix).substr(1));
  });
}

ProxyPtr ProxyRules::choose(bool tls, std::string_view host, std::uint16_t port) const {
  const ProxyPtr& proxy = tls ? https : http;
  return !proxy || exceptions.covers(host, port) ? nullptr : proxy;
}

}  // namespace layerd::net
