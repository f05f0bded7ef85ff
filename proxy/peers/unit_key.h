// What a unit is found by in tables: the bytes, whatever repository they were asked for in.
#pragma once

#include "proxy/peers/messages.h"

namespace layerd::peers {

struct UnitKey {
  Digest digest;
  std::uint32_t unit = 0;
  bool whole = false;
  bool operator==(const UnitKey&) const = default;
};
inline UnitKey key_of(const UnitName& name) { return {name.blob.digest, name.unit, name.whole}; }

struct UnitKeyHash {
  std::size_t operator()(const UnitKey& key) const noexcept {
    return std::hash<Digest>()(key.digest) ^ (std::size_t{key.unit} * 2 + key.whole) * 0x9e3779b97f4a7c15ull;
  }
};

// The bytes of a unit, as far as they are known: the end of the last one needs the blob's size.
inline ByteRange range_of(const UnitName& name, std::optional<ByteCount> total) {
  if (name.whole) return {0, total.value_or(ByteCount{1} << 50)};
  const ByteRange range{name.unit * kUnit, (ByteCount{name.unit} + 1) * kUnit};
  return total ? ByteRange{std::min(range.first, *total), std::min(range.end, *total)} : range;
}

}  // namespace layerd::peers
