#include "tests/support/recorded_exchange.h"

namespace layerd::test {

RecordedExchange::RecordedExchange(Loop& loop, std::string method, std::string target, http::Headers headers)
    : loop_(loop) {
  request_.method = std::move(method);
  request_.target = std::move(target);
  request_.headers = std::move(headers);
  if (!request_.headers.has("Host")) request_.headers.add("Host", "127.0.0.1:5151");
}

RecordedExchange::~RecordedExchange() = default;

void RecordedExchange::serve_with(http::Service& service) {
  service_ = &service;
  auto handler = service.serve(*this);
  if (!ended()) handler_ = std::move(handler);
  LAYERD_CHECK(ended() || handler_);  // nobody would ever answer
}

void RecordedExchange::hang_up() {
  if (!ended()) end(State::gone);
}

std::string RecordedExchange::note_of(std::string_view name) const {
  for (const auto& [key, value] : notes_) {
    if (key == name) return value;
  }
  return {};
}

void RecordedExchange::respond(http::ResponseHead head, std::string_view body) {
  LAYERD_CHECK(state_ == State::open);
  head_ = std::move(head);
  content_length_ = body.size();
  if (!is_head() && head_.status != 304) body_ = std::string(body);
  end(State::finished);
}

void RecordedExchange::begin(http::ResponseHead head, ByteCount content_length) {
  LAYERD_CHECK(state_ == State::open);
  head_ = std::move(head);
  content_length_ = content_length;
  state_ = State::body;
}

Ticket RecordedExchange::answer_sent(Callback<void()> sent) {
  struct Sent final : Pending<Ok> {
    using Pending::Pending;
    Ticket posted;
  };
  auto pending =
      std::make_shared<Sent>(Done<Ok>([sent = std::move(sent)](Result<Ok>) mutable { std::move(sent)(); }));
  if (!stalled_) pending->posted = loop_.post([self = pending.get()] { self->answer(Ok{}); });
  return Ticket(std::move(pending));
}

Ticket RecordedExchange::send(Bytes bytes, Callback<void()> sent) {
  LAYERD_CHECK(state_ == State::body && !is_head());
  body_.append(bytes.view());
  return answer_sent(std::move(sent));
}

Ticket RecordedExchange::send_file(FilePtr file, ByteRange range, Callback<void()> sent) {
  LAYERD_CHECK(state_ == State::body && !is_head());
  used_send_file_ = true;
  const auto bytes = file->read_at(range.first, range.size());
  LAYERD_CHECK(bytes && bytes->size() == range.size());
  body_.append(bytes->view());
  return answer_sent(std::move(sent));
}

void RecordedExchange::finish() {
  LAYERD_CHECK(state_ == State::body);
  LAYERD_CHECK(is_head() || body_.size() == content_length_);
  end(State::finished);
}

void RecordedExchange::break_off(const Error& why) {
  LAYERD_CHECK(state_ == State::body);
  broken_by_ = why.message;
  end(State::broken);
}

void RecordedExchange::end(State state) {
  const bool head = state_ != State::open || state == State::finished;
  state_ = state;
  const auto last = std::move(handler_);
  if (!service_) return;
  http::Service::Summary summary;
  summary.request = &request_;
  summary.status = head ? head_.status : 0;
  summary.body_bytes = body_.size();
  summary.complete = state == State::finished;
  summary.notes = &notes_;
  summary.peer = &peer_;
  summary.error = broken_by_;
  service_->ended(summary);
}

}  // namespace layerd::test
