// Reading requests, serving them, and how a connection ends. Answers: server_answer.cc.
#include "proxy/http/server_connection.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/http/server_sending.h"

namespace layerd::http {

namespace {

constexpr std::size_t kReadBytes = 16_KiB;
constexpr std::size_t kMostBacklog = 40_KiB;  // one head of the greatest size
constexpr ByteCount kMostLingered = 16_MiB;   // a client that goes on sending after FIN is cut
constexpr Duration kDrainLinger = std::chrono::milliseconds(500);  // the process waits for these
constexpr std::size_t kMostIdleBody = 1_KiB;  // room for a request's body that an idle connection keeps
constexpr char kTlsHandshake = 0x16;          // the first byte of a ClientHello record

bool wants_continue(const RequestHead& request) {
  const auto expect = request.headers.get("Expect");
  return expect && equal_ignoring_case(*expect, "100-continue");
}

}  // namespace

ServerShared::ServerShared(Loop& loop_, Service& service_, Metrics& metrics, const ServerLimits& limits_)
    : loop(loop_),
      service(service_),
      limits(limits_),
      requests(metrics.counter("layerd_http_requests_total", "Requests whose head was read whole.")),
      refused_requests(metrics.counter("layerd_http_refused_requests_total",
                                       "Requests refused for their form or their slowness.")) {}

ServerConnection::ServerConnection(ServerShared& shared, net::ByteStreamPtr stream)
    : shared_(shared),
      stream_(std::move(stream)),
      parser_(Parser::Kind::request, shared.limits.request_head) {}

ServerConnection::~ServerConnection() { handler_.reset(); }

void ServerConnection::start() {
  set_deadline(shared_.loop.now() + shared_.limits.idle);
  read_on();
}

void ServerConnection::set_deadline(TimePoint time) {
  deadline_ = time;
  if (time != TimePoint::max()) shared_.wake_by(time);
}

// Keeps one read outstanding, as long as there is room for what it brings.
void ServerConnection::read_on() {
  if (read_armed_ || input_ended_ || state_ == State::closed) return;
  if (state_ == State::serving && backlog_.size() >= kMostBacklog) return;
  read_armed_ = true;
  reading_ = stream_->read(kReadBytes, [this](Result<Bytes> got) {
    read_armed_ = false;
    on_read(std::move(got));
  });
}

void ServerConnection::on_read(Result<Bytes> got) {
  if (!got) return on_end(&got.error());
  if (got->empty()) return on_end(nullptr);
  read_on();  // before anything else, so that the socket need not stop and start for each request
  if (state_ == State::lingering) {
    lingered_ += got->size();
    if (lingered_ > kMostLingered) close();
    return;
  }
  if (state_ == State::serving) {
    if (!close_after_) backlog_.append(got->view());
    return;
  }
  if (backlog_.empty()) return pump(got->view());
  backlog_.append(got->view());
  pump_backlog();
}

// The client has closed its side, or the connection is broken.
void ServerConnection::on_end(const Error* error) {
  input_ended_ = true;
  if (state_ != State::serving) return close();
  if (tail_only_ && error == nullptr) {
    close_after_ = true;  // it may still read; a full close shows when the write fails
    return;
  }
  hang_up(error != nullptr ? "the connection to the client broke: " + error->message : "the client hung up");
}

void ServerConnection::pump(ByteView input) {
  pumping_ = true;
  while (!input.empty() && (state_ == State::idle || state_ == State::head || state_ == State::body)) {
    input.remove_prefix(take(input));
  }
  pumping_ = false;
  if (state_ == State::serving && !close_after_) backlog_.append(input);
}

void ServerConnection::pump_backlog() {
  const std::string input = std::exchange(backlog_, {});
  pump(input);
}

std::size_t ServerConnection::take(ByteView input) {
  if (state_ == State::body) return take_body(input);
  if (state_ == State::head) return take_head(input);
  if (!seen_any_ && input.front() == kTlsHandshake) {
    started_ = first_byte_ = shared_.loop.now();
    stream_->write_detached(Bytes::copy_of(
        "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks plain HTTP; the client sent a TLS handshake.\n"));
    shared_.refused_requests.add();
    status_ = 400;
    report(false, "a TLS handshake came to a port that speaks plain HTTP");
    close_gently();
    return input.size();
  }
  seen_any_ = true;
  // Empty lines between requests are allowed and mean nothing (RFC 9112 section 2.2).
  const auto blank = std::min(input.find_first_not_of("\r\n"), input.size());
  if (blank > 0) return blank;
  state_ = State::head;
  started_ = shared_.loop.now();
  return take_head(input);
}

std::size_t ServerConnection::take_head(ByteView input) {
  const std::size_t used = parser_.feed_head(input);
  if (const auto& fault = parser_.fault()) {
    refuse(fault->status, "UNSUPPORTED", fault->message);
  } else if (parser_.head_complete()) {
    on_head();
  } else if (deadline_ > started_ + shared_.limits.head) {
    set_deadline(started_ + shared_.limits.head);
  }
  return used;
}

// Few services want a request body. A short one is read before the answer, so that the connection stays
// in step, and dropped unless it is to be kept; a long one, or one that waits for "100 Continue", is answered
// without being read, and the connection ends with that answer.
void ServerConnection::on_head() {
  shared_.requests.add();
  close_after_ = !parser_.keep_alive() || shared_.draining;
  const auto framing = parser_.framing();
  if (framing == Framing::none) return serve();
  body_left_ = framing == Framing::length ? parser_.content_length() : shared_.limits.discarded_body;
  if (wants_continue(parser_.request()) || body_left_ > shared_.limits.discarded_body) {
    close_after_ = true;
    return serve();
  }
  state_ = State::body;
  set_deadline(started_ + shared_.limits.head);
}

std::size_t ServerConnection::take_body(ByteView input) {
  const auto most = static_cast<std::size_t>(std::min<ByteCount>(input.size(), body_left_));
  if (parser_.framing() == Framing::length) {
    body_left_ -= most;
    if (parser_.content_length() <= shared_.limits.kept_body) body_.append(input.substr(0, most));
    if (body_left_ == 0) serve();
    return most;
  }
  Bytes piece = Bytes::copy_of(input.substr(0, most));  // it is decoded in place
  const auto decoded = parser_.feed_chunked(piece.data(), piece.size());
  body_left_ -= decoded.used;
  if (const auto& fault = parser_.fault()) {
    refuse(fault->status, "UNSUPPORTED", fault->message);
  } else if (parser_.body_complete()) {
    serve();
  } else if (body_left_ == 0) {
    close_after_ = true;
    serve();
  }
  return decoded.used;
}

void ServerConnection::serve() {
  state_ = State::serving;
  deadline_ = TimePoint::max();
  started_ = first_byte_ = shared_.loop.now();
  auto handler = shared_.service.serve(*this);
  if (state_ == State::serving && !tail_only_) handler_ = std::move(handler);
}

// Tells the service how the exchange went, and forgets it.
void ServerConnection::report(bool complete, std::string error) {
  const auto seconds = [this](TimePoint until) {
    return std::chrono::duration<double>(until - started_).count();
  };
  Service::Summary summary;
  summary.request = &parser_.request();
  summary.status = status_;
  summary.body_bytes = body_sent_;
  summary.complete = complete;
  summary.total_seconds = seconds(shared_.loop.now());
  summary.first_byte_seconds = status_ == 0 ? 0 : seconds(first_byte_);
  summary.notes = &notes_;
  summary.peer = &stream_->peer();
  summary.error = std::move(error);
  shared_.service.ended(summary);
  notes_.clear();
  status_ = 0;
  body_sent_ = content_length_ = 0;
  tail_only_ = false;
}

// The answer is out, whole or broken off. The next request begins, or the connection ends.
void ServerConnection::end_exchange(bool complete, std::string error) {
  handler_.reset();
  sending_.reset();
  file_.reset();
  flushing_.reset();
  held_.clear();
  report(complete, std::move(error));
  body_.clear();
  if (body_.capacity() > kMostIdleBody) body_.shrink_to_fit();
  if (!complete || close_after_ || input_ended_ || shared_.draining) return close_gently();
  state_ = State::idle;
  parser_.next();
  set_deadline(shared_.loop.now() + shared_.limits.idle);
  if (!pumping_ && !backlog_.empty()) pump_backlog();
  read_on();
}

// The client is gone.
void ServerConnection::hang_up(std::string error) {
  handler_.reset();
  report(false, std::move(error));
  close();
}

// FIN behind what was written, then wait for the client's: closing a socket with unread input would
// reset the connection and could take back bytes the client has not read yet.
void ServerConnection::close_gently() {
  if (input_ended_) return close();
  state_ = State::lingering;
  backlog_.clear();
  stream_->shut_down();
  const Duration linger =
      shared_.draining ? std::min(shared_.limits.linger, kDrainLinger) : shared_.limits.linger;
  set_deadline(shared_.loop.now() + linger);
  read_on();
}

void ServerConnection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  deadline_ = TimePoint::max();
  handler_.reset();
  sending_.reset();
  reading_.reset();
  writing_.reset();
  flushing_.reset();
  shared_.retire(*this);
}

void ServerConnection::turn_away() {
  started_ = shared_.loop.now();
  refuse(503, "TOOMANYREQUESTS", "layerd serves as many connections as it may; try again later");
}

void ServerConnection::drain() {
  close_after_ = true;
  if (state_ == State::idle) close();
}

void ServerConnection::cut() {
  if (state_ != State::serving) return close();
  if (tail_only_) return hang_up("the client did not take the answer before the end of the drain");
  if (status_ != 0) return break_off(Error{Errc::canceled, "layerd stops"});
  handler_.reset();
  refuse(503, "TOOMANYREQUESTS", "layerd stops; ask again");
}

void ServerConnection::on_deadline() {
  switch (state_) {
    case State::head:
    case State::body:
      return refuse(408, "UNSUPPORTED", "the request did not arrive in time");
    case State::serving:
      return hang_up(
          fmt::format("the client took nothing for {} s",
                      std::chrono::duration_cast<std::chrono::seconds>(shared_.limits.send_stall).count()));
    case State::idle:
    case State::lingering:
    case State::closed:
      return close();
  }
}

void ServerConnection::note(std::string_view name, std::string value) {
  notes_.emplace_back(std::string(name), std::move(value));
}

}  // namespace layerd::http
