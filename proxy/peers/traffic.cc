#include "proxy/peers/traffic.h"

namespace layerd::peers {

MemberTrafficPtr Traffic::of(const std::string& id) {
  auto& member = members_[id];
  if (member) return member;
  const auto made = member = std::make_shared<MemberTraffic>();
  made->id = id;
  if (members_.size() > kMost)
    std::erase_if(members_,
                  [&made](const auto& one) { return one.second != made && one.second.use_count() == 1; });
  return made;
}

std::vector<MemberTrafficPtr> Traffic::all() const {
  std::vector<MemberTrafficPtr> list;
  for (const auto& [id, member] : members_) list.push_back(member);
  return list;
}

}  // namespace layerd::peers
