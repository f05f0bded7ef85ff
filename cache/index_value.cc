#include "cache/index_value.h"

#include "cache/record.h"

namespace layerd::cache {
namespace {

std::uint32_t sum_of(Table table, ByteView key, ByteView payload) {
  std::string covered;
  covered.reserve(9 + key.size() + payload.size());
  put_u8(covered, static_cast<std::uint8_t>(table));
  put_text(covered, key);
  covered.append(payload);
  return checksum32(covered);
}

}  // namespace

std::string seal_value(Table table, ByteView key, ByteView payload) {
  std::string sealed;
  sealed.reserve(5 + payload.size());
  put_u8(sealed, kValueFormat);
  put_u32(sealed, sum_of(table, key, payload));
  sealed.append(payload);
  return sealed;
}

std::optional<ByteView> open_value(Table table, ByteView key, ByteView sealed) {
  FieldReader reader(sealed);
  const auto format = reader.u8();
  const auto sum = reader.u32();
  if (!reader.ok() || format != kValueFormat || sum != sum_of(table, key, reader.rest())) return std::nullopt;
  return reader.rest();
}

}  // namespace layerd::cache
