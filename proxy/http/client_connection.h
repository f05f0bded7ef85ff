// One connection to an upstream: requests one after another, answers with their bodies. Loop thread.
//
// At most one of request(), read_body() and watch() waits at a time. A failure, or dropping the Ticket
// of a call that has not answered, leaves the connection broken: fit only to be destroyed, which is
// safe at any time, inside its own callbacks as well.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/http/parser.h"
#include "proxy/net/stream.h"
#include "runtime/clock.h"
#include "runtime/loop.h"
#include "runtime/ticket.h"

namespace layerd::http {

class ClientConnection {
 public:
  // name: the upstream in messages, "host:port".
  ClientConnection(Loop& loop, net::ByteStreamPtr stream, std::string name);
  ~ClientConnection();
  ClientConnection(const ClientConnection&) = delete;
  ClientConnection& operator=(const ClientConnection&) = delete;

  // Sends a request (head and body) and answers with the head of its answer; 1xx are passed over.
  // Errors: upstream_timeout, upstream_unreachable (closed or reset first), upstream_protocol.
  Ticket request(std::string text, bool is_head, Deadline deadline, Done<ResponseHead> done);
  // Of the last request: a byte of its answer has come.
  bool answer_begun() const { return answer_begun_; }

  // The next bytes of the body, at most `max`; empty at its end. Errors as BodyReader::read.
  Ticket read_body(std::size_t max, Duration stall, Done<Bytes> done);
  // What the head says the body comes to; nothing if only its end will tell.
  std::optional<ByteCount> body_length() const { return body_length_; }
  bool body_ended() const { return body_ended_; }
  // What is left of the body is passed over if it is short and already here.
  void skip_rest();
  // Another request may follow: the body has ended, both sides are in step and mean to go on.
  bool reusable() const;

  // Tells when the peer closes the idle connection or says something unasked.
  void watch(Callback<void()> spoiled);
  void stop_watching() { reading_.reset(); }

  const net::Address& peer() const { return stream_->peer(); }
  const std::string& name() const { return name_; }

 private:
  template <class T>
  struct Call;

  void read_head();
  void on_head_bytes(Bytes got);
  bool take_head(Bytes& got);
  Error tls_error() const;
  void on_body_bytes(Bytes got);
  void on_body_end(const Error* error);
  Bytes take_here();
  Bytes take_body(Bytes got);
  void read_more_body();
  void fail(Error error);
  void answer_body(Result<Bytes> result);

  Loop& loop_;
  net::ByteStreamPtr stream_;
  const std::string name_;
  Parser parser_;
  Bytes here_;  // bytes that have come and belong to the body
  bool is_head_ = false;
  bool answer_begun_ = false;
  bool request_sent_ = true;
  bool body_ended_ = true;
  bool broken_ = false;
  int interim_answers_ = 0;  // 1xx before this answer
  Framing framing_ = Framing::none;
  std::optional<ByteCount> body_length_;
  ByteCount body_taken_ = 0;
  std::size_t read_max_ = 0;
  std::shared_ptr<Call<ResponseHead>> head_call_;
  std::shared_ptr<Call<Bytes>> body_call_;
  Ticket reading_;
  Ticket writing_;
  Ticket deadline_;
};

}  // namespace layerd::http
