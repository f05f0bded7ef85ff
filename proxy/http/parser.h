// The front of llhttp: heads of requests and responses with bounds, and chunked bodies.
//
// Strict where llhttp is lenient: no folded headers, no bare LF, no blank before a colon, exactly one
// Host, one Content-Length of digits, never both Content-Length and Transfer-Encoding (request
// smuggling lives in these). Bodies with a length are not parsed here: their bytes need no touching.
// Loop thread; knows no I/O.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/http/message.h"
#include "runtime/bytes.h"

namespace layerd::http {

struct HeadLimits {
  std::size_t start_line = 8_KiB;
  std::size_t headers = 32_KiB;  // all of them with their line ends
  std::size_t count = 100;       // headers
};

// Why a message was refused: the status a client should see (400, 414, 431, 505; meaningless for
// responses) and one sentence without a final stop.
struct ParseFault {
  int status = 400;
  std::string message;
};

// How the end of a body is found.
enum class Framing {
  none,         // there is no body
  length,       // Content-Length bytes
  chunked,      // feed_chunked() finds the end
  until_close,  // the end of the connection (responses only)
};

class Parser {
 public:
  enum class Kind { request, response };
  Parser(Kind kind, HeadLimits limits);
  ~Parser();
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;

  // Takes bytes of a head, in pieces of any size; answers how many were used, which is all of them
  // unless the head is complete or refused. Not to be called again before next() then.
  std::size_t feed_head(ByteView bytes);
  bool head_complete() const { return stage_ != Stage::head; }
  const std::optional<ParseFault>& fault() const { return fault_; }

  // Valid once the head is complete, until next(); as far as read before.
  const RequestHead& request() const { return request_; }
  ResponseHead& response() { return response_; }
  // For a response: as if it answered a GET; who asked by HEAD knows better.
  Framing framing() const { return framing_; }
  ByteCount content_length() const { return content_length_; }
  // The sender lets the connection live on after this message.
  bool keep_alive() const { return keep_alive_; }

  // Decodes a chunked body in place: `bytes` begins with body_bytes decoded bytes afterwards.
  // used: all unless the body is complete or refused (fault()).
  struct Decoded {
    std::size_t used = 0;
    std::size_t body_bytes = 0;
  };
  Decoded feed_chunked(char* bytes, std::size_t size);
  bool body_complete() const { return stage_ == Stage::complete; }

  // Makes ready for the next message.
  void next();

 private:
  enum class Stage {
    head,      // the head is not complete
    body,      // the head is complete; a chunked body may follow
    complete,  // the end of a chunked body was seen
  };
  struct Machine;  // llhttp's state and its callbacks

  std::size_t run(const char* bytes, std::size_t size);
  void check_lines(ByteView used);
  void check_head();
  void check_request();
  void check_response();
  bool check_length();
  void refuse(int status, std::string message);

  const Kind kind_;
  const HeadLimits limits_;
  std::unique_ptr<Machine> machine_;
  RequestHead request_;
  ResponseHead response_;
  Stage stage_ = Stage::head;
  Framing framing_ = Framing::none;
  ByteCount content_length_ = 0;
  bool keep_alive_ = true;
  std::size_t head_bytes_ = 0;
  std::size_t framing_bytes_ = 0;  // of a chunked body since its last byte of content
  char last_ = 0;                  // the last byte of the head so far
  std::optional<ParseFault> fault_;
};

// True if `name` is a token of RFC 9110: fit for a method or a header name.
bool is_token(std::string_view name);

}  // namespace layerd::http
