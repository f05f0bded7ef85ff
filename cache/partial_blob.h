// PartialBlob: a file being filled, in any order, by several sources (docs/formats.md "partial").
//
// Loop-thread object; its disk work runs as worker jobs, at most one write-or-hash job at a time,
// in order of the calls, so that the hash front needs no lock. Reads run beside them. What the jobs
// name lives in a shared block that outlives this object: dropping a PartialBlob never loses what
// was written; the file and its record of ranges stay for a later resume.
#pragma once

#include <memory>
#include <optional>

#include "cache/source.h"
#include "runtime/digest.h"
#include "runtime/range_set.h"
#include "runtime/ticket.h"

namespace layerd::cache {

class PartialBlob {
 public:
  virtual ~PartialBlob() = default;

  virtual const Digest& digest() const = 0;
  // The confirmed size, once known. set_size() with another size than before discards every byte
  // (the source that gave the first one lied or the second does) and counts it.
  virtual std::optional<ByteCount> size() const = 0;
  virtual void set_size(ByteCount size) = 0;

  // Bytes on disk and readable. Grows only after the write that brought them has returned.
  virtual const RangeSet& present() const = 0;
  // Bytes [0, hashed_front()) are part of the running digest.
  virtual ByteCount hashed_front() const = 0;

  // Writes `bytes` at `offset`; hashes them in the same job when they lie at the hash front, else
  // the front catches up later by reading back. Answered when they are present.
  // A ranges record is appended at least every 4 MiB, fdatasync every 32 MiB or 5 s.
  // Errors: no_space, local_io: a part of the bytes may be present all the same. Dropping the Ticket: the
  // write happens all the same (present() grows), unseen.
  virtual Ticket write(ByteCount offset, Bytes bytes, Done<Ok> done) = 0;

  // 1..max bytes that are present at `offset`. Errors: local_io; range_unsatisfiable if absent.
  virtual Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) = 0;

  // sha256 of [range), at most 8 MiB, by reading it back; all of it is present. Errors: local_io;
  // range_unsatisfiable if a part is absent, or was taken back meanwhile.
  virtual Ticket hash(ByteRange range, Done<Digest> done) = 0;
  // These bytes are known to be wrong: they are absent from now on, here and in the record, and the front
  // begins anew if it had passed them. Writes of them that still run must have been answered before.
  virtual void take_back(ByteRange range) = 0;

  // All bytes are present: lets the front reach the end and compares the digest.
  // Errors: digest_mismatch: every byte is discarded, a copy is set aside (quarantine), counted;
  // the object is empty again and may be filled from another source.
  virtual Ticket verify(Done<Ok> done) = 0;

  // The state of the hash at hashed_front(), for going on outside the store when the disk is full.
  virtual Ticket hasher_at_front(Done<std::pair<ByteCount, Hasher>> done) = 0;

  // Raised whenever every byte is discarded: what was read or hashed in another generation is of other
  // bytes. Compare again when a read or a hasher has been answered.
  virtual unsigned generation() const = 0;

  // Throws away every byte and the file: there is nothing worth resuming.
  virtual void discard() = 0;
};

using PartialBlobPtr = std::shared_ptr<PartialBlob>;

}  // namespace layerd::cache
