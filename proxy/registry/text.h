// Small functions on ASCII text that the grammars of this folder share. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace layerd::registry {

inline constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline constexpr bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
inline constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
inline constexpr bool is_alpha(char c) { return is_lower(c) || is_upper(c); }
inline constexpr bool is_alnum(char c) { return is_alpha(c) || is_digit(c); }
inline constexpr bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
inline constexpr char to_lower(char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower_case(std::string_view text);
bool equal_ascii_nocase(std::string_view a, std::string_view b);
bool starts_with_nocase(std::string_view text, std::string_view prefix);

// Without spaces and tabs (and, for trim_all, line ends) at both ends.
std::string_view trim(std::string_view text);
std::string_view trim_all(std::string_view text);

std::vector<std::string_view> split(std::string_view text, char separator);

// A whole number of only digits; saturates at the largest value; nothing for an empty or other text.
std::optional<std::uint64_t> parse_digits(std::string_view text);

// Decodes %XX; nothing if a '%' is not followed by two hex digits. '+' stays '+'.
std::optional<std::string> percent_decode(std::string_view text);
// Encodes everything but letters, digits and "-._~" (RFC 3986 unreserved), for query values.
std::string percent_encode(std::string_view text);

// Base64 with the standard alphabet, padded or not, in one line or folded; nothing for
// other text.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace layerd::registry
