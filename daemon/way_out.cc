#include "daemon/way_out.h"

#include "proxy/upstream/wire.h"

namespace layerd::daemon {
namespace {

net::ProxyPtr finished(const std::optional<net::Proxy>& given, const Settings& settings) {
  if (!given) return nullptr;
  auto proxy = std::make_shared<net::Proxy>(*given);
  if (proxy->password.empty() && !proxy->username.empty()) proxy->password = settings.proxy.password;
  if (proxy->tls && settings.compiled_rules) {
    registry::Url url;
    url.scheme = "https";
    url.host = proxy->host;
    url.port = proxy->port;
    const auto host = settings.compiled_rules->settings_for(url.host, url.port);
    proxy->tls_settings =
        std::make_shared<net::TlsSettings>(upstream::tls_settings(*host, url, settings.certs_dirs));
  }
  return proxy;
}

}  // namespace

net::ProxyRulesPtr proxy_rules(const Settings& settings) {
  auto rules = std::make_shared<net::ProxyRules>();
  rules->http = finished(settings.proxy.http, settings);
  rules->https = finished(settings.proxy.https, settings);
  if (!rules->http && !rules->https) return nullptr;
  rules->exceptions = settings.proxy.exceptions;
  return rules;
}

}  // namespace layerd::daemon
