// Where a repository may be fetched from: the outcome of the naming rules (design.md §3.1 step 2).
// Plain values; proxy/registry is pure and is tested without a loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace layerd::registry {

struct Url {
  std::string scheme;  // "http" or "https"
  std::string host;    // lower case, no brackets
  std::uint16_t port = 443;
  std::string path;   // "" or "/…" without a trailing slash; never with query or fragment
  std::string query;  // without '?'; only in redirects and realms
  // "host:port" as a user writes it: brackets for IPv6, no default port.
  std::string authority() const;
  std::string str() const;
  bool operator==(const Url&) const = default;
  bool same_origin(const Url& other) const {
    return scheme == other.scheme && host == other.host && port == other.port;
  }
};

// Absolute http(s) URL. Userinfo and fragments are refused. Errors: invalid_request, the sentence
// names the URL with any password masked.
Result<Url> parse_url(std::string_view text);
// A URL, or what should be one, for a message: quoted, printable, short, no user and password, no query
// (it may be signed).
std::string shown_url(std::string_view text);
// RFC 3986 §5.2 resolution of a Location or realm against `base`.
Result<Url> resolve_url(const Url& base, std::string_view reference);

struct Credentials {
  std::string username, password;  // Basic; password may be anything
  std::string identity_token;      // OAuth2 refresh token
  std::string registry_token;      // used as Bearer as it is
  std::string source;              // where it came from, for people: "configs.\"host\".auth"
  bool empty() const {
    return username.empty() && password.empty() && identity_token.empty() && registry_token.empty();
  }
};

// What `configs` says of one host[:port].
struct HostSettings {
  std::string ca_file, cert_file, key_file, server_name;
  bool insecure_skip_verify = false;
  Credentials credentials;
  std::string password_file;  // read anew when it changes; wins over credentials.password
  std::string ca_dir;         // a folder of CAs
  bool system_cas = true;     // false: the system's CAs are not trusted
  unsigned tls_minor = 2;     // the least version of TLS is 1.<this>
};
using HostSettingsPtr = std::shared_ptr<const HostSettings>;

// One place a repository may be fetched from.
struct Endpoint {
  Url base;                  // API root without the repository: path is "" + "/v2" or what override_path gave
  std::string repository;    // after rewrite
  HostSettingsPtr settings;  // never null
  bool configured = false;   // false: only public addresses may be dialled (design.md §3.6)
  std::string rewrite = {};  // the expression that changed the repository; empty: none did
  bool is_own = false;       // the registry's own address, wherever it stands among the endpoints
  bool operator==(const Endpoint&) const = default;  // of the settings: the same object
};

// As whom the endpoints of a Target are asked.
struct AskAs {
  enum class Who : std::uint8_t {
    node,      // with the credentials this node has for them
    nobody,    // without any, whatever the node has
    stranger,  // as nobody, and from the beginning: nothing that others' questions left behind may show
    client,    // with those a client gave, and at the registry's own endpoint alone
  };
  Who who = Who::node;
  Credentials credentials = {};  // of the client
  std::string name = {};         // tells askers apart and nothing of their credentials; empty for the node
};

// A repository with its resolved name and its endpoints in the order to try.
struct Target {
  std::string ns;          // what the client said ("docker.io", "nexus.local:8082")
  std::string registry;    // resolved registry: key of tags, links and rights; without :443 where it can be
  std::string repository;  // resolved repository
  std::vector<Endpoint> endpoints;
  // How it came to this, for people: the alias that decided, and the key of `mirrors` that counted.
  std::string alias = {}, mirror = {};
  // The key by the spelling "host:443", where the rules make no difference and it was asked for so: earlier
  // versions kept that apart. Empty: there is nothing to look for.
  std::string older_key = {};
  // "registry/repository", the RepositoryKey of the catalog.
  std::string key() const { return registry + "/" + repository; }
  AskAs as = {};
  // key(), and as whom: the same question by two who have other rights is two questions.
  std::string question() const { return as.name.empty() ? key() : key() + "\n" + as.name; }
};
using TargetPtr = std::shared_ptr<const Target>;

}  // namespace layerd::registry
