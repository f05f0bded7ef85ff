// Sends the pieces of a body to a client from a Source: a finished file leaves by send_file, a
// growing one chunk by chunk, one in flight, so that a slow client slows only itself. Loop thread.
//
// Owned by the handler of the exchange. Destroying it stops the sending. It neither finishes the
// exchange nor breaks it off: that is the handler's word.
#pragma once

#include <string>
#include <vector>

#include "cache/blob_store.h"
#include "proxy/http/exchange.h"

#include "runtime/callback.h"

namespace layerd::proxy {

// Literal bytes, then a stretch of the object; either may be empty.
struct BodyPiece {
  std::string literal;
  ByteRange range;
};

class BodyPump {
 public:
  // stored: the same as source if that is a finished blob, else null.
  BodyPump(http::Exchange& exchange, cache::SourcePtr source, const cache::StoredBlob* stored);

  // After exchange.begin() with the length of all pieces. `ended` runs when all of them have left (finish
  // the exchange) or with the error of the source (break it off: a body is never padded). May run
  // before start returns only if there is nothing to send.
  // first: bytes of the first range that were read already, or none.
  void start(std::vector<BodyPiece> pieces, Bytes first, Done<Ok> ended);

 private:
  void end(Result<Ok> result);
  void next();
  void send_literal(BodyPiece& piece);
  void send_slice(BodyPiece& piece, FilePtr file);
  void read_chunk(BodyPiece& piece);
  void send_chunk(BodyPiece& piece, Bytes chunk);

  http::Exchange& exchange_;
  cache::SourcePtr source_;
  const cache::StoredBlob* stored_;
  std::vector<BodyPiece> pieces_;
  std::size_t current_ = 0;
  Done<Ok> ended_;
  Ticket pending_;
};

}  // namespace layerd::proxy
