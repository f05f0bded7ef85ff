#include "proxy/peers/records.h"

#include <algorithm>

namespace layerd::peers {

void Records::tell(const std::string& from, const Tell::Have& have, TimePoint now) {
  auto at = peers_.find(from);
  if (at == peers_.end()) {
    if (peers_.size() >= settings_.peers) return;
    at = peers_.emplace(from, Peer{from, 0, 0}).first;
  }
  auto& peer = at->second;
  // What it said before falls with its round, and is swept away later.
  if (have.is_all) ++peer.round;
  for (const auto& digest : have.gone) remove(from, digest);
  for (const auto& digest : have.blobs) note(peer, digest, now);
}

void Records::note(Peer& peer, const Digest& digest, TimePoint now) {
  const auto found = holders_.find(digest);
  if (found != holders_.end()) {
    for (auto& holder : found->second)
      if (holder.peer == &peer) {
        holder.round = peer.round;
        holder.told = now;
        return;
      }
  }
  if (count_ >= settings_.records || peer.records >= settings_.records_per_peer) return;
  holders_[digest].push_back({&peer, peer.round, now});
  ++peer.records;
  ++count_;
}

std::vector<std::string> Records::holders(const Digest& digest, TimePoint now) const {
  const auto found = holders_.find(digest);
  if (found == holders_.end()) return {};
  auto holders = found->second;
  std::erase_if(holders, [&](const Holder& holder) { return !stands(holder, now); });
  std::stable_sort(holders.begin(), holders.end(),
                   [](const Holder& a, const Holder& b) { return a.told > b.told; });
  std::vector<std::string> ids;
  for (const auto& holder : holders) ids.push_back(holder.peer->id);
  return ids;
}

void Records::remove(const std::string& member, const Digest& digest) {
  const auto found = holders_.find(digest);
  if (found == holders_.end()) return;
  auto& holders = found->second;
  const auto at = std::find_if(holders.begin(), holders.end(),
                               [&member](const Holder& holder) { return holder.peer->id == member; });
  if (at == holders.end()) return;
  --at->peer->records;
  --count_;
  holders.erase(at);
  if (holders.empty()) holders_.erase(found);
}

void Records::sweep(TimePoint now) {
  for (auto at = holders_.begin(); at != holders_.end();) {
    auto& holders = at->second;
    std::erase_if(holders, [this, now](const Holder& holder) {
      if (stands(holder, now)) return false;
      --holder.peer->records;
      --count_;
      return true;
    });
    at = holders.empty() ? holders_.erase(at) : std::next(at);
  }
  std::erase_if(peers_, [](const auto& entry) { return entry.second.records == 0; });
}

}  // namespace layerd::peers
