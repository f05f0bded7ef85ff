// The tables of the index and one change to them (docs/formats.md "Index"). Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "runtime/bytes.h"

namespace layerd::cache {

// Numbers are on disk: never reuse one.
enum class Table : std::uint8_t {
  blobs = 0,         // digest -> size, identity of the file, last use, pin
  by_use = 1,        // last use (big endian) + digest -> nothing; oldest first
  tags = 2,          // journaled
  manifests = 3,     // journaled
  links = 4,         // journaled
  repositories = 5,  // journaled
  grants = 6,        // journaled
  pins = 7,          // journaled
  units = 8,         // digest -> sha256 of each 8 MiB
  partials = 9,      // digest -> bytes, last use
  meta = 10,         // totals, progress of the scrub and of a rebuild, place in the journal
};
inline constexpr std::size_t kTableCount = 11;
inline constexpr std::array<const char*, kTableCount> kTableNames = {
    "blobs",  "by_use", "tags",  "manifests", "links", "repositories",
    "grants", "pins",   "units", "partials",  "meta"};

// What the files themselves cannot tell goes to the journal as well.
constexpr bool is_journaled(Table table) { return table >= Table::tags && table <= Table::pins; }

struct IndexChange {
  Table table = Table::meta;
  std::string key;                   // 1..kMostKeyBytes
  std::optional<std::string> value;  // nothing: removed
};

inline constexpr std::size_t kMostKeyBytes = 480;  // LMDB's own bound is 511
inline constexpr std::uint8_t kValueFormat = 1;

}  // namespace layerd::cache
