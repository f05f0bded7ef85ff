#include "proxy/peers/message_fields.h"

#include <algorithm>
#include <array>

#include "proxy/net/address.h"
#include "proxy/registry/reference.h"

namespace layerd::peers {
namespace {

constexpr std::array<std::string_view, 4> kRights{"unknown", "open", "node", "client"};

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

}  // namespace

std::string_view word_of(Rights rights) { return kRights[static_cast<std::size_t>(rights)]; }

bool is_member_id(std::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  const auto parts = net::parse_host_port(text, 0);
  if (!parts || parts->port == 0) return false;
  const auto address = net::parse_address(parts->host, parts->port);
  return address && address->str() == text;
}

Fields::Fields(const Json& object) : object_(object) {
  if (!object_.is_object()) refuse("message", "is no object");
}

void Fields::refuse(const char* key, std::string_view why) {
  refuse(Error{Errc::upstream_protocol,
               "a member's message does not fit: " + std::string(key) + " " + std::string(why)});
}

void Fields::refuse(const Error& error) {
  if (!error_) error_ = error;
}

std::string Fields::text(const char* key, std::size_t most) {
  const Json* value = find(key);
  if (value == nullptr) return {};
  if (!value->is_string()) return refuse(key, "is no text"), std::string{};
  const auto& text = value->get_ref<const std::string&>();
  if (text.size() > most) return refuse(key, "is too long"), std::string{};
  if (!is_plain(text)) return refuse(key, "has characters that do not belong there"), std::string{};
  return text;
}

std::uint64_t Fields::number(const char* key, std::uint64_t most) {
  return find(key) == nullptr ? 0 : required_number(key, most);
}

std::uint64_t Fields::required_number(const char* key, std::uint64_t most) {
  const Json* value = find(key);
  if (value == nullptr) return refuse(key, "is missing"), 0;
  if (!value->is_number_unsigned()) return refuse(key, "is no whole number from 0 on"), 0;
  const auto number = value->get<std::uint64_t>();
  if (number > most) return refuse(key, "is too large"), 0;
  return number;
}

std::optional<ByteCount> Fields::size(const char* key) {
  if (find(key) == nullptr) return std::nullopt;
  return required_number(key, kMostBytes);
}

bool Fields::flag(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return false;
  if (!value->is_boolean()) return refuse(key, "is neither true nor false"), false;
  return value->get<bool>();
}

Duration Fields::milliseconds(const char* key) {
  using std::chrono::milliseconds;
  const auto most = std::chrono::duration_cast<milliseconds>(kMostWait).count();
  return milliseconds(number(key, static_cast<std::uint64_t>(most)));
}

Digest Fields::digest(const char* key) {
  const auto parsed = Digest::parse(text(key, 140));
  if (!parsed) return refuse(key, "is no digest"), Digest{};
  return *parsed;
}

std::optional<Digest> Fields::sha256(const char* key) {
  if (find(key) == nullptr) return std::nullopt;
  const auto parsed = Digest::parse("sha256:" + text(key, 64));
  if (!parsed) return refuse(key, "is no sha256"), std::nullopt;
  return *parsed;
}

std::string Fields::id(const char* key) {
  auto id = text(key, 64);
  if (!is_member_id(id)) return refuse(key, "is no numeric address with a port"), std::string{};
  return id;
}

std::vector<std::string> Fields::ids(const char* key, std::size_t most) {
  std::vector<std::string> ids;
  const Json* list = find(key);
  if (list == nullptr) return ids;
  if (!list->is_array()) return refuse(key, "is no list"), ids;
  if (list->size() > most) return refuse(key, "has too many entries"), ids;
  for (const auto& entry : *list) {
    if (!entry.is_string() || !is_member_id(entry.get_ref<const std::string&>())) {
      refuse(key, "has an entry that is no numeric address with a port");
      return {};
    }
    ids.push_back(entry.get<std::string>());
  }
  return ids;
}

std::vector<Digest> Fields::digests(const char* key, std::size_t most) {
  std::vector<Digest> digests;
  const Json* list = find(key);
  if (list == nullptr) return digests;
  if (!list->is_array()) return refuse(key, "is no list"), digests;
  if (list->size() > most) return refuse(key, "has too many entries"), digests;
  for (const auto& entry : *list) {
    const auto parsed = entry.is_string() ? Digest::parse(entry.get_ref<const std::string&>())
                                          : Result<Digest>(Errc::invalid_request, "no text");
    if (!parsed) return refuse(key, "has an entry that is no digest"), std::vector<Digest>{};
    digests.push_back(*parsed);
  }
  return digests;
}

std::vector<Digest> Fields::hashes(const char* key, std::size_t most) {
  const auto hex = text(key, most * 64);
  std::vector<Digest> hashes;
  for (std::size_t at = 0; at < hex.size(); at += 64) {
    const auto parsed = Digest::parse("sha256:" + hex.substr(at, 64));
    if (!parsed) return refuse(key, "is no row of sha256"), std::vector<Digest>{};
    hashes.push_back(*parsed);
  }
  return hashes;
}

Rights Fields::rights(const char* key) {
  const auto word = text(key, 16);
  if (word.empty()) return Rights::unknown;
  const auto* found = std::find(kRights.begin(), kRights.end(), word);
  if (found == kRights.end()) return refuse(key, "is no class of repositories"), Rights::unknown;
  return static_cast<Rights>(found - kRights.begin());
}

std::string Fields::registry() {
  const auto name = registry::parse_registry_name(text("registry", registry::kMostNameBytes));
  if (!name) return refuse("registry", "is no name of a registry"), std::string{};
  return name->text;
}

std::string Fields::repository() {
  auto name = text("repository", registry::kMostNameBytes);
  if (!registry::check_repository(name))
    return refuse("repository", "is no name of a repository"), std::string{};
  return name;
}

BlobName Fields::blob() { return {registry(), repository(), digest("digest")}; }

UnitName Fields::unit() {
  UnitName unit{blob(), static_cast<std::uint32_t>(required_number("unit", kMostUnit)), flag("whole")};
  if (unit.whole && unit.unit != 0) refuse("unit", "of a whole blob is 0 and nothing else");
  return unit;
}

const Json* Fields::object(const char* key) { return find(key); }

std::vector<const Json*> Fields::objects(const char* key, std::size_t most) {
  std::vector<const Json*> objects;
  const Json* list = find(key);
  if (list == nullptr) return objects;
  if (!list->is_array()) return refuse(key, "is no list"), objects;
  if (list->size() > most) return refuse(key, "has too many entries"), objects;
  for (const auto& entry : *list) objects.push_back(&entry);
  return objects;
}

}  // namespace layerd::peers
