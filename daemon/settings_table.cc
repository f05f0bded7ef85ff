// The table put together from its groups, and what is made of it: the printed configuration and
// docs/settings.md.
#include "daemon/settings_table.h"

#include <array>

#include "daemon/config_credentials.h"
#include "daemon/config_peers.h"
#include "daemon/config_registries.h"
#include "daemon/settings_groups.h"

namespace layerd::daemon {

void apply_duration(const YamlNode& node, std::string_view key, Duration least, Duration most, Duration& out,
                    ConfigReader& reader) {
  const auto duration = reader.value(node, key, parse_duration);
  if (!duration) return;
  if (*duration < least || *duration > most)
    return reader.error(
        node, fmt::format("{}: {} is out of range: {} to {} are possible", key, duration_text(*duration),
                          duration_text(least), duration_text(most)));
  out = *duration;
}

std::string show_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ", ") + yaml_quoted(text);
  return "[" + list + "]";
}

const std::vector<Key<Settings>>& settings_keys() {
  static const std::vector<Key<Settings>> kKeys = [] {
    std::vector<Key<Settings>> keys;
    for (const auto group :
         {place_keys, registry_keys, answer_keys, peer_keys, reach_keys, limit_keys, run_keys})
      for (const auto& key : group()) keys.push_back(key);
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
