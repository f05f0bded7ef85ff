// The rows about what clients are answered: how fresh tags are, and who has access to what.
#include "daemon/config_access.h"
#include "daemon/config_peers.h"
#include "daemon/settings_groups.h"

namespace layerd::daemon {

namespace {

using Node = const YamlNode&;
using Name = std::string_view;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

}  // namespace

void apply_patterns(const YamlNode& node, std::string_view key, std::vector<std::string>& texts,
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

std::vector<Key<Settings>> answer_keys() {
  return {
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
       "get a handle for every pull, of public images too.",
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
       "open to everybody.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_runtime_uids(n, k, s.access, r); },
       [](const Settings& s) { return show_runtime_uids(s.access); }},
      {"access.require_client", "list of patterns", "of a registry, or of registry/repository; at most 256",
       true, "Repositories for which the node's own credentials are not used: each client brings its own.",
       [](Node n, Name k, Settings& s, ConfigReader& r) { read_require_client(n, k, s.access, r); },
       [](const Settings& s) { return show_require_client(s.access); }},
  };
}

}  // namespace layerd::daemon
