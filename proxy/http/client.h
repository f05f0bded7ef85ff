// HTTP client: one request over a pooled connection. Loop thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "proxy/http/message.h"
#include "proxy/net/dialer.h"
#include "runtime/bytes.h"
#include "runtime/ticket.h"

namespace layerd::http {

inline constexpr std::size_t kMostBodyRead = 256_KiB;

// The body of an answer, pulled chunk by chunk. Destroying it early closes the connection (or gives it
// back to the pool when what is left is small and already here).
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next bytes of the body, at most `max` (1..kMostBodyRead); an empty Bytes at its proper end. The
  // socket is only read while a read is outstanding. One at a time.
  // Errors: truncated (short of Content-Length, or a chunked body without its end); upstream_timeout
  // (no byte for the stall time of the request); upstream_unreachable (reset); upstream_protocol.
  virtual Ticket read(std::size_t max, Done<Bytes> done) = 0;
  // The number of body bytes that is to come by the head; nothing if it ends with the connection or is
  // chunked.
  virtual std::optional<ByteCount> length() const = 0;
};

struct ClientRequest {
  net::DialRequest where;                    // its deadline bounds connecting
  RequestHead head;                          // Host is added from `where` if absent
  std::string body;                          // for POST; Content-Length is added
  Deadline head_deadline;                    // for the first byte and the whole head of the answer
  Duration stall{std::chrono::seconds(30)};  // longest silence within the body
  // Would only be faster with it: `overloaded` at once unless half of the connections to the host are
  // free, so that what a pull cannot do without never waits behind such requests.
  bool is_spare = false;
  // May be sent twice without harm, as a GET may.
  bool may_repeat = false;
  // Never pooled, never reused: for upstreams that misbehave.
  bool fresh_connection = false;
};

struct ClientResponse {
  ResponseHead head;
  std::unique_ptr<BodyReader> body;  // never null; at its end at once for HEAD, 204, 304
  net::Address peer;                 // the address that answered
};

class Client {
 public:
  virtual ~Client() = default;
  // A request that met a pooled connection which closed before the first byte of an answer is sent
  // again once on a fresh one (GET and HEAD only). 1xx answers are passed over.
  // Dropping the Ticket closes the connection. Errors: as Dialer::dial, and as BodyReader::read;
  // overloaded when connections_per_host are busy until the deadline.
  virtual Ticket start(ClientRequest request, Done<ClientResponse> done) = 0;
};

}  // namespace layerd::http
