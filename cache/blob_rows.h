// Typed rows of finished and partial blobs, with totals kept in the same batch of the index, so
// that nothing needs to be counted at start and no blob costs memory. Loop thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cache/file_ops.h"
#include "cache/index.h"
#include "runtime/digest.h"

namespace layerd::cache {

struct BlobEntry {
  FileFacts facts;             // mtime and inode 0: the file was found by name, never verified
  std::int64_t last_used = 0;  // unix seconds
  bool pinned = false;
};

struct PartialEntry {
  ByteCount bytes = 0;
  std::int64_t last_used = 0;
};

struct Totals {
  ByteCount bytes = 0;
  std::uint64_t blobs = 0;
  ByteCount partial_bytes = 0;
};

class BlobRows {
 public:
  explicit BlobRows(Index& index);

  std::optional<BlobEntry> find(const Digest& digest) const;
  void put(const Digest& digest, const BlobEntry& entry);
  void remove(const Digest& digest);
  // A pin is a row of its own, in the journal too: it survives the loss of the index.
  bool is_pinned(const Digest& digest) const;
  void set_pin(const Digest& digest, bool pinned);
  // Blobs that came while the pins could not be read are marked now.
  void mark_pinned();
  // Oldest use first, from the row behind `after` on, until `row` answers false.
  void by_use(std::optional<std::pair<std::int64_t, Digest>> after,
              const std::function<bool(const Digest&, const BlobEntry&)>& row) const;
  // In order of digests, from the one behind `after` on, whether that is still there or not.
  void by_digest(const std::optional<Digest>& after,
                 const std::function<bool(const Digest&, const BlobEntry&)>& row) const;
  std::optional<Digest> next_digest(const std::optional<Digest>& after) const;

  std::optional<PartialEntry> find_partial(const Digest& digest) const;
  void put_partial(const Digest& digest, PartialEntry entry);
  void remove_partial(const Digest& digest);
  void partials(const std::function<bool(const Digest&, const PartialEntry&)>& row) const;

  // The sha256 of each 8 MiB of a blob, 32 raw bytes each; empty if not known.
  std::vector<Digest> units(const Digest& digest) const;
  void put_units(const Digest& digest, std::string units);

  std::string note(ByteView name) const;  // a row of the meta table; empty if absent
  void put_note(ByteView name, std::string value);
  void remove_note(ByteView name);

  const Totals& totals() const { return totals_; }

 private:
  void put_totals();
  Index& index_;
  Totals totals_;
};

}  // namespace layerd::cache
