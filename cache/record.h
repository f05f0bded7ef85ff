// Our own records: fixed-width fields, and frames with marker, length and checksum for files that
// are appended to (docs/formats.md "Records"). Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "runtime/bytes.h"
#include "runtime/digest.h"

namespace layerd::cache {

// Fields, little endian; a text is its length (u32) and its bytes.
void put_u8(std::string& out, std::uint8_t value);
void put_u32(std::string& out, std::uint32_t value);
void put_u64(std::string& out, std::uint64_t value);
void put_text(std::string& out, ByteView text);
// Big endian, so that keys sort by value.
void put_key_u64(std::string& out, std::uint64_t value);
// One byte for the algorithm and the raw digest.
std::string digest_key(const Digest& digest);
std::optional<Digest> digest_from_key(ByteView key);

// Takes fields off the front. After the first that is missing ok() is false and all are zero.
class FieldReader {
 public:
  explicit FieldReader(ByteView bytes) : left_(bytes) {}
  std::uint8_t u8();
  std::uint32_t u32();
  std::uint64_t u64();
  std::uint64_t key_u64();
  std::string text();
  bool ok() const { return ok_; }
  ByteView rest() const { return left_; }

 private:
  ByteView take(std::size_t size);
  ByteView left_;
  bool ok_ = true;
};

inline constexpr std::size_t kMostRecordBytes = 1u << 20;
void append_record(std::string& out, ByteView payload);

// Walks over the frames of a file's bytes. A damaged frame is skipped to the next whole one.
class RecordReader {
 public:
  explicit RecordReader(ByteView bytes) : bytes_(bytes) {}
  std::optional<ByteView> next();
  std::size_t valid_end() const { return valid_end_; }  // just behind the last whole frame
  std::size_t skipped() const { return skipped_; }      // damaged bytes before valid_end()

 private:
  std::optional<ByteView> frame_at(std::size_t position) const;
  ByteView bytes_;
  std::size_t valid_end_ = 0;
  std::size_t skipped_ = 0;
};

}  // namespace layerd::cache
