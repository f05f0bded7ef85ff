#include "proxy/http/client_connection.h"

#include <fmt/core.h>

#include <algorithm>

namespace layerd::http {

namespace {

constexpr HeadLimits kAnswerHead{8_KiB, 64_KiB, 256};
constexpr std::size_t kHeadRead = 16_KiB;
constexpr std::size_t kWorthSkipping = 16_KiB;
constexpr int kMostInterimAnswers = 16;

// The beginning of a TLS record: an alert, or a handshake. No HTTP begins so.
bool speaks_tls(std::string_view bytes) {
  return bytes.size() >= 2 && (bytes[0] == 0x15 || bytes[0] == 0x16) && bytes[1] == 3;
}

}  // namespace

// An outstanding call; taking it back leaves the connection broken.
template <class T>
struct ClientConnection::Call final : Pending<T> {
  Call(ClientConnection& connection_, Done<T> done) : Pending<T>(std::move(done)), connection(&connection_) {}
  void on_cancel() noexcept override {
    if (connection == nullptr) return;
    connection->broken_ = true;
    connection->reading_.reset();
    connection->writing_.reset();
    connection->deadline_.reset();
  }
  ClientConnection* connection;  // null once it has answered or the connection is gone
};

ClientConnection::ClientConnection(Loop& loop, net::ByteStreamPtr stream, std::string name)
    : loop_(loop),
      stream_(std::move(stream)),
      name_(std::move(name)),
      parser_(Parser::Kind::response, kAnswerHead) {}

ClientConnection::~ClientConnection() {
  if (head_call_) head_call_->connection = nullptr;
  if (body_call_) body_call_->connection = nullptr;
}

Ticket ClientConnection::request(std::string text, bool is_head, Deadline deadline, Done<ResponseHead> done) {
  LAYERD_CHECK(reusable() && !head_call_);
  parser_.next();
  is_head_ = is_head;
  answer_begun_ = request_sent_ = body_ended_ = false;
  interim_answers_ = 0;
  body_taken_ = 0;
  head_call_ = std::make_shared<Call<ResponseHead>>(*this, std::move(done));
  deadline_ = loop_.at(deadline, "answer of an upstream", [this] {
    fail(Error{Errc::upstream_timeout, fmt::format("{} did not answer in time", name_)});
  });
  // A write that fails is no verdict: the upstream may have answered before it closed. Reading tells.
  writing_ = stream_->write(Bytes::copy_of(text), [this](const Result<Ok>& written) {
    if (written) request_sent_ = true;
  });
  read_head();
  return Ticket(head_call_);
}

void ClientConnection::read_head() {
  reading_ = stream_->read(kHeadRead, [this](Result<Bytes> got) {
    if (got && !got->empty()) return on_head_bytes(std::move(*got));
    const std::string how = got ? "the connection was closed" : got.error().message;
    Error error{Errc::upstream_unreachable, fmt::format("{} gave no answer: {}", name_, how)};
    if (!got) {
      error.sys_errno = got.error().sys_errno;
      error.diagnosis = got.error().diagnosis;
    }
    fail(std::move(error));
  });
}

void ClientConnection::on_head_bytes(Bytes got) {
  if (!answer_begun_ && speaks_tls(got.view()) && stream_->tls_version().empty()) return fail(tls_error());
  answer_begun_ = true;
  while (!got.empty()) {
    if (!take_head(got)) return;
    if (!parser_.head_complete()) break;
    if (parser_.response().status >= 200) {
      deadline_.reset();
      here_ = std::move(got);
      const auto call = std::exchange(head_call_, nullptr);
      call->connection = nullptr;
      return call->answer(std::move(parser_.response()));
    }
    parser_.next();  // an interim answer; the real one follows
  }
  read_head();
}

// HTTPS spoken where we were told of HTTP.
Error ClientConnection::tls_error() const {
  Error error{Errc::upstream_protocol,
              fmt::format("{} speaks TLS and no plain HTTP; write https:// in its endpoint", name_)};
  error.diagnosis = "scheme_mismatch";
  return error;
}

// False if the head was refused and the call has been answered.
bool ClientConnection::take_head(Bytes& got) {
  got.drop_front(parser_.feed_head(got.view()));
  const auto protocol_error = [this](std::string_view what) {
    fail(Error{Errc::upstream_protocol, fmt::format("{} does not speak HTTP as it should: {}", name_, what)});
    return false;
  };
  if (const auto& fault = parser_.fault()) return protocol_error(fault->message);
  if (!parser_.head_complete()) return true;
  const int status = parser_.response().status;
  if (status == 101) return protocol_error("it switches protocols unasked");
  if (status < 200 && ++interim_answers_ > kMostInterimAnswers) {
    return protocol_error("it sends one interim answer after another");
  }
  framing_ = is_head_ ? Framing::none : parser_.framing();
  body_length_.reset();
  if (framing_ == Framing::none) body_length_ = 0;
  if (framing_ == Framing::length) body_length_ = parser_.content_length();
  body_ended_ = body_length_ == ByteCount{0};
  return true;
}

Ticket ClientConnection::read_body(std::size_t max, Duration stall, Done<Bytes> done) {
  LAYERD_CHECK(!body_call_ && !head_call_);
  body_call_ = std::make_shared<Call<Bytes>>(*this, std::move(done));
  read_max_ = std::max<std::size_t>(max, 1);
  if (broken_) {
    reading_ = loop_.post([this] {
      fail(Error{Errc::canceled, fmt::format("reading from {} was given up before", name_)});
    });
  } else if (body_ended_) {
    reading_ = loop_.post([this] { answer_body(Bytes()); });
  } else {
    deadline_ = loop_.after(stall, "body of an upstream", [this, stall] {
      const auto seconds = std::chrono::duration<double>(stall).count();
      fail(Error{Errc::upstream_timeout, fmt::format("{} sent nothing for {:g} s", name_, seconds)});
    });
    if (here_.empty()) {
      read_more_body();
    } else {
      reading_ = loop_.post([this] { on_body_bytes(take_here()); });
    }
  }
  return Ticket(body_call_);
}

// Of what came with the head.
Bytes ClientConnection::take_here() {
  if (here_.size() <= read_max_) return std::move(here_);
  Bytes part = Bytes::copy_of(here_.view().substr(0, read_max_));
  here_.drop_front(part.size());
  return part;
}

void ClientConnection::read_more_body() {
  // Never past the end of a body of known length.
  const ByteCount most =
      body_length_ ? std::min<ByteCount>(read_max_, *body_length_ - body_taken_) : read_max_;
  reading_ = stream_->read(static_cast<std::size_t>(most), [this](Result<Bytes> got) {
    if (!got || got->empty()) return on_body_end(got ? nullptr : &got.error());
    on_body_bytes(std::move(*got));
  });
}

void ClientConnection::on_body_bytes(Bytes got) {
  Bytes body = take_body(std::move(got));
  // What is here may be a long stretch of framing, to be passed over in pieces as small as one byte.
  while (body.empty() && !body_ended_ && !parser_.fault() && !here_.empty()) body = take_body(take_here());
  if (const auto& fault = parser_.fault()) {
    return fail(
        Error{Errc::upstream_protocol, fmt::format("{} sent a broken body: {}", name_, fault->message)});
  }
  if (body.empty() && !body_ended_) return read_more_body();
  answer_body(std::move(body));
}

// Separates the bytes of the body from its framing and from what follows it.
Bytes ClientConnection::take_body(Bytes got) {
  std::size_t follows = 0;
  if (framing_ == Framing::chunked) {
    const auto decoded = parser_.feed_chunked(got.data(), got.size());
    follows = got.size() - decoded.used;
    body_ended_ = parser_.body_complete();
    got.truncate(decoded.body_bytes);
  } else if (body_length_) {
    const ByteCount left = *body_length_ - body_taken_;
    follows = got.size() > left ? static_cast<std::size_t>(got.size() - left) : 0;
    got.truncate(got.size() - follows);
    body_ended_ = got.size() == left;
  }
  if (follows > 0) broken_ = true;  // nobody asked for more: the two sides are out of step
  body_taken_ += got.size();
  return got;
}

void ClientConnection::on_body_end(const Error* error) {
  if (framing_ == Framing::until_close && error == nullptr) {
    body_ended_ = true;
    return answer_body(Bytes());
  }
  const std::string taken =
      body_length_ ? fmt::format("{} of {}", body_taken_, *body_length_) : fmt::format("{}", body_taken_);
  if (error == nullptr) {
    return fail(Error{Errc::truncated, fmt::format("{} closed the connection after {} bytes", name_, taken)});
  }
  fail(Error{Errc::upstream_unreachable,
             fmt::format("the connection to {} broke after {} bytes: {}", name_, taken, error->message),
             error->sys_errno});
}

void ClientConnection::answer_body(Result<Bytes> result) {
  deadline_.reset();
  const auto call = std::exchange(body_call_, nullptr);
  call->connection = nullptr;
  call->answer(std::move(result));
}

void ClientConnection::fail(Error error) {
  broken_ = true;
  reading_.reset();
  writing_.reset();
  deadline_.reset();
  if (body_call_) return answer_body(std::move(error));
  if (!head_call_) return;
  const auto call = std::exchange(head_call_, nullptr);
  call->connection = nullptr;
  call->answer(std::move(error));
}

void ClientConnection::skip_rest() {
  if (broken_ || body_ended_ || body_call_ || head_call_) return;
  if (here_.empty() || here_.size() > kWorthSkipping) return;
  take_body(std::move(here_));
}

bool ClientConnection::reusable() const {
  return body_ended_ && !broken_ && request_sent_ && here_.empty() && !body_call_ && !head_call_ &&
         !parser_.fault() && parser_.keep_alive() && framing_ != Framing::until_close;
}

void ClientConnection::watch(Callback<void()> spoiled) {
  LAYERD_CHECK(reusable());
  reading_ = stream_->read(1, [spoiled = std::move(spoiled)](const Result<Bytes>&) mutable { spoiled(); });
}

}  // namespace layerd::http
