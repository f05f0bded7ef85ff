#include "cache/record.h"

namespace layerd::cache {
namespace {

constexpr ByteView kMarker("LyR1", 4);
constexpr std::size_t kHead = 12;

template <class T>
void put_little(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

template <class T>
T take_little(ByteView bytes) {
  T value = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    value |= static_cast<T>(static_cast<T>(static_cast<unsigned char>(bytes[i])) << (8 * i));
  return value;
}

}  // namespace

void put_u8(std::string& out, std::uint8_t value) { out.push_back(static_cast<char>(value)); }
void put_u32(std::string& out, std::uint32_t value) { put_little(out, value); }
void put_u64(std::string& out, std::uint64_t value) { put_little(out, value); }

void put_text(std::string& out, ByteView text) {
  put_u32(out, static_cast<std::uint32_t>(text.size()));
  out.append(text);
}

void put_key_u64(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

std::string digest_key(const Digest& digest) {
  std::string key(1, static_cast<char>(digest.algorithm()));
  key.append(digest.raw());
  return key;
}

std::optional<Digest> digest_from_key(ByteView key) {
  if (key.size() == 33 && key[0] == static_cast<char>(DigestAlgorithm::sha256))
    return Digest::from_raw(DigestAlgorithm::sha256, key.substr(1));
  if (key.size() == 65 && key[0] == static_cast<char>(DigestAlgorithm::sha512))
    return Digest::from_raw(DigestAlgorithm::sha512, key.substr(1));
  return std::nullopt;
}

ByteView FieldReader::take(std::size_t size) {
  if (!ok_ || left_.size() < size) {
    ok_ = false;
    return {};
  }
  const ByteView taken = left_.substr(0, size);
  left_.remove_prefix(size);
  return taken;
}

std::uint8_t FieldReader::u8() { return take_little<std::uint8_t>(take(1)); }
std::uint32_t FieldReader::u32() { return take_little<std::uint32_t>(take(4)); }
std::uint64_t FieldReader::u64() { return take_little<std::uint64_t>(take(8)); }

std::uint64_t FieldReader::key_u64() {
  std::uint64_t value = 0;
  for (const char c : take(8)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string FieldReader::text() {
  const auto size = u32();
  return std::string(take(size));
}

void append_record(std::string& out, ByteView payload) {
  out.append(kMarker);
  put_u32(out, static_cast<std::uint32_t>(payload.size()));
  put_u32(out, checksum32(payload));
  out.append(payload);
}

std::optional<ByteView> RecordReader::frame_at(std::size_t position) const {
  if (position > bytes_.size() || bytes_.size() - position < kHead) return std::nullopt;
  FieldReader head(bytes_.substr(position + kMarker.size(), 8));
  const auto size = head.u32();
  const auto sum = head.u32();
  if (bytes_.substr(position, kMarker.size()) != kMarker || size > kMostRecordBytes) return std::nullopt;
  if (bytes_.size() - position - kHead < size) return std::nullopt;
  const ByteView payload = bytes_.substr(position + kHead, size);
  if (checksum32(payload) != sum) return std::nullopt;
  return payload;
}

std::optional<ByteView> RecordReader::next() {
  std::size_t position = valid_end_;
  while (position != ByteView::npos && position < bytes_.size()) {
    if (auto payload = frame_at(position)) {
      skipped_ += position - valid_end_;
      valid_end_ = position + kHead + payload->size();
      return payload;
    }
    position = bytes_.find(kMarker, position + 1);
  }
  return std::nullopt;
}

}  // namespace layerd::cache
