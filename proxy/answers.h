// How answers look: the headers of protocol.md §7, conditions and ranges, and errors. Loop thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/asked.h"
#include "proxy/body_pump.h"
#include "proxy/exchange_log.h"
#include "proxy/http/exchange.h"
#include "runtime/digest.h"

namespace layerd::proxy {

// What an answer says of the object it carries.
struct ObjectFacts {
  const Digest& digest;
  std::string_view media_type;
  ByteCount size = 0;
  Served served = Served::hit;
  std::string_view why;  // for Warning; empty unless served is stale
};

// What leaves for one request: the head without its length, and the pieces of the body.
struct AnswerPlan {
  http::ResponseHead head;        // 200, 206, 304 or 416
  std::vector<BodyPiece> pieces;  // empty for 304 and 416
  ByteCount length = 0;           // of all pieces
  bool whole = false;             // the body is the whole object
};

// If-None-Match first, then Range with If-Range (RFC 9110 §13.2.2). Range on HEAD is ignored.
AnswerPlan plan_answer(const http::Exchange& exchange, const Asked& asked, const ObjectFacts& facts);

// Notes for the log line; every handler calls it once before it answers.
void note_object(http::Exchange& exchange, std::string_view event, const Asked& asked);
void note_served(http::Exchange& exchange, Served served);

// HEAD, 304 and 416: what needs no bytes. False: the bytes are needed, nothing was sent. Call it last.
bool respond_without_bytes(http::Exchange& exchange, AnswerPlan& plan, ByteCount size);
// The whole answer for an object whose bytes are at hand. Call it last.
void respond_with_bytes(http::Exchange& exchange, const Asked& asked, const ObjectFacts& facts,
                        std::string_view bytes);

// The one way from an Error to a client: status, OCI code, message and reason phrase. Call it last.
// asked: null when the request was not understood.
void respond_error(http::Exchange& exchange, const Asked* asked, const Error& error);

}  // namespace layerd::proxy
