#include "runtime/json.h"

#include <algorithm>

namespace layerd {
namespace {

// The depth of the document as written, counted without building it: nesting bombs end here.
bool too_deep(std::string_view text, int most) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') {
      if (++depth > most) return true;
    }
    if (c == ']' || c == '}') --depth;
  }
  return false;
}

// "byte 17 (line 2, column 5)"
std::string place_of(std::string_view text, std::size_t byte) {
  const auto before = text.substr(0, byte > 0 ? byte - 1 : 0);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto line_begin = before.rfind('\n');
  const auto column = before.size() - (line_begin == std::string_view::npos ? 0 : line_begin + 1) + 1;
  return "byte " + std::to_string(byte) + " (line " + std::to_string(line) + ", column " +
         std::to_string(column) + ")";
}

}  // namespace

Result<Json> parse_json(std::string_view text, JsonLimits limits) {
  if (text.size() > limits.bytes)
    return {Errc::invalid_request, "JSON of " + std::to_string(text.size()) + " bytes, at most " +
                                       std::to_string(limits.bytes) + " are taken"};
  if (too_deep(text, limits.depth))
    return {Errc::invalid_request, "JSON nested deeper than " + std::to_string(limits.depth) + " levels"};
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& failure) {
    return {Errc::invalid_request, "no JSON: broken at " + place_of(text, failure.byte)};
  } catch (const Json::exception&) {
    return {Errc::invalid_request, "no JSON: a value is out of range"};
  }
}

const Json* json_find(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string json_string(const Json& object, const char* key, std::string fallback) {
  const Json* value = json_find(object, key);
  return value && value->is_string() ? value->get<std::string>() : std::move(fallback);
}

std::int64_t json_int(const Json& object, const char* key, std::int64_t fallback) {
  const Json* value = json_find(object, key);
  if (!value || !value->is_number()) return fallback;
  if (value->is_number_unsigned()) {
    const auto number = value->get<std::uint64_t>();
    return number > static_cast<std::uint64_t>(INT64_MAX) ? fallback : static_cast<std::int64_t>(number);
  }
  if (value->is_number_integer()) return value->get<std::int64_t>();
  const double number = value->get<double>();
  return number >= -9e15 && number <= 9e15 ? static_cast<std::int64_t>(number) : fallback;
}

std::string dump_json(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace layerd
