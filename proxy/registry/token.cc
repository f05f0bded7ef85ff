#include "proxy/registry/token.h"

#include <algorithm>

#include "proxy/registry/text.h"
#include "runtime/json.h"

namespace layerd::registry {

namespace {

Error bad_token(std::string why) {
  return {
      Errc::upstream_protocol, "the token server's answer " + std::move(why), 0, 200, "token_invalid", {}};
}

// Fit for an Authorization header: no byte that could end the line.
bool is_header_safe(std::string_view token) {
  return std::all_of(token.begin(), token.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// Two or four digits at `at`; -1 if there are none.
int digits_at(std::string_view text, std::size_t at, std::size_t count) {
  if (at + count > text.size()) return -1;
  const auto value = parse_digits(text.substr(at, count));
  return value ? static_cast<int>(*value) : -1;
}

// Seconds east of UTC of "Z" or "+02:00".
std::optional<int> zone_offset(std::string_view text) {
  if (text == "Z" || text == "z") return 0;
  if (text.size() != 6 || (text[0] != '+' && text[0] != '-') || text[3] != ':') return std::nullopt;
  const int hours = digits_at(text, 1, 2), minutes = digits_at(text, 4, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
  return (text[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

}  // namespace

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
  if (text.size() < 20 || text.size() > 64 || text[4] != '-' || text[7] != '-' || to_lower(text[10]) != 't' ||
      text[13] != ':' || text[16] != ':')
    return std::nullopt;
  const int year = digits_at(text, 0, 4), month = digits_at(text, 5, 2), day = digits_at(text, 8, 2);
  const int hour = digits_at(text, 11, 2), minute = digits_at(text, 14, 2), second = digits_at(text, 17, 2);
  if (year < 1970 || month < 1 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
      second < 0 || second > 60)
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  auto rest = text.substr(19);
  if (rest.starts_with('.'))
    rest.remove_prefix(std::min(rest.find_first_not_of("0123456789", 1), rest.size()));
  const auto offset = zone_offset(rest);
  if (!offset) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86400 + hour * 3600 + minute * 60 + second - *offset;
}

Result<TokenResponse> parse_token_response(std::string_view body) {
  if (body.size() > kMostTokenBody) return bad_token("is larger than 1 MiB");
  const auto json = parse_json(body, {kMostTokenBody, 16});
  if (!json || !json->is_object()) return bad_token("is not a JSON object");
  TokenResponse response;
  response.token = json_string(*json, "token");
  if (response.token.empty()) response.token = json_string(*json, "access_token");
  if (response.token.empty()) return bad_token("holds no token");
  if (!is_header_safe(response.token)) return bad_token("holds a token with bytes no header can carry");
  response.refresh_token = json_string(*json, "refresh_token");
  response.lifetime =
      std::chrono::seconds(std::clamp<std::int64_t>(json_int(*json, "expires_in", 60), 60, 86400));
  response.issued_at = parse_rfc3339(json_string(*json, "issued_at"));
  return response;
}

}  // namespace layerd::registry
