// Source: the bytes of one blob, finished or still growing. The seam between proxy/ and cache/.
// Loop thread. Dropping a Ticket: the answer is discarded, a disk read under way ends unseen.
#pragma once

#include <memory>

#include "runtime/bytes.h"
#include "runtime/file.h"
#include "runtime/ticket.h"

namespace layerd::cache {

inline constexpr ByteCount kMaxRead = 256_KiB;

class Source {
 public:
  virtual ~Source() = default;

  // Answers once some source has confirmed the blob: its size in bytes. A size known only from a
  // manifest is a hint and never answered here (design.md §3.7).
  // Errors: not_found, denied, upstream_*, no_space, ...: nothing has been sent yet.
  virtual Ticket size(Done<ByteCount> done) = 0;

  // Reads up to `max` bytes at `offset`, waiting while they are still on the way.
  // max: 1..kMaxRead bytes. Answers 1..max bytes, never zero. Of the last min(64 KiB, size) bytes
  // nothing is answered before the blob's digest has been compared, if `max` reaches the end.
  // Errors: range_unsatisfiable at or past the end; local_io; for a growing blob whatever ended it.
  virtual Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) = 0;

  // The committed file, for sendfile; null while it grows. May turn from null to a file.
  virtual FilePtr file() const { return nullptr; }

  // Tells the source that a reader wants [range) from now on, so that a running download can
  // fetch ahead for it. A hint; a finished blob ignores it.
  virtual void want(ByteRange range) { static_cast<void>(range); }
};

using SourcePtr = std::shared_ptr<Source>;

}  // namespace layerd::cache
