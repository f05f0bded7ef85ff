// Reads a small body (a manifest, a list of tags) to its end into memory. Loop thread.
#pragma once

#include <memory>
#include <string>

#include "proxy/http/client.h"
#include "runtime/budget.h"
#include "runtime/loop.h"
#include "runtime/ticket.h"

namespace layerd::proxy {

// The largest manifest, index or list that is taken from an upstream (protocol.md §7.4).
inline constexpr std::size_t kMostSmallBody = 4u << 20;

struct SmallBody {
  std::string bytes;
  BufferBudget::Lease lease;  // the body's share of the process's buffers
};

// Answers the whole body. Errors: as BodyReader::read; upstream_protocol: more than kMostSmallBody
// bytes; upstream_timeout: not at its end by `deadline`. Dropping the Ticket closes the body.
Ticket read_whole(Loop& loop, BufferBudget& buffers, std::unique_ptr<http::BodyReader> body,
                  Deadline deadline, Done<SmallBody> done);

}  // namespace layerd::proxy
