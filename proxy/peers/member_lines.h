// Members as people write them down: one entry of `peers.members`, one line of `peers.members_file`.
//
//   n1.site:5152            name or numeric address; without a port the default one
//   [fd00::1]:5152 rack-2   a zone behind it, as one word
//   # a comment             also behind an entry; empty lines count for nothing
//
// Pure, any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/peers/members_settings.h"
#include "runtime/result.h"

namespace layerd::peers {

inline constexpr std::size_t kMostMembersFile = 1u << 20;  // bytes
inline constexpr std::size_t kMostZone = 63;

// Errors: config; the sentence says what is wrong with `text`.
Result<ListedMember> parse_member(std::string_view text, std::uint16_t default_port);

// A zone or a site: letters, digits and "-_.", 1 to kMostZone of them.
bool is_zone_name(std::string_view text);

struct MemberLines {
  std::vector<ListedMember> members;    // at most kMostMembers
  std::vector<std::string> complaints;  // "line 3: …"; at most 20, the last says how many more there are
};
MemberLines parse_member_lines(std::string_view text, std::uint16_t default_port);

}  // namespace layerd::peers
