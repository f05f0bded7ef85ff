#include "proxy/peers/member.h"

#include <algorithm>

namespace layerd::peers {

MemberList::MemberList(std::vector<Member> members, std::string self)
    : members_(std::move(members)), self_(std::move(self)) {
  std::stable_sort(members_.begin(), members_.end(),
                   [](const Member& a, const Member& b) { return a.id < b.id; });
  members_.erase(std::unique(members_.begin(), members_.end(),
                             [](const Member& a, const Member& b) { return a.id == b.id; }),
                 members_.end());
}

const Member* MemberList::find(std::string_view id) const {
  const auto at =
      std::lower_bound(members_.begin(), members_.end(), id,
                       [](const Member& member, std::string_view wanted) { return member.id < wanted; });
  return at != members_.end() && at->id == id ? &*at : nullptr;
}

}  // namespace layerd::peers
