// The record beside a partial file: which ranges of it are on disk (docs/formats.md "partial").
// Pure: bytes in, meaning out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/range_set.h"

namespace layerd::cache {

// Entries, ready to be appended.
std::string boot_entry(const std::string& boot_id);
std::string size_entry(ByteCount size);
std::string ranges_entry(const std::vector<ByteRange>& ranges);
// Everything in the record before offset `end` was synced, data first.
std::string synced_entry(ByteCount end);

struct RangeRecord {
  RangeSet present;  // what may be trusted
  std::optional<ByteCount> size;
  ByteCount valid_end = 0;  // where to append
  bool needs_boot = true;   // the last session was of another boot, or there is none
};

// boot_id: of the running kernel. Under another one only what was synced counts.
RangeRecord read_range_record(ByteView bytes, const std::string& boot_id);

}  // namespace layerd::cache
