#include "proxy/http/head_writer.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "proxy/http/parser.h"

namespace layerd::http {

namespace {

void append_number(std::string& out, ByteCount number) {
  char digits[24];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
  out.append(digits, static_cast<std::size_t>(end - digits));
}

bool is_control(char c) { return ((static_cast<unsigned char>(c) < 0x20) & (c != '\t')) | (c == 0x7f); }

// Looks at eight bytes at once. True also for a tab, which is allowed: the exact look follows.
bool may_hold_control(std::string_view text) {
  constexpr std::uint64_t kOnes = ~0ull / 255, kHighs = kOnes * 0x80;
  std::uint64_t found = 0;
  for (; text.size() >= 8; text.remove_prefix(8)) {
    std::uint64_t word;
    std::memcpy(&word, text.data(), 8);
    const std::uint64_t deleted = word ^ kOnes * 0x7f;
    found |= ((word - kOnes * 0x20) & ~word) | ((deleted - kOnes) & ~deleted);
  }
  bool tail = false;
  for (char c : text) tail |= is_control(c);
  return tail || (found & kHighs) != 0;
}

void append_clean(std::string& out, std::string_view text) {
  out.append(text);
  if (!may_hold_control(text)) return;
  std::replace_if(out.end() - static_cast<std::ptrdiff_t>(text.size()), out.end(), is_control, ' ');
}

// The connection itself decides on these.
bool is_framing(std::string_view name) {
  switch (name.size()) {
    case 4:
      return equal_ignoring_case(name, "Date");
    case 10:
      return equal_ignoring_case(name, "Connection");
    case 14:
      return equal_ignoring_case(name, "Content-Length");
    case 17:
      return equal_ignoring_case(name, "Transfer-Encoding");
    default:
      return false;
  }
}

Error invalid(std::string message) { return Error{Errc::invalid_request, std::move(message)}; }

}  // namespace

std::string_view DateCache::at(WallTime now) {
  const std::time_t second = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (second != second_) {
    second_ = second;
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm utc{};
    gmtime_r(&second, &utc);
    const std::string text =
        fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[utc.tm_wday], utc.tm_mday,
                    kMonths[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
    size_ = text.copy(text_, sizeof text_);
  }
  return {text_, size_};
}

void append_response_head(std::string& out, const ResponseHead& head, const ResponseFraming& framing) {
  out += "HTTP/1.1 ";
  append_number(out, static_cast<ByteCount>(head.status));
  out += ' ';
  head.reason.empty() ? static_cast<void>(out += reason_of(head.status)) : append_clean(out, head.reason);
  out += "\r\n";
  for (const auto& header : head.headers.all()) {
    if (is_framing(header.name)) continue;
    append_clean(out, header.name);
    out += ": ";
    append_clean(out, header.value);
    out += "\r\n";
  }
  if (!framing.date.empty()) out.append("Date: ").append(framing.date).append("\r\n");
  if (framing.content_length) {
    out += "Content-Length: ";
    append_number(out, *framing.content_length);
    out += "\r\n";
  }
  if (framing.close) out += "Connection: close\r\n";
  if (!framing.close && framing.say_keep_alive) out += "Connection: keep-alive\r\n";
  out += "\r\n";
}

Result<std::string> request_text(const RequestHead& head, std::string_view authority, std::string_view body) {
  if (!is_token(head.method)) return invalid("the request method is not a token");
  const auto breaks_target = [](char c) { return is_control(c) || c == ' ' || c == '\t'; };
  if (head.target.empty() || std::any_of(head.target.begin(), head.target.end(), breaks_target)) {
    return invalid("the request target is empty or holds a blank or a control character");
  }
  std::string text = fmt::format("{} {} HTTP/1.1\r\n", head.method, head.target);
  if (!head.headers.has("Host")) text.append("Host: ").append(authority).append("\r\n");
  for (const auto& [name, value] : head.headers.all()) {
    if (!is_token(name)) return invalid("the name of a request header is not a token");
    if (std::any_of(value.begin(), value.end(), is_control)) {
      return invalid(fmt::format("the value of request header {} holds a control character", name));
    }
    if (equal_ignoring_case(name, "Content-Length") || equal_ignoring_case(name, "Transfer-Encoding"))
      continue;
    text.append(name).append(": ").append(value).append("\r\n");
  }
  const bool has_body = head.method == "POST" || head.method == "PUT" || head.method == "PATCH";
  if (has_body || !body.empty()) text += fmt::format("Content-Length: {}\r\n", body.size());
  text.append("\r\n").append(body);
  return text;
}

}  // namespace layerd::http
