// ByteStream: one connection, plain or TLS. Loop thread.
//
// Pull-based: nothing is read from the socket unless a read() is outstanding, so back-pressure needs
// no extra call. Destroying the stream closes it at once: with FIN (never RST) when what was written
// has left; its Tickets must be dropped first or with it.
#pragma once

#include <memory>
#include <string>

#include "runtime/bytes.h"
#include "runtime/file.h"
#include "runtime/ticket.h"

namespace layerd::net {

struct Address {
  std::string host;  // numeric, no brackets
  std::uint16_t port = 0;
  bool is_ipv6 = false;
  std::string str() const;  // "10.1.2.3:443", "[::1]:443"
};

struct PeerCard;

class ByteStream {
 public:
  virtual ~ByteStream() = default;

  // The next bytes, at most `max` (default 64 KiB; no buffer is held while nothing arrives).
  // An empty Bytes is the end of the stream (FIN, or close_notify).
  // At most one read at a time.
  // Errors: upstream_unreachable (reset), upstream_protocol (TLS record), truncated (TLS: FIN without
  // close_notify is treated as the end of the stream; HTTP framing decides whether it is truncated).
  virtual Ticket read(std::size_t max, Done<Bytes> done) = 0;

  // Queues `bytes`; answers when the kernel has taken all of them. Writes keep their order.
  virtual Ticket write(Bytes bytes, Done<Ok> done) = 0;
  // A write nobody waits for. Bounded by the caller's manners (small heads, whole small answers).
  virtual void write_detached(Bytes bytes) = 0;
  // Tries to write at once without queueing; answers the number of bytes taken, 0 if the socket is
  // full or earlier writes are queued. The hot path of small answers.
  virtual std::size_t try_write(ByteView bytes) = 0;

  // Sends [range) of `file` after all earlier writes. sendfile(2) for plain TCP; read + write for TLS.
  // Cold pages are read ahead on a worker first. Answers when the kernel has taken all of it.
  // more_follows: at once; the last, partly filled packet may wait for it (200 ms at most).
  virtual Ticket send_file(FilePtr file, ByteRange range, bool more_follows, Done<Ok> done) = 0;

  // FIN after what was queued; reads go on.
  virtual void shut_down() = 0;

  virtual const Address& peer() const = 0;
  virtual const Address& local() const = 0;
  // "TLSv1.3" or empty.
  virtual std::string tls_version() const { return {}; }
  // Of a connection between members: who is there. Null: it is none.
  virtual PeerCard* card() { return nullptr; }
};

using ByteStreamPtr = std::unique_ptr<ByteStream>;

}  // namespace layerd::net
