#include "proxy/peers/rendezvous.h"

#include <algorithm>

namespace layerd::peers {
namespace {

std::uint64_t first_eight(ByteView bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// The finaliser of SplitMix64: every bit of the input reaches every bit of the output.
std::uint64_t mix(std::uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ value >> 27) * 0x94d049bb133111ebull;
  return value ^ value >> 31;
}

}  // namespace

std::uint64_t member_hash(std::string_view id) {
  return first_eight(digest_of(DigestAlgorithm::sha256, id).raw());
}

std::uint64_t unit_hash(const Digest& digest, std::uint32_t unit) {
  return mix(first_eight(digest.raw()) + (std::uint64_t{unit} + 1) * 0x9e3779b97f4a7c15ull);
}

std::uint64_t weight(std::uint64_t member, std::uint64_t unit) { return mix(member ^ unit); }

Ranking::Ranking(MemberListPtr members) : members_(std::move(members)) {
  hashes_.reserve(members_->all().size());
  for (const auto& member : members_->all()) hashes_.push_back(member_hash(member.id));
}

std::vector<const Member*> Ranking::first(const Digest& digest, std::uint32_t unit, std::size_t most) const {
  struct Weighed {
    std::uint64_t weight;
    std::size_t index;
  };
  const auto key = unit_hash(digest, unit);
  // Members stand in order of their ids, so of equal weights the earlier index is the smaller id.
  const auto better = [](const Weighed& a, const Weighed& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.index < b.index;
  };
  std::vector<Weighed> best;  // few, in order
  for (std::size_t i = 0; i < hashes_.size(); ++i) {
    const Weighed next{weight(hashes_[i], key), i};
    if (best.size() == most && (most == 0 || !better(next, best.back()))) continue;
    best.insert(std::upper_bound(best.begin(), best.end(), next, better), next);
    if (best.size() > most) best.pop_back();
  }
  std::vector<const Member*> members;
  for (const auto& one : best) members.push_back(&members_->all()[one.index]);
  return members;
}

}  // namespace layerd::peers
