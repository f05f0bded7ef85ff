// A thin front of nlohmann-json: bounded size and depth, no exception comes out.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/result.h"

namespace layerd {

using Json = nlohmann::json;

struct JsonLimits {
  std::size_t bytes = 4u << 20;
  int depth = 32;
};

// Parses one document. Duplicate keys: the last counts (as Go does). Errors: invalid_request with
// the byte offset, line and column in the message.
Result<Json> parse_json(std::string_view text, JsonLimits limits = {});

// Typed look-ups that never throw: the default when absent or of another type.
std::string json_string(const Json& object, const char* key, std::string fallback = {});
std::int64_t json_int(const Json& object, const char* key, std::int64_t fallback = 0);
const Json* json_find(const Json& object, const char* key);  // nullptr if absent or not an object

// Serialised; bytes that are no UTF-8 are replaced.
std::string dump_json(const Json& value, int indent = -1);

}  // namespace layerd
