#include "proxy/peers/peer_text.h"

#include "proxy/peers/message_fields.h"

#include <fmt/core.h>

#include <limits>
#include <map>

#include "proxy/net/peer_card.h"
#include "proxy/registry/reference.h"
#include "proxy/registry/text.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kMostTarget = 2048;
constexpr std::string_view kBlob = "/peer/v1/blob?";
constexpr std::string_view kWords[] = {"unknown", "open", "node", "client"};

Error bad(std::string message) { return {Errc::invalid_request, std::move(message)}; }

using Query = std::map<std::string, std::string, std::less<>>;

Result<Query> parse_query(std::string_view text) {
  Query query;
  for (const std::string_view part : registry::split(text, '&')) {
    const auto equals = part.find('=');
    if (equals == std::string_view::npos) return bad("a part of the query has no value");
    auto value = registry::percent_decode(part.substr(equals + 1));
    if (!value) return bad("a value of the query is not encoded as it should be");
    if (!query.emplace(part.substr(0, equals), std::move(*value)).second)
      return bad("a part of the query stands there twice");
  }
  return query;
}

std::string take(Query& query, std::string_view name) {
  const auto found = query.find(name);
  return found == query.end() ? std::string() : found->second;
}

}  // namespace

std::string text_of(const Calling& calling) {
  return fmt::format("{}; id={}; site={}", calling.version, calling.id, calling.site);
}

std::optional<Calling> parse_calling(std::string_view text) {
  if (text.size() > 512) return std::nullopt;
  const auto parts = registry::split(text, ';');
  const auto version = registry::parse_digits(registry::trim(parts.front()));
  if (!version || *version == 0 || *version > 9999) return std::nullopt;
  Calling calling;
  calling.version = static_cast<unsigned>(*version);
  if (calling.version != kVersion) return calling;
  for (const std::string_view raw : parts) {
    const std::string_view part = registry::trim(raw);
    if (part.starts_with("id=")) calling.id = part.substr(3);
    if (part.starts_with("site=")) calling.site = part.substr(5);
  }
  if (!net::is_member_id(calling.id) || !net::is_site_name(calling.site)) return std::nullopt;
  return calling;
}

std::string blob_target(const UnitName& unit) {
  return fmt::format("{}registry={}&repository={}&digest={}&unit={}&whole={}", kBlob,
                     registry::percent_encode(unit.blob.registry),
                     registry::percent_encode(unit.blob.repository), unit.blob.digest.str(), unit.unit,
                     unit.whole ? 1 : 0);
}

Result<UnitName> parse_blob_target(std::string_view target) {
  if (!target.starts_with(kBlob) || target.size() > kMostTarget) return bad("no blob is asked for");
  auto query = parse_query(target.substr(kBlob.size()));
  if (!query) return std::move(query).error();
  UnitName unit;
  const auto registry = registry::parse_registry_name(take(*query, "registry"));
  if (!registry) return bad("registry: " + registry.error().message);
  unit.blob.registry = take(*query, "registry");
  unit.blob.repository = take(*query, "repository");
  if (const auto checked = registry::check_repository(unit.blob.repository); !checked)
    return bad("repository: " + checked.error().message);
  const auto digest = registry::parse_digest(take(*query, "digest"));
  if (!digest) return bad("digest: " + digest.error().message);
  unit.blob.digest = *digest;
  const auto number = registry::parse_digits(take(*query, "unit"));
  if (!number || *number > kMostUnit) return bad("unit: no number of a unit");
  unit.unit = static_cast<std::uint32_t>(*number);
  const std::string whole = take(*query, "whole");
  if (whole != "0" && whole != "1") return bad("whole: 0 or 1");
  unit.whole = whole == "1";
  if (unit.whole && unit.unit != 0) return bad("unit: a blob that is one unit has only number 0");
  return unit;
}

std::string range_text(ByteRange range) { return fmt::format("bytes={}-{}", range.first, range.end - 1); }

std::optional<ByteRange> parse_range(std::string_view text) {
  constexpr std::string_view kUnitWord = "bytes=";
  if (!text.starts_with(kUnitWord)) return std::nullopt;
  text.remove_prefix(kUnitWord.size());
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = registry::parse_digits(text.substr(0, dash));
  const auto last = registry::parse_digits(text.substr(dash + 1));
  if (!first || !last || *first > *last || *last == std::numeric_limits<std::uint64_t>::max())
    return std::nullopt;
  return ByteRange{*first, *last + 1};
}

std::string path_text(const std::vector<std::string>& ids) {
  std::string text;
  for (const std::string& id : ids) text += (text.empty() ? "" : ", ") + id;
  return text;
}

std::optional<std::vector<std::string>> parse_path(std::string_view text) {
  std::vector<std::string> ids;
  if (registry::trim(text).empty()) return ids;
  for (const std::string_view raw : registry::split(text, ',')) {
    const std::string_view id = registry::trim(raw);
    if (!net::is_member_id(id) || ids.size() == kMostPath) return std::nullopt;
    ids.emplace_back(id);
  }
  return ids;
}

Rights parse_rights(std::string_view text) {
  for (std::size_t i = 0; i < std::size(kWords); ++i)
    if (kWords[i] == text) return static_cast<Rights>(i);
  return Rights::unknown;
}

}  // namespace layerd::peers
