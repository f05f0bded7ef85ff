// The answer of a token server (protocol.md §3.2). Pure, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/result.h"

namespace layerd::registry {

struct TokenResponse {
  std::string token;                      // a secret: never in a log or a message
  std::chrono::seconds lifetime{60};      // 60 s to 24 h, counted from the receipt
  std::optional<std::int64_t> issued_at;  // unix seconds, if the server said so
  std::string refresh_token;              // a secret; usually empty
};

inline constexpr std::size_t kMostTokenBody = 1u << 20;

// `token` before `access_token`. A lifetime that is absent or below 60 s counts as 60 s. Errors:
// upstream_protocol, diagnosis token_invalid; the sentence never quotes the body.
Result<TokenResponse> parse_token_response(std::string_view body);

// RFC 3339 ("2024-05-01T10:20:30.5Z", "…+02:00") as unix seconds.
std::optional<std::int64_t> parse_rfc3339(std::string_view text);

}  // namespace layerd::registry
