// Settings: the configuration as plain values. One table (settings_table.h) says what each key
// means; design.md §2.2 is the contract. Immutable once loaded, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/access_settings.h"
#include "proxy/net/file_stamp.h"
#include "proxy/net/proxy_rules.h"
#include "proxy/peers/members_settings.h"
#include "proxy/peers/share_rules.h"
#include "proxy/registry/credential_rules.h"
#include "proxy/registry/pattern.h"
#include "proxy/registry/rules.h"
#include "runtime/bytes.h"
#include "runtime/clock.h"
#include "runtime/log.h"

namespace layerd::daemon {

// An address to listen on. Port 0: any free one (tests).
struct ListenAddress {
  std::string host;  // numeric, no brackets; "" is never here
  std::uint16_t port = 0;
  bool operator==(const ListenAddress&) const = default;
  std::string str() const;  // "127.0.0.1:5151", "[::1]:5151"
};

// A number of bytes, or a share of the file system's size.
struct SizeSetting {
  ByteCount bytes = 0;  // unless percent is set
  double percent = 0;   // 0: `bytes` counts
  ByteCount of(ByteCount file_system_size) const;
  bool operator==(const SizeSetting&) const = default;
  std::string str() const;  // "20%", "20GiB"
};

// Where names are looked up. Numeric addresses throughout.
struct DnsSettings {
  std::map<std::string, std::vector<std::string>> hosts;  // name -> addresses, as in /etc/hosts
  // Suffix ("" is every name) -> servers with their ports, in the order written.
  std::vector<std::pair<std::string, std::vector<std::string>>> zones;
  std::vector<std::string> search;  // empty: that of /etc/resolv.conf
  bool operator==(const DnsSettings&) const = default;
};

// `proxy`, and what the environment says where it says nothing.
struct ProxySettings {
  std::optional<net::Proxy> http, https;  // nothing: none
  std::vector<std::string> no_proxy;
  net::NoProxy exceptions;              // the same, read
  std::string password_file, password;  // of the user in the URLs, where those have none
  net::FileStamp password_stamp;        // of that file before it was read
  // What the file says counts, be it that there is no proxy.
  bool sets_http = false, sets_https = false, sets_no_proxy = false;
};

// How the members of a site know each other by certificates; all four or none.
struct PeerTlsSettings {
  std::string cert_file, key_file, ca_file;
  // Patterns (net::fits_any) of members' names; a certificate of the CA that fits none is refused.
  std::vector<std::string> names;
};

// How a cluster's API server is asked for its nodes, as written; what came of it is in MembersSettings.
struct KubernetesSettings {
  std::string kubeconfig, context;  // context empty: the file's current one
  bool in_cluster = false;
  std::string server, token_file, ca_file;
  std::string site_label;
  std::string zone_label = "topology.kubernetes.io/zone";
  unsigned port = 0;  // of the members; 0: that of peers.listen
  bool operator==(const KubernetesSettings&) const = default;
};

// `peers`: nothing is shared without `listen`.
struct PeersSettings {
  std::optional<ListenAddress> listen;
  std::string secret_file;  // or tls; never both, and one of them where `listen` is
  PeerTlsSettings tls;
  peers::ShareRules share;
  KubernetesSettings kubernetes;
  std::string kubeconfig_fault;  // why nothing came of the kubeconfig that is named; empty: something did
  std::vector<std::string> unread_members;  // entries of `peers.members` that are none, a sentence each
  // Where the others come from; site, zone and listener are in it as well. state_file is set by who wires.
  peers::MembersSettings members;
  bool is_on() const { return listen.has_value(); }
};

struct Settings {
  std::string registries_file;

  std::vector<ListenAddress> listen{{"127.0.0.1", 5151}};
  std::string admin_socket = "/run/layerd/admin.sock";
  std::optional<ListenAddress> admin_listen;  // status page and metrics on a listener of their own

  std::string cache_path = "/var/lib/layerd";
  SizeSetting cache_max_size{0, 20};
  SizeSetting cache_min_free{0, 16};

  registry::RulesInput rules;         // mirrors, configs, aliases, allow, and what dns names
  registry::RulesPtr compiled_rules;  // of `rules`; never null in a loaded configuration

  // Where runtimes keep TLS settings by host, read besides `configs`.
  std::vector<std::string> certs_dirs{"/etc/docker/certs.d", "/etc/containers/certs.d",
                                      "/etc/containerd/certs.d"};

  DnsSettings dns;
  ProxySettings proxy;
  registry::CredentialRules credentials;  // where else credentials come from

  Duration tags_fresh_for = std::chrono::seconds(2);
  std::optional<Duration> tags_check_within;               // nothing: auto (design.md §3.1 step 3)
  std::vector<std::string> tags_immutable;                 // patterns of registry/repository[:tag]
  std::vector<registry::Pattern> tags_immutable_patterns;  // the same, compiled

  bool tags_from_peers = true;  // while upstream cannot be asked (design.md §3.4)

  proxy::AccessSettings access;  // who may have what

  PeersSettings peers;

  bool offline = false;

  ByteCount download_limit = 0;       // bytes per second of all downloads together; 0: none
  ByteCount upload_limit = 0;         // bytes per second to all members together; 0: none
  ByteCount site_download_limit = 0;  // as download_limit, for all members of the site together; 0: none
  unsigned connections_per_registry = 32;
  unsigned client_connections = 1024;
  Duration connect_timeout = std::chrono::seconds(5);
  Duration answer_timeout = std::chrono::seconds(10);
  Duration stall_timeout = std::chrono::seconds(15);

  unsigned workers = 2;
  Duration drain = std::chrono::seconds(3);

  LogLevel log_level = LogLevel::info;
  log::Format log_format = log::Format::text;

  // Is this tag one that never changes ("registry/repository", "v1.2")?
  bool is_immutable_tag(const std::string& repository_key, const std::string& tag) const;
};
using SettingsPtr = std::shared_ptr<const Settings>;

}  // namespace layerd::daemon
