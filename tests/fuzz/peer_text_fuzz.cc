// What members say beside JSON: greetings, who speaks, targets, ranges, paths, and the lines of a file of
// secrets. The first byte says which, the rest is the text. What is accepted is written and read again as the
// same.
#include <cstdint>

#include "proxy/net/peer_card.h"
#include "proxy/net/peer_secret.h"
#include "proxy/peers/peer_text.h"
#include "runtime/check.h"

using namespace layerd;
using namespace layerd::peers;

namespace {

void read_greeting(std::string_view text) {
  const auto greeting = net::parse_greeting(text);
  if (!greeting) return;
  LAYERD_CHECK(net::is_member_id(greeting->id) && net::is_site_name(greeting->site));
  const auto again = net::parse_greeting(net::text_of(*greeting));
  LAYERD_CHECK(again && again->id == greeting->id && again->version == greeting->version);
}

void read_calling(std::string_view text) {
  const auto calling = parse_calling(text);
  if (!calling || calling->version != kVersion) return;
  const auto again = parse_calling(text_of(*calling));
  LAYERD_CHECK(again && again->id == calling->id && again->site == calling->site);
}

void read_target(std::string_view text) {
  const auto unit = parse_blob_target(text);
  if (!unit) return;
  const auto again = parse_blob_target(blob_target(*unit));
  LAYERD_CHECK(again && again->blob.key() == unit->blob.key() && again->unit == unit->unit);
}

void read_header(std::string_view text) {
  if (const auto range = parse_range(text)) LAYERD_CHECK(parse_range(range_text(*range)) == range);
  if (const auto path = parse_path(text))
    LAYERD_CHECK(path->size() <= kMostPath && parse_path(path_text(*path)) == path);
  static_cast<void>(parse_rights(text));
}

void read_secrets(std::string_view text) {
  const auto secrets = net::PeerSecret::parse_all(text);
  LAYERD_CHECK(!secrets || (!secrets->empty() && secrets->size() <= net::PeerSecret::kMostSecrets));
}

void read_pattern(std::string_view text) {
  const auto cut = std::min(text.find('\n'), text.size());
  const std::string pattern(text.substr(0, cut));
  if (net::check_name_pattern(pattern)) static_cast<void>(net::fits_any({pattern}, text.substr(cut)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  constexpr void (*kReaders[])(std::string_view) = {read_greeting, read_calling, read_target,
                                                    read_header,   read_secrets, read_pattern};
  kReaders[data[0] % std::size(kReaders)](text);
  return 0;
}
