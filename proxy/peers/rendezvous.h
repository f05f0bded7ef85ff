// Rendezvous hashing: which member coordinates a unit. Every node works it out for itself from its own list;
// a member that comes or goes moves only its own share. docs/peers.md "The hash" describes it for a second
// implementation. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/peers/member.h"
#include "proxy/peers/messages.h"
#include "runtime/digest.h"

namespace layerd::peers {

// What stands for the whole blob where its records are kept: no unit has this number.
inline constexpr std::uint32_t kRecords = 0xffffffff;
inline constexpr std::size_t kKeepers = 2;      // of a blob's records
inline constexpr std::size_t kMostKeepers = 8;  // ranks that are looked at to find them among the living

// The first 8 bytes of sha256(id), the most significant first.
std::uint64_t member_hash(std::string_view id);
// The first 8 bytes of the digest, the most significant first, and the number of the unit, mixed.
std::uint64_t unit_hash(const Digest& digest, std::uint32_t unit);
// Of two members the one with the greater weight comes first; of equal ones the smaller id.
std::uint64_t weight(std::uint64_t member, std::uint64_t unit);

// A list and the hashes of its members. Immutable; swapped with the list.
class Ranking {
 public:
  Ranking() : Ranking(std::make_shared<const MemberList>()) {}
  explicit Ranking(MemberListPtr members);

  // The first `most` members for a unit, the best first.
  std::vector<const Member*> first(const Digest& digest, std::uint32_t unit, std::size_t most) const;
  const MemberList& members() const { return *members_; }
  const MemberListPtr& list() const { return members_; }

 private:
  MemberListPtr members_;
  std::vector<std::uint64_t> hashes_;  // of members_->all(), in its order
};

}  // namespace layerd::peers
