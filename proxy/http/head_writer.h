// Heads as text: answers of the server, requests of the client. Pure but for the Date cache.
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/http/message.h"
#include "runtime/bytes.h"
#include "runtime/clock.h"
#include "runtime/result.h"

namespace layerd::http {

// The value of the Date header, formatted once per second. Loop thread.
class DateCache {
 public:
  std::string_view at(WallTime now);

 private:
  std::time_t second_ = -1;
  char text_[40] = {};
  std::size_t size_ = 0;
};

// What the connection adds to the headers of an answer.
struct ResponseFraming {
  std::optional<ByteCount> content_length;  // nothing for 204 and 304
  std::string_view date;                    // empty: no Date header
  bool close = false;                       // "Connection: close"
  bool say_keep_alive = false;              // HTTP/1.0 clients must be told
};

// Appends a status line and headers. Content-Length, Connection, Date and Transfer-Encoding of
// `head` are left out: they belong to the connection. Control characters become blanks, so no value
// can begin another header.
void append_response_head(std::string& out, const ResponseHead& head, const ResponseFraming& framing);

// A request with its body as text. Content-Length is added for POST, PUT and PATCH and where there is
// a body; Host from `authority` if absent. Errors: invalid_request for a method, target, name or
// value that would not stay within its line.
Result<std::string> request_text(const RequestHead& head, std::string_view authority, std::string_view body);

}  // namespace layerd::http
