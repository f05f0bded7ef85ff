// The rows about the daemon itself: where it listens and keeps its store, what it takes of its node's line,
// memory and time, and what it writes.
#include <array>

#include "daemon/settings_groups.h"

namespace layerd::daemon {

namespace {

using Node = const YamlNode&;
using Name = std::string_view;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

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

std::string show_listen(const Settings& settings) {
  std::vector<std::string> texts;
  for (const ListenAddress& address : settings.listen) texts.push_back(address.str());
  return texts.size() == 1 ? yaml_quoted(texts[0]) : show_list(texts);
}

}  // namespace

std::vector<Key<Settings>> place_keys() {
  return {
      {"registries_file", "file", "an absolute path", true,
       "A k3s or RKE2 registries.yaml that is read besides this file, at the start and when it changes; "
       "what this file says of a registry wins.",
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
  };
}

std::vector<Key<Settings>> limit_keys() {
  return {
      {"limits.download", "rate", "1Mbit to 1000Gbit, or a size per second; none", true,
       "What all downloads from registries together may take of the line; shared evenly.",
       [](Node n, Name k, Settings& s, ConfigReader& r) {
         if (auto rate = r.value(n, k, parse_rate)) s.download_limit = *rate;
       },
       [](const Settings& s) { return rate_text(s.download_limit); }},
      {"limits.site_download", "rate", "1Mbit to 1000Gbit, or a size per second; none", true,
       "The same for all nodes of the site together. Each may take the value divided by the number of "
       "members alive, whether they download or not: of 20 nodes with 100Mbit one that pulls alone gets "
       "5Mbit. The same value on every node.",
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
  };
}

std::vector<Key<Settings>> run_keys() {
  return {
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

}  // namespace layerd::daemon
