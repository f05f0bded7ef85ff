// One connection of a client: requests one after another, each an exchange. Loop thread.
//
// A read is kept outstanding while an exchange runs, so a client that leaves is noticed. The end of
// the client's stream counts as leaving, as nginx has it by default: the handler is destroyed, also
// when the client only shut down its sending side. Not so once the handler is gone and only the
// tail of a small answer is on its way. Pipelined requests wait in a backlog of about one head.
//
// It ends with FIN, never RST: after the last answer it shuts down its side and discards what the
// client still sends, until the client closes or a short time is over. The server then deletes it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/http/exchange.h"
#include "proxy/http/head_writer.h"
#include "proxy/http/parser.h"
#include "runtime/clock.h"
#include "runtime/loop.h"
#include "runtime/metrics.h"

namespace layerd::http {

struct ServerLimits {
  std::size_t connections = 1024;
  Duration idle = std::chrono::seconds(75);       // between two requests, and before the first
  Duration head = std::chrono::seconds(10);       // from the first byte of a request to its end
  Duration send_stall = std::chrono::minutes(5);  // for the client to take one piece (at most 8 MiB)
  Duration linger = std::chrono::seconds(2);      // for the client to close after us
  ByteCount discarded_body = 64_KiB;              // a longer request body ends the connection
  ByteCount kept_body = 0;                        // bodies up to this, with their length told, are kept
  HeadLimits request_head{};
};

class ServerConnection;

// What the connections of one server share. The server implements the rest.
struct ServerShared {
  ServerShared(Loop& loop_, Service& service_, Metrics& metrics, const ServerLimits& limits_);
  virtual ~ServerShared() = default;
  // The connection has ended; it is deleted later in this turn of the loop, not at once.
  virtual void retire(ServerConnection& connection) = 0;
  // Sees to it that on_deadline() is called at `time` or soon after.
  virtual void wake_by(TimePoint time) = 0;

  Loop& loop;
  Service& service;
  const ServerLimits limits;
  DateCache dates;
  std::string scratch;    // one answer at a time is put together here
  bool draining = false;  // no connection outlives its running exchange
  Counter& requests;
  Counter& refused_requests;
};

class ServerConnection final : public Exchange {
 public:
  ServerConnection(ServerShared& shared, net::ByteStreamPtr stream);
  ~ServerConnection() override;

  // Begins to read.
  void start();
  // Answers 503 before anything was asked, and closes.
  void turn_away();
  // Closes at once if no request is under way; else after its answer.
  void drain();
  // Ends what runs: an answer that has not begun becomes 503, a body is broken off.
  void cut();

  TimePoint deadline() const { return deadline_; }
  void on_deadline();
  std::size_t place = 0;  // in the server's list; the server's own

  const RequestHead& request() const override { return parser_.request(); }
  const net::Address& peer() const override { return stream_->peer(); }
  const net::Address& local() const override { return stream_->local(); }
  net::OwnerSlot& owner() override { return owner_; }
  std::string_view request_body() const override { return body_; }
  net::PeerCard* card() override { return stream_->card(); }
  void respond(ResponseHead head, std::string_view body) override;
  void respond_head(ResponseHead head, ByteCount content_length) override;
  void begin(ResponseHead head, ByteCount content_length) override;
  Ticket send(Bytes bytes, Callback<void()> sent) override;
  Ticket send_file(FilePtr file, ByteRange range, Callback<void()> sent) override;
  void finish() override;
  void break_off(const Error& why) override;
  bool head_sent() const override { return status_ != 0; }
  void note(std::string_view name, std::string value) override;

 private:
  enum class State {
    idle,       // no byte of a request is here
    head,       // part of a request head is here
    body,       // the body of a request is being discarded
    serving,    // an exchange runs, or the tail of its answer is on its way
    lingering,  // FIN is sent; what still comes is discarded
    closed,     // retired; only waits to be deleted
  };
  struct Sending;  // the operation behind the Ticket of send() and send_file()

  void read_on();
  void on_read(Result<Bytes> got);
  void on_end(const Error* error);
  void pump(ByteView input);
  void pump_backlog();
  std::size_t take(ByteView input);
  std::size_t take_head(ByteView input);
  std::size_t take_body(ByteView input);
  void on_head();
  void serve();

  void flush();
  std::shared_ptr<Sending> begin_sending(ByteCount size, Callback<void()> sent);
  void write(Bytes bytes, ByteCount body_bytes);
  void send_piece();
  void on_written(const Result<Ok>& written, ByteCount body_bytes);
  void answer(const ResponseHead& head, ByteCount content_length, std::string_view body);
  void write_tail(std::string_view head_and_body, std::string_view body);
  ResponseFraming framing_for(int status, ByteCount content_length);
  ByteCount body_length_for(int status, ByteCount content_length) const;

  void refuse(int status, std::string_view code, const std::string& message);
  void report(bool complete, std::string error);
  void end_exchange(bool complete, std::string error);
  void hang_up(std::string error);
  void close_gently();
  void close();
  void set_deadline(TimePoint time);

  ServerShared& shared_;
  net::ByteStreamPtr stream_;
  Parser parser_;
  State state_ = State::idle;
  TimePoint deadline_ = TimePoint::max();
  std::string backlog_;       // bytes behind the request that is being served
  ByteCount body_left_ = 0;   // of a request body to discard; for a chunked one: its allowance
  std::string body_;          // of the request; kept for the service
  ByteCount lingered_ = 0;    // bytes discarded since FIN
  bool pumping_ = false;      // pump() is on the stack and goes on by itself
  bool close_after_ = false;  // this answer is the last one
  bool read_armed_ = false;
  bool input_ended_ = false;
  bool seen_any_ = false;  // a byte has come on this connection
  net::OwnerSlot owner_;

  // Of the running exchange.
  std::unique_ptr<Handler> handler_;
  int status_ = 0;                // 0 until begin() or respond()
  bool tail_only_ = false;        // respond() was called; the kernel has not taken all of it
  std::string held_;              // a head that waits for the first bytes of its body, or this turn's end
  ByteCount content_length_ = 0;  // what the body must come to
  ByteCount body_sent_ = 0;       // what the kernel took of it
  std::shared_ptr<Sending> sending_;
  FilePtr file_;  // of a running send_file()
  ByteRange file_left_;
  TimePoint started_{};
  TimePoint first_byte_{};
  std::vector<std::pair<std::string, std::string>> notes_;

  Ticket reading_;
  Ticket writing_;
  Ticket flushing_;
};

}  // namespace layerd::http
