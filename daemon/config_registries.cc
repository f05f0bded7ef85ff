#include "daemon/config_registries.h"

#include <memory>
#include <set>

#include "daemon/config_tls.h"
#include "proxy/registry/docker_config.h"
#include "proxy/registry/mirror_endpoint.h"
#include "proxy/registry/pattern.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/rewrite.h"
#include "proxy/registry/text.h"

namespace layerd::daemon {

using registry::HostSettings;
using registry::MirrorEntry;

namespace {

constexpr const char* kMask = "\"****\"";

template <class Field>
void set_text(const YamlNode& node, std::string_view key, Field& field, ConfigReader& reader) {
  if (auto words = reader.text(node, key)) field = std::move(*words);
}

void set_bool(const YamlNode& node, std::string_view key, bool& field, ConfigReader& reader) {
  if (auto value = reader.value(node, key, parse_bool)) field = *value;
}

void apply_endpoints(const YamlNode& node, std::string_view key, MirrorEntry& out, ConfigReader& reader) {
  const auto list = reader.texts(node, key, false);
  if (!list) return;
  std::vector<registry::Url> urls;
  for (const auto& [text, at] : *list) {
    auto url = registry::parse_endpoint(text);
    if (!url) {
      reader.error(*at, fmt::format("{}: {}", key, url.error().message));
      continue;
    }
    const bool known = std::any_of(urls.begin(), urls.end(),
                                   [&](const registry::Url& other) { return other.str() == url->str(); });
    if (known)
      reader.warn(*at, fmt::format("{}: {} is there twice, the second one is dropped", key, url->str()));
    else
      urls.push_back(std::move(*url));
  }
  out.endpoints = std::move(urls);
}

void apply_rewrite(const YamlNode& node, std::string_view key, MirrorEntry& out, ConfigReader& reader) {
  if (!node.is_map())
    return reader.error(node, fmt::format("{}: \"expression\": \"replacement\" was expected", key));
  for (const auto& [expression, replacement] : node.entries) {
    if (replacement.kind == YamlNode::Kind::list || replacement.is_map()) {
      reader.error(replacement, fmt::format("{}: a single value was expected as replacement", key));
      continue;
    }
    if (auto compiled = registry::Rewrites::compile({{expression.scalar, replacement.scalar}}); !compiled) {
      reader.error(expression, fmt::format("{}: {}", key, compiled.error().message));
      continue;
    }
    if (auto doubt = registry::doubtful_replacement(expression.scalar, replacement.scalar); !doubt.empty())
      reader.warn(replacement, fmt::format("{}: {}", key, doubt));
    out.rewrite.emplace_back(expression.scalar, replacement.scalar);
  }
}

std::string show_endpoints(const MirrorEntry& mirror) {
  std::string list;
  for (const auto& url : mirror.endpoints) list += (list.empty() ? "" : ", ") + yaml_quoted(url.str());
  return "[" + list + "]";
}

std::string show_rewrite(const MirrorEntry& mirror) {
  if (mirror.rewrite.empty()) return {};
  std::string list;
  for (const auto& [expression, replacement] : mirror.rewrite)
    list += (list.empty() ? "" : ", ") + yaml_quoted(expression) + ": " + yaml_quoted(replacement);
  return "{" + list + "}";
}

std::string show_text(const std::string& text) { return text.empty() ? "" : yaml_quoted(text); }
std::string show_secret(const std::string& text) { return text.empty() ? "" : kMask; }

// A key of mirrors or configs: a registry name, a pattern of one, or "*".
bool is_good_key(const YamlNode& key, std::string_view section, ConfigReader& reader) {
  const std::string& name = key.scalar;
  if (name == "*") return true;
  std::string why;
  if (const auto at = name.rfind('@'); at != std::string::npos) {
    // What stands before it is a secret.
    reader.error(key,
                 fmt::format("{}.\"****@{}\": write host[:port] alone; user and password belong under auth",
                             section, printable(name.substr(at + 1), 80)));
    return false;
  }
  if (name.find("://") != std::string::npos)
    why = "write host[:port] without https://";
  else if (name == "**")
    why = "for every registry write \"*\"";
  else if (name.find('*') != std::string::npos && name.find('/') != std::string::npos)
    why = "a registry alone was expected, without a path; for some of its repositories write an alias";
  else if (name.find('*') != std::string::npos) {
    if (auto pattern = registry::Pattern::compile(name); !pattern) why = pattern.error().message;
  } else if (auto good = registry::parse_registry_name(name); !good)
    why = good.error().message;
  if (why.empty()) return true;
  reader.error(key, fmt::format("{}.\"{}\": {}", section, printable(name, 80), why));
  return false;
}

// k3s gives user and password precedence over the base64 form of both.
void unfold_auth(const YamlNode& at, const std::string& where, HostDraft& draft, ConfigReader& reader) {
  auto& credentials = draft.settings.credentials;
  if (draft.auth.empty()) return;
  if (!credentials.username.empty())
    return reader.warn(at, where + "auth.auth is not used, because username is set as well");
  auto decoded = decode_base64(draft.auth);
  const auto colon = decoded ? decoded->find(':') : std::string::npos;
  if (!decoded || colon == std::string::npos || colon == 0)
    return reader.error(at, where + "auth.auth: base64 of user:password was expected");
  credentials.username = decoded->substr(0, colon);
  credentials.password = decoded->substr(colon + 1);
  while (credentials.password.ends_with('\0')) credentials.password.pop_back();
}

// A YAML block (`password: |`) and `echo … | base64` end a secret with a line break.
void drop_line_ends(const YamlNode& at, const std::string& where, registry::Credentials& credentials,
                    ConfigReader& reader) {
  for (std::string* secret :
       {&credentials.password, &credentials.identity_token, &credentials.registry_token}) {
    const auto end = secret->find_last_not_of("\r\n");
    const auto size = end == std::string::npos ? 0 : end + 1;
    if (size == secret->size()) continue;
    secret->resize(size);
    reader.warn(at, where + "auth: the secret ended with a line break, which is left out");
  }
}

registry::HostSettingsPtr finish_host(const YamlNode& key, const std::string& section, HostDraft draft,
                                      ConfigReader& reader) {
  const std::string where = fmt::format("{}.\"{}\".", section, printable(key.scalar, 80));
  auto& settings = draft.settings;
  unfold_auth(key, where, draft, reader);
  drop_line_ends(key, where, settings.credentials, reader);
  if (!registry::is_token_text(settings.credentials.registry_token))
    reader.error(key, where + "auth.token holds a space or a byte that no token has");
  if (settings.credentials.username.find(':') != std::string::npos)
    reader.error(key, where + "auth.username holds a colon, which cannot be sent");
  if (settings.cert_file.empty() != settings.key_file.empty())
    reader.error(key, where + "tls: cert_file and key_file belong together, one of them is missing");
  if (settings.insecure_skip_verify && (!settings.ca_file.empty() || !settings.ca_dir.empty()))
    reader.warn(key, where +
                         "tls: insecure_skip_verify takes any certificate, so that ca_file and ca_dir are "
                         "not used; take one of them out");
  if (!settings.system_cas && settings.ca_file.empty() && settings.ca_dir.empty() &&
      !settings.insecure_skip_verify)
    reader.warn(key, where +
                         "tls: with system_cas: false and neither ca_file nor ca_dir only what certs_dirs "
                         "has for this host is trusted");
  if (!settings.credentials.username.empty() && settings.credentials.password.empty() &&
      settings.password_file.empty())
    reader.warn(key, where + "auth has a username and no password");
  if (settings.credentials.username.empty() &&
      (!settings.credentials.password.empty() || !settings.password_file.empty()))
    reader.error(key, where + "auth has a password and no username");
  if (key.scalar == "*" && !settings.credentials.empty())
    reader.warn(key, where + "auth is sent only to registries that mirrors, configs or allow name");
  if (!settings.credentials.empty()) settings.credentials.source = where + "auth";
  return std::make_shared<const HostSettings>(std::move(settings));
}

}  // namespace

const std::vector<Key<MirrorEntry>>& mirror_keys() {
  static const std::vector<Key<MirrorEntry>> kKeys{
      {"endpoint", "list of URLs", "http or https; a path other than /v2 is taken as it is", true,
       "Where to ask for this registry, in this order.", apply_endpoints, show_endpoints},
      {"rewrite", "map of expression to replacement", "RE2 expressions; $1, ${1}", true,
       "Changes the repository name at these endpoints; in the order written, the first that changes it "
       "counts.",
       apply_rewrite, show_rewrite},
      {"default_endpoint", "true or false", "", true,
       "Whether the registry's own address is asked after these.",
       [](const YamlNode& node, std::string_view key, MirrorEntry& out, ConfigReader& reader) {
         set_bool(node, key, out.default_endpoint, reader);
       },
       [](const MirrorEntry& mirror) { return std::string(mirror.default_endpoint ? "true" : "false"); }},
  };
  return kKeys;
}

const std::vector<Key<HostDraft>>& host_keys() {
  static const std::vector<Key<HostDraft>> kKeys{
      {"auth.username", "text", "", true, "The user to log in as.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         set_text(node, key, out.settings.credentials.username, reader);
       },
       [](const HostDraft& host) { return show_text(host.settings.credentials.username); }},
      {"auth.password", "text, secret", "", true, "The password of the user.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         if (out.settings.password_file.empty())
           set_text(node, key, out.settings.credentials.password, reader);
         else
           reader.warn(node, fmt::format("{} is not used, because password_file is set as well", key));
       },
       [](const HostDraft& host) {
         return host.settings.password_file.empty() ? show_secret(host.settings.credentials.password)
                                                    : std::string();
       }},
      {"auth.password_file", "file, secret", "read again when it changes", true,
       "A file that holds the password and nothing else, line breaks at its end left out; wins over "
       "`password`.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         auto secret = reader.secret_of(node, key);
         if (!out.settings.credentials.password.empty())
           reader.warn(node, fmt::format("{} wins over the password that is set as well", key));
         out.settings.password_file = node.scalar;
         out.settings.credentials.password = secret.value_or("");
       },
       [](const HostDraft& host) { return show_text(host.settings.password_file); }},
      {"auth.auth", "text, secret", "base64 of user:password", true,
       "User and password in one, as docker writes them.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         set_text(node, key, out.auth, reader);
       },
       [](const HostDraft&) { return std::string(); }},
      {"auth.identity_token", "text, secret", "", true, "An OAuth2 refresh token instead of a password.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         set_text(node, key, out.settings.credentials.identity_token, reader);
       },
       [](const HostDraft& host) { return show_secret(host.settings.credentials.identity_token); }},
      {"auth.token", "text, secret", "", true,
       "A registry token, sent as it is (Bearer). k3s's documentation shows this key and k3s ignores it.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         set_text(node, key, out.settings.credentials.registry_token, reader);
         reader.warn(node, fmt::format("{}: k3s ignores this key although its documentation shows it; layerd "
                                       "sends it as Bearer token",
                                       key));
       },
       [](const HostDraft& host) { return show_secret(host.settings.credentials.registry_token); }},
      {"tls.ca_file", "file", "PEM", true,
       "CAs to trust for this host, besides the system's; read again when it changes.", read_ca_file,
       [](const HostDraft& host) { return show_text(host.settings.ca_file); }},
      {"tls.ca_dir", "folder", "an absolute path", true,
       "A folder whose *.crt, *.pem and *.cer are CAs to trust for this host as well; read again when it "
       "changes.",
       read_ca_dir, [](const HostDraft& host) { return show_text(host.settings.ca_dir); }},
      {"tls.system_cas", "true or false", "", true,
       "Whether the system's CAs are trusted for this host; false: ca_file and ca_dir (and certs_dirs) "
       "alone.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         set_bool(node, key, out.settings.system_cas, reader);
       },
       [](const HostDraft& host) { return std::string(host.settings.system_cas ? "true" : "false"); }},
      {"tls.min_version", "version", "1.2, 1.3", true, "The least version of TLS that is spoken.",
       read_min_version,
       [](const HostDraft& host) { return fmt::format("\"1.{}\"", host.settings.tls_minor); }},
      {"tls.cert_file", "file", "PEM; with key_file", true,
       "The certificate to show to this host, with its intermediates behind it.", read_cert_file,
       [](const HostDraft& host) { return show_text(host.settings.cert_file); }},
      {"tls.key_file", "file, secret", "PEM without a passphrase; with cert_file", true,
       "The key of that certificate.", read_key_file,
       [](const HostDraft& host) { return show_text(host.settings.key_file); }},
      {"tls.server_name", "text", "a host name", true,
       "The name the host's certificate must carry, if not the host's own.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         set_text(node, key, out.settings.server_name, reader);
       },
       [](const HostDraft& host) { return show_text(host.settings.server_name); }},
      {"tls.insecure_skip_verify", "true or false", "", true, "Takes whatever certificate the host shows.",
       [](const YamlNode& node, std::string_view key, HostDraft& out, ConfigReader& reader) {
         set_bool(node, key, out.settings.insecure_skip_verify, reader);
       },
       [](const HostDraft& host) {
         return std::string(host.settings.insecure_skip_verify ? "true" : "false");
       }},
  };
  return kKeys;
}

namespace {
// Calls `each` with every entry of the section whose key is good and not yet in `known`.
template <class Map, class Each>
void each_entry(const YamlNode& node, std::string_view section, const Map& known, ConfigReader& reader,
                Each each) {
  if (node.kind == YamlNode::Kind::null) return;
  if (!node.is_map())
    return reader.error(node, fmt::format("{}: registry names with their settings were expected", section));
  std::set<std::string> here;
  for (const auto& [key, value] : node.entries) {
    if (!is_good_key(key, section, reader)) continue;
    const std::string name = registry::lower_case(key.scalar);
    if (!here.insert(name).second) {
      reader.error(key, fmt::format("{}.\"{}\" is there twice: names of registries do not tell A from a",
                                    section, name));
      continue;
    }
    if (known.contains(name)) {
      reader.warn(
          key, fmt::format("{}.\"{}\" is not used: what is written before about it counts", section, name));
      continue;
    }
    each(key, name, value, fmt::format("{}.\"{}\".", section, name));
  }
}
}  // namespace

void read_mirrors(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader) {
  each_entry(node, "mirrors", out.mirrors, reader,
             [&](const YamlNode&, const std::string& name, const YamlNode& value, const std::string& where) {
               MirrorEntry mirror;
               read_map(value, mirror_keys(), mirror, reader, UnknownKey::is_warning, where);
               out.mirrors.emplace(name, std::move(mirror));
             });
}

void read_configs(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader) {
  each_entry(
      node, "configs", out.configs, reader,
      [&](const YamlNode& key, const std::string& name, const YamlNode& value, const std::string& where) {
        HostDraft draft;
        read_map(value, host_keys(), draft, reader, UnknownKey::is_warning, where);
        out.configs.emplace(name, finish_host(key, "configs", std::move(draft), reader));
      });
}

// Deprecated in k3s: URL or host -> what stands under configs.<host>.auth.
void read_auths(const YamlNode& node, registry::RulesInput& out, ConfigReader& reader) {
  if (node.kind == YamlNode::Kind::null) return;
  if (!node.is_map()) return reader.error(node, "auths: registry names with their credentials were expected");
  for (const auto& [key, value] : node.entries) {
    YamlNode host = key;
    if (const auto scheme = host.scalar.find("://"); scheme != std::string::npos)
      host.scalar.erase(0, scheme + 3);
    host.scalar = registry::lower_case(host.scalar.substr(0, host.scalar.find('/')));
    if (!is_good_key(host, "auths", reader)) continue;
    if (out.configs.contains(host.scalar)) {
      reader.warn(key,
                  fmt::format("auths.\"{}\" is not used: configs.\"{}\" counts", host.scalar, host.scalar));
      continue;
    }
    YamlNode wrapped;
    wrapped.kind = YamlNode::Kind::map;
    YamlNode name;
    name.kind = YamlNode::Kind::scalar;
    name.scalar = "auth";
    name.line = key.line;
    name.column = key.column;
    wrapped.entries.push_back({std::move(name), value});
    HostDraft draft;
    read_map(wrapped, host_keys(), draft, reader, UnknownKey::is_warning,
             fmt::format("auths.\"{}\".", host.scalar));
    out.configs.emplace(host.scalar, finish_host(host, "auths", std::move(draft), reader));
  }
}

namespace {
// The rows of one entry as an indented block; sections ("auth", "tls") get a line of their own.
template <class T>
std::string show_entry(const std::vector<Key<T>>& keys, const T& value) {
  std::string out, section;
  for (const auto& key : keys) {
    const std::string shown = key.show(value);
    if (shown.empty()) continue;
    const std::string_view path = key.path;
    const auto dot = path.find('.');
    const std::string head(dot == std::string_view::npos ? "" : path.substr(0, dot));
    if (head != section && !head.empty()) out += fmt::format("\n    {}:", head);
    section = head;
    const auto leaf = dot == std::string_view::npos ? path : path.substr(dot + 1);
    out += fmt::format("\n{}{}: {}", head.empty() ? "    " : "      ", leaf, shown);
  }
  return out;
}
}  // namespace

std::string show_mirrors(const registry::RulesInput& rules) {
  std::string out;
  for (const auto& [name, mirror] : rules.mirrors)
    out += fmt::format("\n  {}:{}", yaml_quoted(name), show_entry(mirror_keys(), mirror));
  return out.empty() ? "{}" : out;
}

std::string show_configs(const registry::RulesInput& rules) {
  std::string out;
  for (const auto& [name, settings] : rules.configs)
    out += fmt::format("\n  {}:{}", yaml_quoted(name), show_entry(host_keys(), HostDraft{*settings, {}}));
  return out.empty() ? "{}" : out;
}

}  // namespace layerd::daemon
