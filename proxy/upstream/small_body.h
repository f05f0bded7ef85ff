// Reads a body that is small by nature (a token, an error's text) into memory. Loop thread.
#pragma once

#include <memory>
#include <string>

#include "proxy/http/client.h"
#include "runtime/ticket.h"

namespace layerd::upstream {

struct SmallBody {
  std::string text;       // at most the limit
  bool complete = false;  // false: there was more than the limit
};

// Answers what came up to `limit` bytes. Errors: as BodyReader::read.
// Dropping the Ticket destroys the body.
Ticket read_small_body(std::unique_ptr<http::BodyReader> body, std::size_t limit, Done<SmallBody> done);

}  // namespace layerd::upstream
