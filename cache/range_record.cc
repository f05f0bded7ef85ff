#include "cache/range_record.h"

#include "cache/record.h"

namespace layerd::cache {
namespace {

constexpr std::uint8_t kBoot = 1, kSize = 2, kRanges = 3, kSynced = 4;

std::string framed(const std::string& payload) {
  std::string out;
  append_record(out, payload);
  return out;
}

struct Placed {
  ByteCount end;  // of its frame in the record
  std::vector<ByteRange> ranges;
};

// Keeps of `entries` what lies before `synced_end`.
void keep_synced(std::vector<Placed>& entries, ByteCount synced_end) {
  std::erase_if(entries, [&](const Placed& entry) { return entry.end > synced_end; });
}

}  // namespace

std::string boot_entry(const std::string& boot_id) {
  std::string payload;
  put_u8(payload, kBoot);
  put_text(payload, boot_id);
  return framed(payload);
}

std::string size_entry(ByteCount size) {
  std::string payload;
  put_u8(payload, kSize);
  put_u64(payload, size);
  return framed(payload);
}

std::string ranges_entry(const std::vector<ByteRange>& ranges) {
  std::string payload;
  put_u8(payload, kRanges);
  for (const auto& range : ranges) {
    put_u64(payload, range.first);
    put_u64(payload, range.end);
  }
  return framed(payload);
}

std::string synced_entry(ByteCount end) {
  std::string payload;
  put_u8(payload, kSynced);
  put_u64(payload, end);
  return framed(payload);
}

RangeRecord read_range_record(ByteView bytes, const std::string& boot_id) {
  RangeRecord record;
  RecordReader frames(bytes);
  std::vector<Placed> entries;
  std::string session;
  ByteCount synced_end = 0;
  while (auto payload = frames.next()) {
    FieldReader reader(*payload);
    const auto kind = reader.u8();
    if (kind == kBoot) {
      auto next = reader.text();
      if (next != session) keep_synced(entries, synced_end);
      session = std::move(next);
    } else if (kind == kSize) {
      const auto size = reader.u64();
      if (reader.ok()) record.size = size;
    } else if (kind == kSynced) {
      const auto end = reader.u64();
      if (reader.ok()) synced_end = std::max(synced_end, std::min<ByteCount>(end, frames.valid_end()));
    } else if (kind == kRanges) {
      Placed entry{frames.valid_end(), {}};
      while (reader.rest().size() >= 16) {
        const auto first = reader.u64();
        entry.ranges.push_back({first, reader.u64()});
      }
      entries.push_back(std::move(entry));
    }
  }
  record.needs_boot = session.empty() || session != boot_id;
  if (record.needs_boot) keep_synced(entries, synced_end);
  for (const auto& entry : entries)
    for (const auto& range : entry.ranges)
      if (!range.empty()) record.present.add(range);
  record.valid_end = frames.valid_end();
  return record;
}

}  // namespace layerd::cache
