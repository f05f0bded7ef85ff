// Many lists of members made one. Pure.
#pragma once

#include <string>
#include <vector>

#include "proxy/peers/own_id.h"

namespace layerd::peers {

struct SourceList {
  std::string source;       // for people
  bool is_by_hand = false;  // people who list "the others" mean themselves as well
  std::vector<Member> members;
};

struct Merged {
  std::vector<Member> members;  // at most kMostMembers, one for each id
  std::string self;             // our id; empty: not known
  std::vector<std::string> complaints;
};
// In the order given: where two disagree about a zone the first counts.
Merged merge_members(const std::vector<SourceList>& lists, const MembersSettings& settings,
                     const Machine& machine);

}  // namespace layerd::peers
