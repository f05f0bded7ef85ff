// StoredFile: a finished blob held open. OpenBlobs: which are open, with a few kept open for the
// next request. Loop thread.
#pragma once

#include <functional>
#include <list>
#include <unordered_map>

#include "cache/blob_store.h"
#include "cache/file_ops.h"
#include "runtime/workers.h"

namespace layerd::cache {

class StoredFile final : public StoredBlob {
 public:
  using Failed = std::function<void(const Error&)>;
  // failed: hears, on the loop, of a read the disk refused.
  StoredFile(Loop& loop, Workers& workers, Digest digest, FilePtr file, FileFacts facts, FileOpsPtr files,
             Failed failed);
  ~StoredFile() override { report(); }

  const Digest& digest() const override { return digest_; }
  ByteCount byte_count() const override { return facts_.size; }
  bool bad() const override { return bad_; }
  Ticket size(Done<ByteCount> done) override;
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override;
  FilePtr file() const override { return file_; }

  // Tells of reads that failed where nobody could: in sendfile.
  void report();

  const FileFacts& facts() const { return facts_; }
  void set_bad() { bad_ = true; }
  TimePoint looked_at() const { return looked_at_; }
  void looked(TimePoint now) { looked_at_ = now; }

 private:
  Loop& loop_;
  Workers& workers_;
  const Digest digest_;
  const FilePtr file_;
  const FileFacts facts_;
  const FileOpsPtr files_;
  const Failed failed_;
  bool bad_ = false;
  TimePoint looked_at_{};
};
using StoredFilePtr = std::shared_ptr<StoredFile>;

class OpenBlobs {
 public:
  void add(const StoredFilePtr& blob);
  // Null if it is not open. Makes it the most recent.
  StoredFilePtr find(const Digest& digest);
  // Forgets it; who holds it goes on with it.
  void drop(const Digest& digest);
  // Drops our own hold first: true if somebody else reads it.
  bool in_use(const Digest& digest);
  bool is_open(const Digest& digest) const { return open_.contains(digest); }

 private:
  void forget_closed();
  static constexpr std::size_t kKept = 64;
  std::list<StoredFilePtr> recent_;  // newest first
  std::unordered_map<Digest, std::weak_ptr<StoredFile>> open_;
  std::size_t forget_at_ = 256;
};

}  // namespace layerd::cache
