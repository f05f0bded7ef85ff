#include "daemon/config_access.h"

#include <fmt/core.h>

namespace layerd::daemon {
namespace {

constexpr std::uint64_t kOverflowUid = 65534;  // what the kernel says of users it cannot name to us
constexpr std::size_t kMostEntries = 256;

}  // namespace

void read_runtime_uids(const YamlNode& node, std::string_view key, proxy::AccessSettings& out,
                       ConfigReader& reader) {
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  std::vector<uid_t> uids;
  for (const auto& [text, at] : *list) {
    const auto uid = parse_whole(text, 0, 4294967294u);
    if (!uid)
      reader.error(*at,
                   fmt::format("{}: {}; user numbers were expected, as [0, 1000]", key, uid.error().message));
    else if (*uid == kOverflowUid)
      reader.error(*at, fmt::format("{}: {} is nobody, whom the kernel names for every user it cannot tell; "
                                    "it would let in others",
                                    key, *uid));
    else
      uids.push_back(static_cast<uid_t>(*uid));
  }
  if (uids.size() > kMostEntries) reader.error(node, fmt::format("{}: at most {}", key, kMostEntries));
  out.runtime_uids = std::move(uids);
}

std::string show_runtime_uids(const proxy::AccessSettings& access) {
  std::string list;
  for (const auto uid : access.runtime_uids) list += fmt::format("{}{}", list.empty() ? "" : ", ", uid);
  return "[" + list + "]";
}

void read_require_client(const YamlNode& node, std::string_view key, proxy::AccessSettings& out,
                         ConfigReader& reader) {
  const auto list = reader.texts(node, key, true);
  if (!list) return;
  out.require_client.clear();
  for (const auto& [text, at] : *list) {
    auto pattern = registry::Pattern::compile(text);
    if (!pattern)
      reader.error(*at, fmt::format("{}: {}", key, pattern.error().message));
    else
      out.require_client.push_back(std::move(*pattern));
  }
  if (out.require_client.size() > kMostEntries)
    reader.error(node, fmt::format("{}: at most {} patterns", key, kMostEntries));
}

std::string show_require_client(const proxy::AccessSettings& access) {
  std::string list;
  for (const auto& pattern : access.require_client)
    list += (list.empty() ? "" : ", ") + yaml_quoted(pattern.text());
  return "[" + list + "]";
}

}  // namespace layerd::daemon
