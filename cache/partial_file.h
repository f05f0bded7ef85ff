// The disk side of a partial blob: the sparse file, the record of its ranges, the running hash.
// Worker side: one call at a time, in the order DiskPartial gives them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/file_ops.h"
#include "cache/layout.h"
#include "runtime/digest.h"
#include "runtime/range_set.h"

namespace layerd::cache {

inline constexpr ByteCount kUnitBytes = 8_MiB;

class PartialFile {
 public:
  struct Loaded {
    RangeSet present;
    std::optional<ByteCount> size;
    FilePtr file;  // null if there is none yet
  };
  struct Committed {
    FilePtr file;
    FileFacts facts;
    std::string units;  // sha256 of each 8 MiB, 32 raw bytes each; empty up to one unit
  };

  PartialFile(FileOpsPtr files, Layout layout, Digest digest, std::string boot_id);

  // What a former download left and may be trusted. No file is made.
  Result<Loaded> load();
  // Writes what of the pieces, one behind the other from `offset`, is absent (never over what is present:
  // it may be hashed already), then hashes on from the front. After an error present() tells what of it is
  // there all the same.
  Result<Ok> write(ByteCount offset, const std::vector<ByteView>& pieces);
  // Hashes up to `most` bytes that came before the front reached them.
  Result<Ok> catch_up(ByteCount most);
  // The range is absent again; the hash begins anew if the front had passed its beginning.
  Result<Ok> take_back(ByteRange range);
  // Notes what is not yet noted; where the record ends afterwards.
  Result<ByteCount> record();
  // Beside other calls: touches nothing but `data`.
  Result<Ok> sync_data(const File& data) const { return files_->sync(data, true); }
  // The data up to record offset `end` has been synced: notes it, durably.
  Result<Ok> mark_synced(ByteCount end);
  void set_size(ByteCount size);
  // Is the front at `size` and the digest the right one? Errors: digest_mismatch.
  Result<Ok> compare(ByteCount size) const;
  // Syncs, renames to its place among the finished blobs, forgets the record. After an error it may be
  // called again and goes on where it stopped.
  Result<Committed> commit();
  // Empty again; the bytes go to `aside` if that names a path.
  Result<Ok> reset(const std::string& aside);

  ByteCount front() const { return front_; }
  const RangeSet& present() const { return present_; }
  const Hasher& hasher() const { return hasher_; }
  FilePtr file() const { return data_; }

 private:
  Result<Ok> open_files();
  Result<Ok> append(const std::string& entries);
  bool needs_own_unit() const;
  void begin_hash();
  void hash(ByteView bytes);

  FileOpsPtr files_;
  Layout layout_;
  Digest digest_;
  std::string boot_id_;
  FilePtr data_;
  FilePtr ranges_;
  ByteCount record_end_ = 0;
  bool needs_boot_ = true;
  bool folder_synced_ = false;
  bool is_renamed_ = false;  // a commit came so far
  std::optional<ByteCount> size_, unrecorded_size_;
  RangeSet present_;
  RangeSet unrecorded_;
  ByteCount front_ = 0;
  Hasher hasher_;
  std::optional<Hasher> unit_;  // of the unit the front is in, where it needs one of its own
  std::string units_;
};

}  // namespace layerd::cache
