// MemoryStore: a cache::BlobStore in memory, for deterministic tests of what stands above the cache. Disk
// work is answered by posting, or by real worker threads. It can be told to fail.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "cache/blob_store.h"
#include "runtime/loop.h"
#include "runtime/workers.h"

namespace layerd::test {

class MemoryStore final : public cache::BlobStore {
 public:
  // workers: null: everything is answered by post.
  explicit MemoryStore(Loop& loop, Workers* workers = nullptr) : loop_(loop), workers_(workers) {}

  // Faults and facts for tests.
  ByteCount room = ~ByteCount{0};  // reserve() answers no_space beyond this many bytes in all
  bool begin_fails = false;
  std::optional<ByteCount> write_fails_from;  // a write that begins here or later: no_space
  bool commit_fails = false;
  std::function<void()> on_begin, on_commit;  // before the answer is posted
  Duration write_takes{};                     // virtual time of each write
  unsigned commits = 0;
  unsigned mismatches = 0;
  ByteCount largest_partial_read = 0;  // asked of a partial blob at once
  // The bytes of a committed blob; null if there is none.
  const std::string* committed(const Digest& digest) const;
  // What a former process left: bytes of [range) of `content`.
  void leave_partial(const Digest& digest, const std::string& content, const RangeSet& present,
                     std::optional<ByteCount> size);
  ByteCount partial_bytes(const Digest& digest) const;

  Ticket open(const Digest& digest, Done<cache::StoredBlobPtr> done) override;
  std::optional<ByteCount> known_size(const Digest& digest) const override;
  Ticket begin(const Digest& digest, Done<cache::PartialBlobPtr> done) override;
  std::vector<Digest> units(const Digest& digest) const override;
  Ticket reserve(const Digest& digest, ByteCount more, Done<Ok> done) override;
  Ticket commit(cache::PartialBlobPtr partial, Done<cache::StoredBlobPtr> done) override;
  Ticket put(const Digest& digest, Bytes content, Done<Ok> done) override;
  Ticket get(const Digest& digest, ByteCount most, Done<Bytes> done) override;
  const std::string* hot(const Digest&) override { return nullptr; }
  void served_whole(const Digest&) override {}
  std::vector<cache::BlobRow> list(std::optional<Digest>, std::size_t) override { return {}; }
  Ticket remove(const Digest& digest, Done<Ok> done) override;
  Ticket pin(const Digest& digest, bool pinned, Done<Ok> done) override;
  Ticket gc(Done<ByteCount> done) override;
  Ticket verify(const Digest& digest, Done<bool> done) override;
  cache::StoreStats stats() const override { return {}; }

  bool keeps_units = true;  // else it knows the hashes of none

  // The bytes of one partial blob, shared with the jobs that write them.
  struct Content {
    std::mutex mutex;
    std::string bytes;  // guarded by mutex
  };

 private:
  friend class MemoryPartial;
  struct Left {
    std::shared_ptr<Content> content;
    RangeSet present;
    std::optional<ByteCount> size;
  };
  template <class T>
  Ticket answer(Result<T> result, Done<T> done);

  Loop& loop_;
  Workers* workers_;
  ByteCount reserved_ = 0;
  std::map<Digest, std::shared_ptr<const std::string>> blobs_;
  std::map<Digest, Left> left_;
  std::map<Digest, std::weak_ptr<cache::PartialBlob>> partials_;
};

}  // namespace layerd::test
