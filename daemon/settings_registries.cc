// The rows about registries: their other names, where and how they are asked, with which credentials and
// through which proxy, and which of them may be asked at all.
#include "daemon/config_aliases.h"
#include "daemon/config_credentials.h"
#include "daemon/config_dns.h"
#include "daemon/config_proxy.h"
#include "daemon/config_registries.h"
#include "daemon/config_tls.h"
#include "daemon/settings_groups.h"

namespace layerd::daemon {

namespace {

using Node = const YamlNode&;
using Name = std::string_view;

}  // namespace

std::vector<Key<Settings>> registry_keys() {
  return {
      {"aliases", "list of {from, to}", "patterns of registry/repository; at most 256", true,
       "Other names for registries and repositories, applied before everything else: in order, the first "
       "that fits decides alone, and once (what comes out is not looked up again). See names.md.",
       [](Node n, Name, Settings& s, ConfigReader& r) { read_aliases(n, s.rules, r); },
       [](const Settings& s) { return show_aliases(s.rules); }},
      {"mirrors", "map of registry to mirror",
       "registry names; patterns of them, the longest first; then \"*\"", true,
       "Where registries are asked for (k3s's own schema, below).",
       [](Node n, Name, Settings& s, ConfigReader& r) { read_mirrors(n, s.rules, r); },
       [](const Settings& s) { return show_mirrors(s.rules); }},
      {"configs", "map of host to settings",
       "host[:port] of an endpoint first, then registry names, then \"*\"; patterns as in mirrors", true,
       "Credentials and TLS of hosts (k3s's own schema, below).",
       [](Node n, Name, Settings& s, ConfigReader& r) { read_configs(n, s.rules, r); },
       [](const Settings& s) { return show_configs(s.rules); }},
      {"auths", "map of host to credentials", "", true, "k3s's older way to write configs.<host>.auth.",
       [](Node n, Name, Settings& s, ConfigReader& r) { read_auths(n, s.rules, r); },
       [](const Settings&) { return std::string(); }},
      {"certs_dirs", "list of folders", "absolute paths", true,
       "Where runtimes keep TLS settings by host: <folder>/<host[:port]>/ with *.crt, *.cert and *.key "
       "(docker, podman), or with a hosts.toml (containerd); read besides `configs`, which wins, and again "
       "when they change.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_certs_dirs(n, k, s.certs_dirs, r); },
       [](const Settings& s) { return show_list(s.certs_dirs); }},
      {"dns.zones", "map of domain to server or list of servers",
       "addresses, with a port if it is not 53; \".\" is every name", true,
       "Which DNS servers to ask for the names under a domain, in this order; the longest domain counts. "
       "Such names count as configured, except by \".\".",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_dns_zones(n, k, s.dns, r); },
       [](const Settings& s) { return show_dns_zones(s.dns); }},
      {"dns.hosts", "map of name to address or list of addresses", "IPv4 or IPv6, without a port", true,
       "Fixed addresses, before /etc/hosts and DNS. Such names count as configured.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_dns_hosts(n, k, s.dns, r); },
       [](const Settings& s) { return show_dns_hosts(s.dns); }},
      {"dns.search", "list of domains", "at most 16", true,
       "Appended to names in place of the search list of /etc/resolv.conf; [] leaves that one.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_dns_search(n, k, s.dns, r); },
       [](const Settings& s) { return show_dns_search(s.dns); }},
      {"credentials.docker_config", "list of files, secret", "absolute paths", true,
       "Docker config.json files (kubernetes' dockerconfigjson too) with credentials, asked in this order "
       "after `configs`; read again when they change.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_docker_configs(n, k, s.credentials, r); },
       [](const Settings& s) { return show_docker_configs(s.credentials); }},
      {"credentials.helpers", "list of helpers", "as below", true,
       "Credential helpers, asked in this order after the docker config files.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_helpers(n, k, s.credentials, r); },
       [](const Settings& s) { return show_helpers(s.credentials); }},
      {"proxy.https", "URL, secret", "http://[user:password@]host:port or https://…; \"\" is none", true,
       "The HTTP proxy for registries with https://, asked by CONNECT. Where the key is missing "
       "HTTPS_PROXY of the environment counts.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         read_proxy(n, k, s.proxy.https, s.proxy.sets_https, r);
       },
       [](const Settings& s) { return show_proxy(s.proxy.https); }},
      {"proxy.http", "URL, secret", "as above", true,
       "The HTTP proxy for registries with http://. Where the key is missing HTTP_PROXY counts.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         read_proxy(n, k, s.proxy.http, s.proxy.sets_http, r);
       },
       [](const Settings& s) { return show_proxy(s.proxy.http); }},
      {"proxy.no_proxy", "list of names, addresses and networks",
       "host (its subdomains too), .host, 10.1.2.3, 10.0.0.0/8, host:port, *", true,
       "What is asked without a proxy, besides localhost and loopback addresses. Networks are compared with "
       "addresses, not with names. Where the key is missing NO_PROXY counts.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_no_proxy(n, k, s.proxy, r); },
       [](const Settings& s) { return show_list(s.proxy.no_proxy); }},
      {"proxy.password_file", "file, secret", "read again when it changes", true,
       "A file with the password of the user in the proxies' URLs, so that it need not stand there.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_proxy_password(n, k, s.proxy, r); },
       [](const Settings& s) { return yaml_quoted(s.proxy.password_file); }},
  };
}

std::vector<Key<Settings>> reach_keys() {
  return {
      {"allow", "list of patterns", "of a registry, or of registry/repository", true,
       "Which registries layerd may ask at all; [] is none.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_patterns(n, k, s.rules.allow, nullptr, r); },
       [](const Settings& s) { return show_list(s.rules.allow); }},
      {"offline", "true or false", "", true,
       "true: no upstream is ever dialled. What is not here may still come from members of the site.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto value = r.value(n, k, parse_bool)) s.offline = *value;
       },
       [](const Settings& s) { return std::string(s.offline ? "true" : "false"); }},
  };
}

}  // namespace layerd::daemon
