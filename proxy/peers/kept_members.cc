#include "proxy/peers/kept_members.h"

#include <cerrno>

#include "proxy/net/address.h"
#include "proxy/peers/member_lines.h"
#include "proxy/peers/member_source.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/log.h"

namespace layerd::peers {
namespace {

constexpr int kVersion = 1;
constexpr std::size_t kMostBytes = 8u << 20;
constexpr std::size_t kMostSources = 16;

std::optional<Member> member_of(const Json& row) {
  const auto parsed = net::parse_host_port(json_string(row, "id"), 0);
  if (!parsed || parsed->port == 0) return std::nullopt;
  auto address = net::parse_address(parsed->host, parsed->port);
  const std::string zone = json_string(row, "zone");
  if (!address || (!zone.empty() && !is_zone_name(zone))) return std::nullopt;
  return member_at(std::move(*address), zone, printable(json_string(row, "name"), 260));
}

}  // namespace

std::string kept_text(const std::string& site, const std::vector<KeptList>& lists) {
  Json sources = Json::array();
  for (const KeptList& list : lists) {
    Json members = Json::array();
    for (const Member& member : list.members) {
      Json row = {{"id", member.id}};
      if (!member.zone.empty()) row["zone"] = member.zone;
      if (!member.name.empty()) row["name"] = member.name;
      members.push_back(std::move(row));
    }
    sources.push_back({{"source", list.source}, {"of", list.of}, {"members", std::move(members)}});
  }
  return dump_json({{"version", kVersion}, {"site", site}, {"sources", std::move(sources)}}) + "\n";
}

Result<std::vector<KeptList>> parse_kept(std::string_view text, const std::string& site) {
  const auto document = parse_json(text, {kMostBytes, 8});
  if (!document) return {Errc::config, document.error().message};
  if (json_int(*document, "version") != kVersion) return {Errc::config, "another version of layerd wrote it"};
  std::vector<KeptList> lists;
  const Json* sources = json_find(*document, "sources");
  if (json_string(*document, "site") != site || !sources || !sources->is_array()) return lists;
  for (const Json& source : *sources) {
    const Json* members = json_find(source, "members");
    if (!members || !members->is_array() || lists.size() >= kMostSources) continue;
    KeptList list{json_string(source, "source"), json_string(source, "of"), {}};
    for (const Json& row : *members) {
      if (list.members.size() >= kMostMembers) break;
      if (auto member = member_of(row)) list.members.push_back(std::move(*member));
    }
    lists.push_back(std::move(list));
  }
  return lists;
}

Result<std::vector<KeptList>> load_kept(const std::string& path, const std::string& site) {
  auto text = read_file(path, kMostBytes);
  if (!text && text.error().sys_errno == ENOENT) return std::vector<KeptList>{};
  if (!text) return std::move(text).error();
  return parse_kept(*text, site);
}

}  // namespace layerd::peers
