// The parts of a message between members that are not JSON: targets and headers (docs/peers.md "On the
// wire"). Pure; reading is bounded and strict, since it is somebody else's text.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/peers/messages.h"

namespace layerd::peers {

inline constexpr const char* kPeerHeader = "Layerd-Peer";      // who speaks: version, id, site
inline constexpr const char* kPathHeader = "Layerd-Path";      // ids, the nearest first
inline constexpr const char* kRightsHeader = "Layerd-Rights";  // unknown, open, node, client
inline constexpr std::string_view kPrefix = "/peer/v1/";
inline constexpr std::size_t kMostPath = 256;  // ids

// "1; id=10.1.2.3:5152; site=berlin"
struct Calling {
  unsigned version = kVersion;
  std::string id, site;  // of our version only
};
std::string text_of(const Calling& calling);
// Nothing: it is none. Of another version only the number is read.
std::optional<Calling> parse_calling(std::string_view text);

// "/peer/v1/blob?registry=…&repository=…&digest=…&unit=3&whole=0"
std::string blob_target(const UnitName& unit);
// Errors: invalid_request, naming the part.
Result<UnitName> parse_blob_target(std::string_view target);

// "bytes=0-8388607", and nothing else.
std::string range_text(ByteRange range);
std::optional<ByteRange> parse_range(std::string_view text);

std::string path_text(const std::vector<std::string>& ids);
// Nothing: an entry is no member id, or there are more than kMostPath.
std::optional<std::vector<std::string>> parse_path(std::string_view text);

// What is not known is `unknown`, which gives the fewest rights.
Rights parse_rights(std::string_view text);

}  // namespace layerd::peers
