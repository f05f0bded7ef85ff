#include "proxy/peers/merge_members.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "proxy/net/address.h"

namespace layerd::peers {
namespace {

constexpr std::size_t kMostZoneComplaints = 10;

class Merger {
 public:
  void add(Member member, const std::string& source) {
    const auto [place, is_new] = places_.emplace(member.id, members_.size());
    if (is_new) {
      if (members_.size() >= kMostMembers) {
        places_.erase(place);
        ++too_many_;
        return;
      }
      if (member.sources.empty()) member.sources = {source};
      members_.push_back(std::move(member));
      return;
    }
    Member& known = members_[place->second];
    if (known.zone.empty())
      known.zone = member.zone;
    else if (!member.zone.empty() && member.zone != known.zone)
      note_zone(known, member.zone, source);
    if (known.name.empty()) known.name = member.name;
    if (std::find(known.sources.begin(), known.sources.end(), source) == known.sources.end())
      known.sources.push_back(source);
  }
  Merged take() {
    if (more_zones_ > 0) complaints_.push_back(fmt::format("and {} more members in two zones", more_zones_));
    if (too_many_ > 0)
      complaints_.push_back(
          fmt::format("{} members are listed, {} are taken", members_.size() + too_many_, members_.size()));
    return {std::move(members_), "", std::move(complaints_)};
  }

 private:
  void note_zone(const Member& known, const std::string& zone, const std::string& source) {
    if (complaints_.size() >= kMostZoneComplaints) {
      ++more_zones_;
      return;
    }
    complaints_.push_back(fmt::format("{} is in zone {} by {} and in zone {} by {}; the first counts",
                                      known.id, known.zone, known.sources.front(), zone, source));
  }

  std::vector<Member> members_;
  std::map<std::string, std::size_t> places_;
  std::vector<std::string> complaints_;
  std::size_t too_many_ = 0, more_zones_ = 0;
};

// This node as it knows itself: its zone, and its place among those whom people listed.
void put_ourselves_right(Merged& merged, const MembersSettings& settings, bool is_by_hand) {
  if (merged.self.empty()) return;
  const auto ours = std::find_if(merged.members.begin(), merged.members.end(),
                                 [&](const Member& member) { return member.id == merged.self; });
  if (ours == merged.members.end()) {
    if (!is_by_hand) return;
    auto parsed = net::parse_host_port(merged.self, 0);
    auto address = parsed ? net::parse_address(parsed->host, parsed->port) : std::nullopt;
    if (!address) return;
    Member member;
    member.id = merged.self;
    member.address = std::move(*address);
    member.zone = settings.zone;
    member.sources = {"this node"};
    merged.members.push_back(std::move(member));
    return;
  }
  if (settings.zone.empty()) return;
  if (!ours->zone.empty() && ours->zone != settings.zone)
    merged.complaints.push_back(
        fmt::format("this node is in zone {} by peers.zone and in zone {} by {}; the "
                    "first counts here, the other one elsewhere",
                    settings.zone, ours->zone, ours->sources.front()));
  ours->zone = settings.zone;
}

}  // namespace

Merged merge_members(const std::vector<SourceList>& lists, const MembersSettings& settings,
                     const Machine& machine) {
  Merger merger;
  bool is_by_hand = false;
  for (const SourceList& list : lists) {
    is_by_hand |= list.is_by_hand && !list.members.empty();
    for (const Member& member : list.members) merger.add(member, list.source);
  }
  Merged merged = merger.take();
  OwnId own = find_own_id(settings, machine, merged.members);
  // Entries that turned out to be this node are one.
  Merger again;
  for (Member& member : merged.members) {
    const std::string source = member.sources.front();
    again.add(std::move(member), source);
  }
  Merged final = again.take();
  final.self = std::move(own.id);
  final.complaints.insert(final.complaints.begin(), merged.complaints.begin(), merged.complaints.end());
  final.complaints.insert(final.complaints.end(), own.complaints.begin(), own.complaints.end());
  put_ourselves_right(final, settings, is_by_hand);
  return final;
}

}  // namespace layerd::peers
