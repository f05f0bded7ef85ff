// Which HTTP proxy a request goes through, if any: `proxy` of the configuration, or the environment as
// Go reads it (protocol.md §6.2). Pure; immutable, any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace layerd::net {

struct TlsSettings;

// One proxy. Its name is looked up by us, the names behind it by the proxy.
struct Proxy {
  bool tls = false;  // https://
  std::string host;  // name or numeric address, no brackets
  std::uint16_t port = 0;
  std::string username, password;  // decoded; empty: none
  // How TLS with the proxy itself is made; null: the defaults.
  std::shared_ptr<const TlsSettings> tls_settings;
  std::string str() const;  // "http://10.0.0.2:3128", without credentials
};
using ProxyPtr = std::shared_ptr<const Proxy>;

// "Basic …" for Proxy-Authorization; empty if the proxy has no user.
std::string proxy_authorization(const Proxy& proxy);

// "http://user:pass@proxy:3128", "https://…", or "host:port" (http). Without a port 80, 443 for https.
// Errors: config; the sentence masks user and password.
Result<Proxy> parse_proxy(std::string_view text);

// What is asked without a proxy. `localhost` and loopback addresses always are.
class NoProxy {
 public:
  // Adds "host", ".host", "*.host" (each but the first: its subdomains only), an address, a CIDR, any of
  // them but the CIDR with ":port", or "*". Errors: config, naming the entry.
  Result<Ok> add(std::string_view entry);
  bool covers(std::string_view host, std::uint16_t port) const;

 private:
  struct Name {
    std::string suffix;      // lower case, begins with a dot
    bool itself = true;      // the name without its dot as well
    std::uint16_t port = 0;  // 0: every port
  };
  struct Network {
    std::string bytes;  // 16, IPv4 mapped
    unsigned bits = 128;
    std::uint16_t port = 0;
  };
  bool everything_ = false;
  std::vector<Name> names_;
  std::vector<Network> networks_;
};

struct ProxyRules {
  ProxyPtr http, https;  // for targets of that scheme; null: none
  NoProxy exceptions;
  // Null: dial directly.
  ProxyPtr choose(bool tls, std::string_view host, std::uint16_t port) const;
};
using ProxyRulesPtr = std::shared_ptr<const ProxyRules>;

}  // namespace layerd::net
