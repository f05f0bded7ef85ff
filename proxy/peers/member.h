// Member: one node of the site; MemberList: those that the hash runs over. Plain values; a list never
// changes, it is replaced whole. Nobody has to agree on it: two nodes with other lists cost bytes, never a
// pull (docs/peers.md, "Redirects").
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/stream.h"

namespace layerd::peers {

struct Member {
  std::string id;        // "10.1.2.3:5152", "[fd00::1]:5152": numeric address and port; what the hash names
  net::Address address;  // the same
  std::string zone;      // inside the site; empty: none
  std::string name;      // for people: as it was listed, or the node's name; may be empty
  std::vector<std::string> sources;  // who listed it, for people: "peers.members", "kubernetes"
  bool operator==(const Member& other) const {
    return id == other.id && zone == other.zone && name == other.name && sources == other.sources;
  }
};

class MemberList {
 public:
  MemberList() = default;
  // Sorted by id here; of two with one id the first stays. self: our own id, whether it is listed or not.
  MemberList(std::vector<Member> members, std::string self);

  const std::vector<Member>& all() const { return members_; }
  const Member* find(std::string_view id) const;
  const std::string& self() const { return self_; }
  bool lists_us() const { return find(self_) != nullptr; }
  // Others than ourselves.
  std::size_t others() const { return members_.size() - (lists_us() ? 1 : 0); }

 private:
  std::vector<Member> members_;
  std::string self_;
};
using MemberListPtr = std::shared_ptr<const MemberList>;

}  // namespace layerd::peers
