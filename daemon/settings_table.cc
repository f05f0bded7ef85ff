#include "daemon/settings_table.h"

#include <array>

#include "daemon/config_access.h"
#include "daemon/config_aliases.h"
#include "daemon/config_credentials.h"
#include "daemon/config_dns.h"
#include "daemon/config_peers.h"
#include "daemon/config_proxy.h"
#include "daemon/config_registries.h"
#include "daemon/config_tls.h"

namespace layerd::daemon {

namespace {

using Node = const YamlNode&;
using Name = std::string_view;

void apply_listen(Node node, Name key, Settings& out, ConfigReader& reader) {
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  std::vector<ListenAddress> addresses;
  for (const auto& [text, at] : *list) {
    auto address = parse_listen(text);
    if (!address)
      reader.error(*at, fmt::format("{}: {}", key, address.error().message));
    else if (address->port != 0 && std::find(addresses.begin(), addresses.end(), *address) != addresses.end())
      reader.error(*at, fmt::format("{}: {} is there twice", key, address->str()));
    else
      addresses.push_back(std::move(*address));
  }
  if (list->empty()) reader.error(node, fmt::format("{}: at least one address is needed", key));
  if (!addresses.empty()) out.listen = std::move(addresses);
}

void apply_patterns(Node node, Name key, std::vector<std::string>& texts,
                    std::vector<registry::Pattern>* compiled, ConfigReader& reader) {
  const auto list = reader.texts(node, key, false);
  if (!list) return;
  texts.clear();
  for (const auto& [text, at] : *list) {
    auto pattern = registry::Pattern::compile(text);
    if (!pattern) {
      reader.error(*at, fmt::format("{}: {}", key, pattern.error().message));
      continue;
    }
    texts.push_back(text);
    if (compiled) compiled->push_back(std::move(*pattern));
  }
}

void apply_duration(Node node, Name key, Duration least, Duration most, Duration& out, ConfigReader& reader) {
  const auto duration = reader.value(node, key, parse_duration);
  if (!duration) return;
  if (*duration < least || *duration > most)
    return reader.error(
        node, fmt::format("{}: {} is out of range: {} to {} are possible", key, duration_text(*duration),
                          duration_text(least), duration_text(most)));
  out = *duration;
}

void apply_count(Node node, Name key, std::uint64_t least, std::uint64_t most, unsigned& out,
                 ConfigReader& reader) {
  const auto count =
      reader.value(node, key, [&](std::string_view text) { return parse_whole(text, least, most); });
  if (count) out = static_cast<unsigned>(*count);
}

struct LevelName {
  const char* name;
  LogLevel level;
};
constexpr std::array<LevelName, 4> kLevels{{{"debug", LogLevel::debug},
                                            {"info", LogLevel::info},
                                            {"warn", LogLevel::warn},
                                            {"error", LogLevel::error}}};

void apply_level(Node node, Name key, Settings& out, ConfigReader& reader) {
  const auto word = reader.text(node, key);
  if (!word) return;
  for (const auto& [name, level] : kLevels)
    if (*word == name) {
      out.log_level = level;
      return;
    }
  reader.error(node, fmt::format("{}: \"{}\" is no level; {}", key, printable(*word, 40),
                                 suggestion(*word, {"debug", "info", "warn", "error"})));
}

void apply_format(Node node, Name key, Settings& out, ConfigReader& reader) {
  const auto word = reader.text(node, key);
  if (!word) return;
  if (*word != "text" && *word != "json")
    return reader.error(node, fmt::format("{}: \"{}\" is no format; {}", key, printable(*word, 40),
                                          suggestion(*word, {"text", "json"})));
  out.log_format = *word == "json" ? log::Format::json : log::Format::text;
}

std::string level_text(LogLevel wanted) {
  for (const auto& [name, level] : kLevels)
    if (level == wanted) return name;
  return "info";
}

std::string show_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + yaml_quoted(text);
  return "[" + list + "]";
}

std::string show_listen(const Settings& settings) {
  std::vector<std::string> texts;
  for (const ListenAddress& address : settings.listen) texts.push_back(address.str());
  return texts.size() == 1 ? yaml_quoted(texts[0]) : show_list(texts);
}

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// Up to `access`.
std::vector<Key<Settings>> first_keys() {
  return {
      {"registries_file", "file", "an absolute path", true,
       "A k3s or RKE2 registries.yaml that is read besides this file, at the start and when it changes; what "
       "this file says of a "
       "registry wins.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto path = r.path(n, k)) s.registries_file = std::move(*path);
       },
       [](const Settings& s) { return yaml_quoted(s.registries_file); }},
      {"listen", "address or list of addresses", "numeric address and port", false,
       "Where the mirror listens, for this node's runtimes.", apply_listen, show_listen},
      {"admin.socket", "path", "an absolute path; \"\" turns it off", false,
       "The socket of `layerd status`, `layerd check`, `layerd peers` and `layerd cache`.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto path = r.path(n, k)) s.admin_socket = std::move(*path);
       },
       [](const Settings& s) { return yaml_quoted(s.admin_socket); }},
      {"admin.listen", "address", "numeric address and port; \"\" turns it off", false,
       "Status page and metrics on a listener of their own, besides the mirror's.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (n.kind == YamlNode::Kind::scalar && n.scalar.empty())
           s.admin_listen.reset();
         else if (auto address = r.value(n, k, parse_listen))
           s.admin_listen = std::move(*address);
       },
       [](const Settings& s) { return yaml_quoted(s.admin_listen ? s.admin_listen->str() : ""); }},
      {"cache.path", "path", "an absolute path", false, "The folder of the store.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto path = r.path(n, k); path && !path->empty()) s.cache_path = std::move(*path);
       },
       [](const Settings& s) { return yaml_quoted(s.cache_path); }},
      {"cache.max_size", "size or share", "1 byte to 8 EiB, or above 0% to 100% of the file system", true,
       "What the store may take at most.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto size = r.value(n, k, parse_size_or_percent)) s.cache_max_size = *size;
       },
       [](const Settings& s) { return s.cache_max_size.str(); }},
      {"cache.min_free", "size or share", "1 byte to 8 EiB, or above 0% to 100% of the file system", true,
       "What stays free on the file system, above the kubelet's own eviction thresholds.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto size = r.value(n, k, parse_size_or_percent)) s.cache_min_free = *size;
       },
       [](const Settings& s) { return s.cache_min_free.str(); }},
      {"aliases", "list of {from, to}", "patterns of registry/repository; at most 256", true,
       "Other names for registries and repositories, applied before everything else: in order, the first "
       "that "
       "fits decides alone, and once (what comes out is not looked up again). See names.md.",
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
       "Such "
       "names count as configured, except by \".\".",
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
      {"tags.fresh_for", "duration", "0s to 24h", true,
       "How long a tag is answered without asking whether it moved.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, Duration::zero(), hours(24), s.tags_fresh_for, r);
       },
       [](const Settings& s) { return duration_text(s.tags_fresh_for); }},
      {"tags.check_within", "duration or auto", "auto, or 100ms to 20s", true,
       "How long a client waits for the check before it gets the tag as it was; auto: 1 s without progress, "
       "10 s in all.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (n.kind == YamlNode::Kind::scalar && n.scalar == "auto") {
           s.tags_check_within.reset();
           return;
         }
         Duration within = Duration::zero();
         apply_duration(n, k, milliseconds(100), seconds(20), within, r);
         if (within != Duration::zero()) s.tags_check_within = within;
       },
       [](const Settings& s) { return s.tags_check_within ? duration_text(*s.tags_check_within) : "auto"; }},
      {"tags.immutable", "list of patterns", "of registry/repository, or registry/repository:tag", true,
       "Tags that never move: once cached they are not checked again.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_patterns(n, k, s.tags_immutable, &s.tags_immutable_patterns, r);
       },
       [](const Settings& s) { return show_list(s.tags_immutable); }},
      {"tags.from_peers", "word", "offline, never", true,
       "Whether a tag may come from another node: offline is only while its registry fails or has stopped "
       "moving on (tags.check_within) and this node knows nothing of the tag.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_from_peers(n, k, s.tags_from_peers, r); },
       [](const Settings& s) { return std::string(s.tags_from_peers ? "offline" : "never"); }},
      {"access.challenge_ping", "true or false", "", true,
       "true: /v2/ asks for credentials, without which docker, podman and skopeo never send any. They then "
       "get a "
       "handle for every pull, of public images too.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto value = r.value(n, k, parse_bool)) s.access.challenge_ping = *value;
       },
       [](const Settings& s) { return std::string(s.access.challenge_ping ? "true" : "false"); }},
      {"access.recheck", "duration", "1s to 24h", true,
       "How old layerd's knowledge of whom a repository is open to may be while it is in use.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, seconds(1), hours(24), s.access.recheck, r);
       },
       [](const Settings& s) { return duration_text(s.access.recheck); }},
      {"access.grant", "duration", "1s to 24h", true,
       "How long a client's right to a repository holds before its registry is asked again.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, seconds(1), hours(24), s.access.grant, r);
       },
       [](const Settings& s) { return duration_text(s.access.grant); }},
      {"access.offline_grace", "duration", "0s to 365d", true,
       "How long it holds while the registry cannot be asked.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, Duration::zero(), hours(24 * 365), s.access.offline_grace, r);
       },
       [](const Settings& s) { return duration_text(s.access.offline_grace); }},
      {"access.runtime_uids", "list of user numbers", "at most 256", true,
       "Who this node's runtimes run as. Only their connections, and not those from pods, get what is not "
       "open to "
       "everybody.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_runtime_uids(n, k, s.access, r); },
       [](const Settings& s) { return show_runtime_uids(s.access); }},
      {"access.require_client", "list of patterns", "of a registry, or of registry/repository; at most 256",
       true, "Repositories for which the node's own credentials are not used: each client brings its own.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_require_client(n, k, s.access, r); },
       [](const Settings& s) { return show_require_client(s.access); }},
  };
}

// From `allow` on.
std::vector<Key<Settings>> last_keys() {
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
      {"limits.download", "rate", "1Mbit to 1000Gbit, or a size per second; none", true,
       "What all downloads from registries together may take of the line; shared evenly.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto rate = r.value(n, k, parse_rate)) s.download_limit = *rate;
       },
       [](const Settings& s) { return rate_text(s.download_limit); }},
      {"limits.site_download", "rate", "1Mbit to 1000Gbit, or a size per second; none", true,
       "The same for all nodes of the site together. Each may take the value divided by the number of "
       "members "
       "alive, whether they download or not: of 20 nodes with 100Mbit one that pulls alone gets 5Mbit. The "
       "same "
       "value on every node.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto rate = r.value(n, k, parse_rate)) s.site_download_limit = *rate;
       },
       [](const Settings& s) { return rate_text(s.site_download_limit); }},
      {"limits.upload", "rate", "1Mbit to 1000Gbit, or a size per second; none", true,
       "What this node sends to the other members of its site, all together.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto rate = r.value(n, k, parse_rate)) s.upload_limit = *rate;
       },
       [](const Settings& s) { return rate_text(s.upload_limit); }},
      {"limits.connections_per_registry", "number", "1 to 256", true, "Connections to one registry at once.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_count(n, k, 1, 256, s.connections_per_registry, r);
       },
       [](const Settings& s) { return std::to_string(s.connections_per_registry); }},
      {"limits.connections", "number", "16 to 65536", false,
       "Connections of clients at once; more are answered with 503.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_count(n, k, 16, 65536, s.client_connections, r);
       },
       [](const Settings& s) { return std::to_string(s.client_connections); }},
      {"timeouts.connect", "duration", "100ms to 60s", true,
       "For one connection to a registry: DNS, TCP and TLS.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, milliseconds(100), seconds(60), s.connect_timeout, r);
       },
       [](const Settings& s) { return duration_text(s.connect_timeout); }},
      {"timeouts.answer", "duration", "100ms to 60s", true, "For the first byte of a registry's answer.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, milliseconds(100), seconds(60), s.answer_timeout, r);
       },
       [](const Settings& s) { return duration_text(s.answer_timeout); }},
      {"timeouts.stall", "duration", "1s to 10m", true,
       "The longest silence within a body before the download goes on elsewhere.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, seconds(1), minutes(10), s.stall_timeout, r);
       },
       [](const Settings& s) { return duration_text(s.stall_timeout); }},
      {"workers", "number", "1 to 8", false, "Threads that write, hash and read the disk.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { apply_count(n, k, 1, 8, s.workers, r); },
       [](const Settings& s) { return std::to_string(s.workers); }},
      {"drain", "duration", "0s to 5m", true, "How long running answers may go on after SIGTERM.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         apply_duration(n, k, Duration::zero(), minutes(5), s.drain, r);
       },
       [](const Settings& s) { return duration_text(s.drain); }},
      {"log.level", "word", "debug, info, warn, error", true, "The least important line that is written.",
       apply_level, [](const Settings& s) { return level_text(s.log_level); }},
      {"log.format", "word", "text (logfmt), json", true, "How lines are written.", apply_format,
       [](const Settings& s) { return std::string(s.log_format == log::Format::json ? "json" : "text"); }},
  };
}

}  // namespace

const std::vector<Key<Settings>>& settings_keys() {
  static const std::vector<Key<Settings>> kKeys = [] {
    auto keys = first_keys();
    for (const auto& key : peer_keys()) keys.push_back(key);
    for (const auto& key : last_keys()) keys.push_back(key);
    return keys;
  }();
  return kKeys;
}

std::string later_key_message(std::string_view path) {
  static constexpr std::array<std::pair<const char*, const char*>, 1> kLater{
      {{"admin.password_file", "a password for the status page"}}};
  for (const auto& [key, what] : kLater)
    if (path == key)
      return fmt::format("{}: not supported by this version of layerd ({} come with a later one); remove it",
                         path, what);
  return {};
}

// "peers.tls.cert_file": a line of its own for "peers:" and for "  tls:", unless the line before stands
// below.
std::string print_settings(const Settings& settings) {
  std::string out, before;
  for (const auto& key : settings_keys()) {
    const std::string shown = key.show(settings);
    if (shown.empty()) continue;
    const std::string_view path = key.path;
    std::size_t begin = 0;
    std::string indent;
    for (auto dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.', begin)) {
      if (!std::string_view(before).starts_with(path.substr(0, dot + 1)))
        out += fmt::format("{}{}:\n", indent, path.substr(begin, dot - begin));
      begin = dot + 1;
      indent += "  ";
    }
    out += fmt::format("{}{}:{}{}\n", indent, path.substr(begin), shown.front() == '\n' ? "" : " ", shown);
    before = path;
  }
  return out;
}

namespace {
std::string cell(std::string_view text) {
  std::string out;
  for (char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

template <class T>
std::string rows(const std::vector<Key<T>>& keys, const std::string& prefix, const T& defaults) {
  std::string out = "| key | type | default | range | reload | what it does |\n|---|---|---|---|---|---|\n";
  for (const auto& key : keys) {
    std::string shown = key.show(defaults);
    if (shown == "\"\"" || shown.empty()) shown = "none";
    out += fmt::format("| `{}{}` | {} | {} | {} | {} | {} |\n", prefix, key.path, cell(key.type),
                       shown == "none" ? "none" : "`" + cell(shown) + "`", cell(key.range),
                       key.reloadable ? "yes" : "restart", cell(key.sentence));
  }
  return out;
}
}  // namespace

std::string settings_markdown() {
  std::string out =
      "# Settings\n\n"
      "Generated from the table in `daemon/settings_table.cc`; a test compares this file with it.\n\n"
      "Sizes take B, kB, KiB, MB, MiB, GB, GiB, TB, TiB (kB is 1000 bytes, KiB 1024) or a share of the "
      "file "
      "system\n"
      "(`20%`). Rates take kbit, Mbit, Gbit or a size, each for one second. Durations take ms, s, m, h, "
      "d.\n\n"
      "In patterns `*` stands for one label of a registry name or one path component, `**` for any number of "
      "them.\n\n"
      "*reload*: the change is taken by itself within a second of the file's change, or by `systemctl reload "
      "layerd`;\n"
      "*restart*: it takes effect when the daemon starts again. A key without a value keeps its default. "
      "Links "
      "on the\n"
      "way to a file may be swapped, as kubernetes does with mounted secrets; a file that is wrong changes "
      "nothing and is\n"
      "reported by the log, `layerd status` and `layerd_config_refused`.\n\n";
  out += rows(settings_keys(), "", Settings{});
  out += "\n## One entry of `mirrors`\n\nA key that k3s ignores is a warning here, not an error.\n\n";
  out += rows(mirror_keys(), "mirrors.<registry>.", registry::MirrorEntry{});
  out += "\n## One entry of `configs`\n\n";
  out += rows(host_keys(), "configs.<host>.", HostDraft{});
  out += "\n## One entry of `credentials.helpers`\n\n";
  out += rows(helper_keys(), "credentials.helpers[].", HelperDraft{});
  out += "\n## One entry of `peers.share`\n\n";
  out += rows(share_keys(), "peers.share[].", ShareDraft{});
  return out;
}

}  // namespace layerd::daemon
