// BlobStore: digest -> bytes on this disk. The one class of the cache that others call for bytes;
// Catalog (cache/catalog.h) is the one for records. Knows no sockets, no registries, no image names.
// An interface, so that flow tests can put a failing store under the proxy. Loop thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/partial_blob.h"
#include "cache/source.h"
#include "runtime/digest.h"
#include "runtime/result.h"
#include "runtime/ticket.h"

namespace layerd::cache {

// A finished blob that is held open: while this lives it is not evicted. file() is never null.
class StoredBlob : public Source {
 public:
  virtual const Digest& digest() const = 0;
  virtual ByteCount byte_count() const = 0;
  // A verification in the background found its bytes wrong while this was held: whoever is sending
  // from file() must break the body off, short of its length. read() answers digest_mismatch then.
  virtual bool bad() const { return false; }
};
using StoredBlobPtr = std::shared_ptr<StoredBlob>;

struct StoreStats {
  ByteCount bytes = 0;          // finished blobs
  ByteCount partial_bytes = 0;  // present bytes of partial ones
  std::uint64_t blobs = 0;
  ByteCount max_bytes = 0;       // the cap in force
  ByteCount free_bytes = 0;      // of the file system, as last seen
  ByteCount min_free_bytes = 0;  // the floor in force
  std::uint64_t evicted_bytes = 0;
  std::uint64_t quarantined = 0;
  bool read_only = false;  // the disk refused writes lately (EIO, EROFS): pass-through mode
};

struct BlobRow {
  Digest digest;
  ByteCount size = 0;
  std::int64_t last_used = 0;  // unix seconds
  bool pinned = false;
  bool in_use = false;
};

class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Opens a finished blob. A file whose size, mtime or inode differ from the index is verified
  // first; a bad one is set aside and the answer is not_found. Marks it used.
  virtual Ticket open(const Digest& digest, Done<StoredBlobPtr> done) = 0;
  // Is it there, as far as the index knows? No disk access but while the index is made anew. For HEAD of hot
  // objects and eviction-free checks.
  virtual std::optional<ByteCount> known_size(const Digest& digest) const = 0;

  // The partial blob of `digest`: a new one or what a former download left. While it is held no
  // other is given out (two calls answer the same object). Reserves nothing yet.
  virtual Ticket begin(const Digest& digest, Done<PartialBlobPtr> done) = 0;
  // sha256 of each 8 MiB of a finished blob of more than one such unit; empty where it is not known.
  virtual std::vector<Digest> units(const Digest& digest) const = 0;
  // Makes room for `more` bytes of `digest` by evicting. Errors: no_space: neither cap nor floor can
  // be kept even so. Ask before each growth (several MiB at a time), give back by the write itself.
  virtual Ticket reserve(const Digest& digest, ByteCount more, Done<Ok> done) = 0;
  // After partial->verify(): fsync, rename, index. The partial is spent afterwards.
  virtual Ticket commit(PartialBlobPtr partial, Done<StoredBlobPtr> done) = 0;

  // A whole small object (a manifest): checks the digest, writes, commits. Errors: digest_mismatch,
  // no_space, local_io.
  virtual Ticket put(const Digest& digest, Bytes content, Done<Ok> done) = 0;
  // A whole small object, at most `most` bytes; hot ones come from memory. Errors: not_found.
  virtual Ticket get(const Digest& digest, ByteCount most, Done<Bytes> done) = 0;
  // From memory only; null if it is not there. Valid until the next call of this class.
  virtual const std::string* hot(const Digest& digest) = 0;

  // Somebody was served the whole blob. When it is asked for again within a minute or so that is how a
  // client's digest failure looks: verified in the background, once per blob and hour.
  virtual void served_whole(const Digest& digest) = 0;

  // For commands. Rows in order of digests, from behind `after` on, there or not; at most `most` rows.
  virtual std::vector<BlobRow> list(std::optional<Digest> after, std::size_t most) = 0;
  virtual Ticket remove(const Digest& digest, Done<Ok> done) = 0;  // not_found, overloaded: in use or pinned
  virtual Ticket pin(const Digest& digest, bool pinned, Done<Ok> done) = 0;
  virtual Ticket gc(Done<ByteCount> done) = 0;  // evicts down to cap and floor; bytes freed
  virtual Ticket verify(const Digest& digest, Done<bool> done) = 0;  // false: was bad, set aside
  virtual StoreStats stats() const = 0;
};

}  // namespace layerd::cache
