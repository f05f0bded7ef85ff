#include "proxy/http/parser.h"

#include <fmt/core.h>
#include <llhttp.h>

#include <charconv>
#include <cstring>

namespace layerd::http {

namespace {

// Chunk extensions and trailers carry nothing for us; more of them than this is an attack.
constexpr std::size_t kMostChunkOverhead = 16_KiB;

std::string_view without_blanks_behind(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

// llhttp calls these while it runs; -1 ends it with the fault already set.
struct Parser::Machine {
  llhttp_t state{};
  Parser* parser = nullptr;
  Headers* headers = nullptr;
  bool in_name = false;
  std::size_t header_bytes = 0;
  char* decoded = nullptr;  // where the next decoded byte of a chunked body goes
  std::size_t decoded_bytes = 0;

  static Machine& of(llhttp_t* state) { return *static_cast<Machine*>(state->data); }
  static const llhttp_settings_t& settings();

  bool has_room(std::size_t more) {
    header_bytes += more;
    if (header_bytes <= parser->limits_.headers) return true;
    parser->refuse(431, fmt::format("the headers are longer than {} bytes", parser->limits_.headers));
    return false;
  }

  static int on_url(llhttp_t* state, const char* at, std::size_t size) noexcept {
    Machine& self = of(state);
    auto& target = self.parser->request_.target;
    if (target.size() + size > self.parser->limits_.start_line) {
      self.parser->refuse(
          414, fmt::format("the request target is longer than {} bytes", self.parser->limits_.start_line));
      return -1;
    }
    target.append(at, size);
    return 0;
  }

  static int on_status(llhttp_t* state, const char* at, std::size_t size) noexcept {
    of(state).parser->response_.reason.append(at, size);
    return 0;
  }

  static int on_header_field(llhttp_t* state, const char* at, std::size_t size) noexcept {
    Machine& self = of(state);
    if (self.parser->stage_ != Stage::head) return 0;  // a trailer
    if (!self.in_name) {
      if (self.headers->all().size() == self.parser->limits_.count) {
        self.parser->refuse(431, fmt::format("there are more than {} headers", self.parser->limits_.count));
        return -1;
      }
      self.headers->add({}, {});
      self.in_name = true;
    }
    if (!self.has_room(size + 4)) return -1;
    self.headers->all().back().name.append(at, size);
    return 0;
  }

  static int on_header_value(llhttp_t* state, const char* at, std::size_t size) noexcept {
    Machine& self = of(state);
    if (self.parser->stage_ != Stage::head) return 0;
    self.in_name = false;
    if (!self.has_room(size)) return -1;
    self.headers->all().back().value.append(at, size);
    return 0;
  }

  static int on_value_complete(llhttp_t* state) noexcept {
    Machine& self = of(state);
    if (self.parser->stage_ != Stage::head) return 0;
    self.in_name = false;  // a header without a value as well
    auto& value = self.headers->all().back().value;
    value.resize(without_blanks_behind(value).size());
    return 0;
  }

  static int on_headers_complete(llhttp_t* state) noexcept {
    state->upgrade = 0;  // we speak one protocol; CONNECT and Upgrade get an ordinary answer
    of(state).parser->stage_ = Stage::body;
    return HPE_PAUSED;
  }

  static int on_body(llhttp_t* state, const char* at, std::size_t size) noexcept {
    Machine& self = of(state);
    std::memmove(self.decoded, at, size);
    self.decoded += size;
    self.decoded_bytes += size;
    return 0;
  }

  static int on_message_complete(llhttp_t* state) noexcept {
    of(state).parser->stage_ = Stage::complete;
    return HPE_PAUSED;
  }
};

const llhttp_settings_t& Parser::Machine::settings() {
  static const llhttp_settings_t table = [] {
    llhttp_settings_t made;
    llhttp_settings_init(&made);
    made.on_url = on_url;
    made.on_status = on_status;
    made.on_header_field = on_header_field;
    made.on_header_value = on_header_value;
    made.on_header_value_complete = on_value_complete;
    made.on_headers_complete = on_headers_complete;
    made.on_body = on_body;
    made.on_message_complete = on_message_complete;
    return made;
  }();
  return table;
}

Parser::Parser(Kind kind, HeadLimits limits)
    : kind_(kind), limits_(limits), machine_(std::make_unique<Machine>()) {
  machine_->parser = this;
  next();
}

Parser::~Parser() = default;

void Parser::next() {
  llhttp_init(&machine_->state, kind_ == Kind::request ? HTTP_REQUEST : HTTP_RESPONSE, &Machine::settings());
  machine_->state.data = machine_.get();
  machine_->headers = kind_ == Kind::request ? &request_.headers : &response_.headers;
  machine_->headers->all().clear();
  machine_->in_name = false;
  machine_->header_bytes = 0;
  request_.method.clear();
  request_.target.clear();
  response_.reason.clear();
  stage_ = Stage::head;
  framing_ = Framing::none;
  content_length_ = 0;
  keep_alive_ = true;
  head_bytes_ = 0;
  framing_bytes_ = 0;
  last_ = 0;
  fault_.reset();
}

void Parser::refuse(int status, std::string message) {
  if (!fault_) fault_ = ParseFault{status, std::move(message)};
}

// Runs llhttp over the bytes; answers how many it used.
std::size_t Parser::run(const char* bytes, std::size_t size) {
  llhttp_t* state = &machine_->state;
  const auto error = llhttp_execute(state, bytes, size);
  if (error == HPE_OK) return size;
  const char* stopped = llhttp_get_error_pos(state);
  const std::size_t used = stopped == nullptr ? 0 : static_cast<std::size_t>(stopped - bytes);
  if (error == HPE_PAUSED) {
    llhttp_resume(state);
    return used;
  }
  const char* reason = llhttp_get_error_reason(state);
  refuse(400, fmt::format("malformed HTTP: {}", reason == nullptr ? llhttp_errno_name(error) : reason));
  return used;
}

std::size_t Parser::feed_head(ByteView bytes) {
  const std::size_t used = run(bytes.data(), bytes.size());
  head_bytes_ += used;
  if (fault_) return used;
  check_lines(bytes.substr(0, used));
  if (head_bytes_ > limits_.start_line + limits_.headers) {
    const bool in_target = kind_ == Kind::request && request_.headers.all().empty();
    refuse(in_target ? 414 : 431,
           fmt::format("the head is longer than {} bytes", limits_.start_line + limits_.headers));
  }
  if (!fault_ && head_complete()) check_head();
  return used;
}

// Each line ends with CR LF, and none of the headers goes on in the next one.
void Parser::check_lines(ByteView used) {
  if (used.empty()) return;
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  if (last_ == '\n' && is_blank(used.front())) return refuse(400, "a header is folded over two lines");
  for (std::size_t at = used.find('\n'); at != ByteView::npos; at = used.find('\n', at + 1)) {
    const char before = at == 0 ? last_ : used[at - 1];
    if (before != '\r') return refuse(400, "a line ends without CR");
    if (at + 1 < used.size() && is_blank(used[at + 1])) {
      return refuse(400, "a header is folded over two lines");
    }
  }
  last_ = used.back();
}

void Parser::check_head() {
  const llhttp_t& state = machine_->state;
  if (state.http_major != 1 || state.http_minor > 1) {
    return refuse(505, fmt::format("HTTP/{}.{} is not spoken here", state.http_major, state.http_minor));
  }
  for (const auto& header : machine_->headers->all()) {
    if (!is_token(header.name)) return refuse(400, "a header has a malformed name");
  }
  if (!check_length()) return;
  const Headers& headers = *machine_->headers;
  keep_alive_ = state.http_minor == 1 ? !headers.has_token("Connection", "close")
                                      : headers.has_token("Connection", "keep-alive");
  kind_ == Kind::request ? check_request() : check_response();
}

// Sets framing_ from Content-Length and Transfer-Encoding. False if they are refused.
bool Parser::check_length() {
  bool has_length = false, has_encoding = false;
  for (const auto& [name, value] : machine_->headers->all()) {
    if (equal_ignoring_case(name, "Transfer-Encoding")) {
      if (has_encoding || !equal_ignoring_case(value, "chunked")) {
        refuse(400, "Transfer-Encoding other than chunked is not spoken here");
        return false;
      }
      has_encoding = true;
    } else if (equal_ignoring_case(name, "Content-Length")) {
      const char* end = value.data() + value.size();
      const auto [stopped, error] = std::from_chars(value.data(), end, content_length_);
      if (has_length || error != std::errc() || stopped != end) {
        refuse(400, has_length ? "Content-Length is given twice" : "Content-Length is not a number");
        return false;
      }
      has_length = true;
    }
  }
  if (has_length && has_encoding) {
    refuse(400, "Content-Length and Transfer-Encoding are both given");
    return false;
  }
  const auto otherwise = kind_ == Kind::request ? Framing::none : Framing::until_close;
  framing_ = has_encoding ? Framing::chunked : has_length ? Framing::length : otherwise;
  return true;
}

void Parser::check_request() {
  const llhttp_t& state = machine_->state;
  request_.method = llhttp_method_name(static_cast<llhttp_method_t>(state.method));
  request_.version_minor = state.http_minor;
  if (framing_ == Framing::length && content_length_ == 0) framing_ = Framing::none;
  if (framing_ == Framing::chunked && state.http_minor == 0) {
    return refuse(400, "Transfer-Encoding is not part of HTTP/1.0");
  }
  int hosts = 0;
  for (const auto& header : request_.headers.all()) hosts += equal_ignoring_case(header.name, "Host") ? 1 : 0;
  if (hosts > 1) return refuse(400, "Host is given twice");
  if (hosts == 0 && state.http_minor == 1) refuse(400, "Host is missing");
}

void Parser::check_response() {
  response_.status = machine_->state.status_code;
  if (response_.status < 100 || response_.status > 599) {
    refuse(400, fmt::format("{} is not an HTTP status", response_.status));
  }
  if (response_.status < 200 || response_.status == 204 || response_.status == 304) framing_ = Framing::none;
}

Parser::Decoded Parser::feed_chunked(char* bytes, std::size_t size) {
  machine_->decoded = bytes;
  machine_->decoded_bytes = 0;
  Decoded result;
  result.used = run(bytes, size);
  result.body_bytes = machine_->decoded_bytes;
  // Content resets the count of what surrounds it.
  framing_bytes_ = (result.body_bytes > 0 ? 0 : framing_bytes_) + (result.used - result.body_bytes);
  if (result.body_bytes == 0 && framing_bytes_ > kMostChunkOverhead) {
    refuse(400, "a chunked body is mostly chunk extensions or trailers");
  }
  return result;
}

bool is_token(std::string_view name) {
  if (name.empty()) return false;
  for (const char c : name) {
    const bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!alphanumeric && (c == '\0' || std::strchr("!#$%&'*+-.^_`|~", c) == nullptr)) return false;
  }
  return true;
}

}  // namespace layerd::http
