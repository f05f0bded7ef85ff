// How a value of the index is wrapped: format byte, checksum over table, key and payload. Pure.
#pragma once

#include <optional>
#include <string>

#include "cache/index_table.h"

namespace layerd::cache {

std::string seal_value(Table table, ByteView key, ByteView payload);
// Nothing if the format is unknown or the checksum does not match.
std::optional<ByteView> open_value(Table table, ByteView key, ByteView sealed);

}  // namespace layerd::cache
