// Exchange: one request and its answer on the server side; and the seam to the handlers.
//
// The connection parses a request head, makes an Exchange and gives it to the Service, which answers
// at once (respond) or returns a Handler that goes on by itself. The exchange owns the handler: a
// client that hangs up, a write that fails or a drain destroys it. Loop thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proxy/http/message.h"
#include "proxy/net/socket_owner.h"
#include "proxy/net/stream.h"
#include "runtime/file.h"
#include "runtime/ticket.h"

namespace layerd::http {

class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const RequestHead& request() const = 0;
  virtual const net::Address& peer() const = 0;
  virtual const net::Address& local() const = 0;
  // What was found out about who holds the client's end; kept as long as the connection.
  virtual net::OwnerSlot& owner() = 0;
  // The body of the request: as much of it as ServerLimits::kept_body allows, else nothing at all.
  virtual std::string_view request_body() const { return {}; }
  // Of a connection between members: who asks. Null: it is none.
  virtual net::PeerCard* card() { return nullptr; }
  bool is_head() const { return request().method == "HEAD"; }

  // A whole small answer in one write. For HEAD the body is counted in Content-Length, not sent.
  // Finishes the exchange: the handler is destroyed before this returns to the loop, so call it last.
  virtual void respond(ResponseHead head, std::string_view body) = 0;
  // The same for HEAD of an object of that many bytes which are not at hand. Like respond() it may be
  // called before Service::serve has returned, so begin() and finish() work there too.
  virtual void respond_head(ResponseHead head, ByteCount content_length) {
    begin(std::move(head), content_length);
    finish();
  }

  // Sends the head of an answer whose body of exactly `content_length` bytes follows by send() and
  // send_file(). Adds Content-Length, Date, Connection as needed.
  virtual void begin(ResponseHead head, ByteCount content_length) = 0;
  // Answers when the kernel has taken the bytes. A failed send does not answer: it destroys the
  // handler. One at a time.
  virtual Ticket send(Bytes bytes, Callback<void()> sent) = 0;
  // The client must take each piece of a file within ServerLimits::send_stall. Who sends a long file in
  // calls of this size can stop between two of them.
  static constexpr ByteCount kFilePiece = 8_MiB;
  virtual Ticket send_file(FilePtr file, ByteRange range, Callback<void()> sent) = 0;
  // All bytes of the body have been sent. Call it last.
  virtual void finish() = 0;
  // The head is out and the rest will not come: FIN short of Content-Length, never RST.
  // `why` goes to the log line. Call it last.
  virtual void break_off(const Error& why) = 0;
  virtual bool head_sent() const = 0;

  // Fields of the one log line this exchange ends with, and of its metrics.
  virtual void note(std::string_view name, std::string value) = 0;
};

// What goes on by itself after Service::serve has returned. Destroyed when the exchange ends.
class Handler {
 public:
  virtual ~Handler() = default;
};

class Service {
 public:
  virtual ~Service() = default;
  // Answers by exchange.respond() or respond_head() before it returns (then null), or returns what goes on.
  virtual std::unique_ptr<Handler> serve(Exchange& exchange) = 0;
  // The exchange has ended: writes the log line and counts. `error` is null for a clean end.
  struct Summary {
    const RequestHead* request;
    int status = 0;            // 0: no head was sent
    ByteCount body_bytes = 0;  // body bytes the kernel took
    bool complete = false;
    double total_seconds = 0, first_byte_seconds = 0;
    const std::vector<std::pair<std::string, std::string>>* notes;
    const net::Address* peer;
    std::string error;  // empty for a clean end
  };
  virtual void ended(const Summary& summary) = 0;
};

}  // namespace layerd::http
