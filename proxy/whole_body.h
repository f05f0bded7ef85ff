// Reads a small body (a manifest, a list of tags) to its end into memory. Loop thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/http/client.h"
#include "runtime/budget.h"
#include "runtime/loop.h"
#include "runtime/ticket.h"

namespace layerd::proxy {

// The largest manifest, index or list that is taken from an upstream (protocol.md §7.4).
inline constexpr std::size_t kMostSmallBody = 4u << 20;

// All small bodies together, of the process's buffers: however many there are, the downloads keep the rest.
inline constexpr ByteCount kSmallBodies = 8_MiB;

// Where small bodies take their leases: each both from their own share and from the whole.
struct SmallBodyBudget {
  SmallBodyBudget(Loop& loop, BufferBudget& buffers) : all(buffers), share(loop, kSmallBodies) {}
  BufferBudget& all;
  BufferBudget share;
};

struct SmallBody {
  std::string bytes;
  std::vector<BufferBudget::Lease> leases;  // the body's part of the process's buffers
};

// Answers the whole body. Leases 64 KiB at a time as the bytes come; waits for them behind downloads.
// Errors: as BodyReader::read; upstream_protocol: more than kMostSmallBody bytes; upstream_timeout: not at
// its end by `deadline`; overloaded: kSmallBodies are in use. Dropping the Ticket closes the body.
Ticket read_whole(Loop& loop, SmallBodyBudget& budget, std::unique_ptr<http::BodyReader> body,
                  Deadline deadline, Done<SmallBody> done);

}  // namespace layerd::proxy
