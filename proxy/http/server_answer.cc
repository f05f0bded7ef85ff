// Answers of a server connection: heads, bodies, refusals.
#include <algorithm>

#include "proxy/http/server_connection.h"
#include "proxy/http/server_sending.h"
#include "runtime/json.h"

namespace layerd::http {

namespace {

// A body up to this size leaves in one write with its head.
constexpr std::size_t kTogether = 64_KiB;
// The first bytes of a longer body are copied behind the head up to this size, to save a packet.
constexpr std::size_t kFirstTogether = 16_KiB;

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

ByteCount ServerConnection::body_length_for(int status, ByteCount content_length) const {
  return is_head() || has_no_body(status) ? 0 : content_length;
}

ResponseFraming ServerConnection::framing_for(int status, ByteCount content_length) {
  ResponseFraming framing;
  if (!has_no_body(status)) framing.content_length = content_length;
  framing.date = shared_.dates.at(shared_.loop.wall_now());
  if (shared_.draining || input_ended_) close_after_ = true;
  framing.close = close_after_;
  framing.say_keep_alive = parser_.request().version_minor == 0;
  return framing;
}

void ServerConnection::respond(ResponseHead head, std::string_view body) { answer(head, body.size(), body); }

void ServerConnection::respond_head(ResponseHead head, ByteCount content_length) {
  LAYERD_CHECK(is_head());
  answer(head, content_length, {});
}

void ServerConnection::answer(const ResponseHead& head, ByteCount content_length, std::string_view body) {
  LAYERD_CHECK(state_ == State::serving && status_ == 0);
  status_ = head.status;
  content_length_ = body_length_for(head.status, content_length);
  std::string& text = shared_.scratch;
  text.clear();
  append_response_head(text, head, framing_for(head.status, content_length));
  body = body.substr(0, content_length_);
  if (body.size() <= kTogether) {
    text.append(body);
    body = {};
  }
  first_byte_ = shared_.loop.now();
  std::size_t taken = stream_->try_write(text);
  if (taken == text.size() && !body.empty()) taken += stream_->try_write(body);
  if (taken == text.size() + body.size()) {
    body_sent_ = content_length_;
    return end_exchange(true, {});
  }
  const std::size_t of_text = std::min(taken, text.size());
  write_tail(ByteView(text).substr(of_text), body.substr(taken - of_text));
}

// The kernel did not take all of a small answer: the rest is copied, so the handler can go.
void ServerConnection::write_tail(std::string_view text, std::string_view body) {
  Bytes rest(text.size() + body.size());
  std::copy(text.begin(), text.end(), rest.data());
  std::copy(body.begin(), body.end(), rest.data() + text.size());
  tail_only_ = true;
  set_deadline(shared_.loop.now() + shared_.limits.send_stall);
  writing_ = stream_->write(std::move(rest), [this](Result<Ok> written) {
    if (!written) return hang_up("sending to the client failed: " + written.error().message);
    body_sent_ = content_length_;
    end_exchange(true, {});
  });
  handler_.reset();
}

void ServerConnection::begin(ResponseHead head, ByteCount content_length) {
  LAYERD_CHECK(state_ == State::serving && status_ == 0);
  status_ = head.status;
  content_length_ = body_length_for(head.status, content_length);
  held_.clear();
  append_response_head(held_, head, framing_for(head.status, content_length));
  flushing_ = shared_.loop.post([this] { flush(); });
}

// Sends a head that was held back for the first bytes of its body.
void ServerConnection::flush() {
  flushing_.reset();
  if (held_.empty()) return;
  first_byte_ = shared_.loop.now();
  const std::size_t taken = stream_->try_write(held_);
  if (taken < held_.size()) stream_->write_detached(Bytes::copy_of(ByteView(held_).substr(taken)));
  held_.clear();
}

std::shared_ptr<ServerConnection::Sending> ServerConnection::begin_sending(ByteCount size,
                                                                           Callback<void()> sent) {
  LAYERD_CHECK(state_ == State::serving && status_ != 0 && !sending_);
  LAYERD_CHECK(size <= content_length_ - body_sent_);
  sending_ = std::make_shared<Sending>(std::move(sent));
  return sending_;
}

Ticket ServerConnection::send(Bytes bytes, Callback<void()> sent) {
  auto sending = begin_sending(bytes.size(), std::move(sent));
  const ByteCount body_bytes = bytes.size();
  if (bytes.empty()) {
    writing_ = shared_.loop.post([this] { on_written(Ok{}, 0); });
    return Ticket(std::move(sending));
  }
  if (!held_.empty() && bytes.size() <= kFirstTogether) {
    Bytes together(held_.size() + bytes.size());
    std::copy(held_.begin(), held_.end(), together.data());
    std::copy_n(bytes.data(), bytes.size(), together.data() + held_.size());
    held_.clear();
    first_byte_ = shared_.loop.now();
    bytes = std::move(together);
  }
  flush();
  write(std::move(bytes), body_bytes);
  return Ticket(std::move(sending));
}

void ServerConnection::write(Bytes bytes, ByteCount body_bytes) {
  set_deadline(shared_.loop.now() + shared_.limits.send_stall);
  writing_ = stream_->write(std::move(bytes),
                            [this, body_bytes](Result<Ok> written) { on_written(written, body_bytes); });
}

Ticket ServerConnection::send_file(FilePtr file, ByteRange range, Callback<void()> sent) {
  auto sending = begin_sending(range.size(), std::move(sent));
  flush();
  if (range.empty()) {
    writing_ = shared_.loop.post([this] { on_written(Ok{}, 0); });
    return Ticket(std::move(sending));
  }
  file_ = std::move(file);
  file_left_ = range;
  send_piece();
  return Ticket(std::move(sending));
}

void ServerConnection::send_piece() {
  const ByteRange piece{file_left_.first, std::min(file_left_.end, file_left_.first + kFilePiece)};
  file_left_.first = piece.end;
  set_deadline(shared_.loop.now() + shared_.limits.send_stall);
  const bool more_follows = piece.size() < content_length_ - body_sent_;
  writing_ = stream_->send_file(file_, piece, more_follows, [this, size = piece.size()](Result<Ok> written) {
    on_written(written, size);
  });
}

void ServerConnection::on_written(const Result<Ok>& written, ByteCount body_bytes) {
  if (!written) return hang_up("sending to the client failed: " + written.error().message);
  body_sent_ += body_bytes;
  if (file_ && !file_left_.empty()) return send_piece();
  deadline_ = TimePoint::max();
  file_.reset();
  const auto sending = std::exchange(sending_, nullptr);
  if (auto sent = std::move(sending->sent)) sent();
}

void ServerConnection::finish() {
  LAYERD_CHECK(state_ == State::serving && status_ != 0 && !sending_);
  if (body_sent_ < content_length_) {
    return break_off(Error{Errc::truncated, "the body came to fewer bytes than its head had said"});
  }
  flush();
  end_exchange(true, {});
}

void ServerConnection::break_off(const Error& why) {
  LAYERD_CHECK(state_ == State::serving);
  std::string reason = why.message;  // `why` may live in the handler
  // What is queued of a file must not leave any more: only the end of the stream takes it back.
  if (file_) return hang_up(std::move(reason));
  writing_.reset();
  flush();
  end_exchange(false, std::move(reason));
}

// An answer of the connection itself, in the form of the distribution spec; then the end.
void ServerConnection::refuse(int status, std::string_view code, const std::string& message) {
  shared_.refused_requests.add();
  close_after_ = true;
  const Json error{{"code", code}, {"message", message}, {"detail", nullptr}};
  const std::string body = dump_json(Json{{"errors", Json::array({error})}});
  ResponseHead head;
  head.status = status;
  head.headers.add("Content-Type", "application/json");
  std::string text;
  append_response_head(text, head, framing_for(status, body.size()));
  if (!is_head()) text += body;
  const std::size_t taken = stream_->try_write(text);
  if (taken < text.size()) stream_->write_detached(Bytes::copy_of(ByteView(text).substr(taken)));
  status_ = status;
  first_byte_ = shared_.loop.now();
  body_sent_ = is_head() ? 0 : body.size();
  report(false, message);
  close_gently();
}

}  // namespace layerd::http
