// DiskPartial: PartialBlob on a PartialFile. Loop thread.
//
// Steps run on a worker, one at a time, in the order of the calls; between them the hash front
// catches up in slices. Writes that wait one behind the other go as one. Each step holds this object, so that
// what was begun is finished and noted whoever lets go; the store hears when nobody holds it and no step is
// left (idle).
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "cache/jobs.h"
#include "cache/partial_blob.h"
#include "cache/partial_file.h"

namespace layerd::cache {

class DiskPartial final : public PartialBlob, public std::enable_shared_from_this<DiskPartial> {
 public:
  // What the store hears. Called on the loop, never from inside a call of the holder's but grew().
  struct Host {
    virtual ~Host() = default;
    virtual void partial_grew(const Digest& digest, ByteCount bytes) = 0;
    virtual void partial_emptied(const Digest& digest, ByteCount bytes) = 0;
    // Some of its bytes were taken back; so many are left.
    virtual void partial_shrank(const Digest& digest, ByteCount left) = 0;
    virtual void partial_failed(const Error& error) = 0;
    // Nobody holds it and nothing runs. It may be dropped from inside.
    virtual void partial_idle(const Digest& digest) = 0;
    // Where the bytes of a mismatch go; counts it.
    virtual std::string partial_mismatched(const Digest& digest) = 0;
    virtual void partial_size_conflict(const Digest& digest) = 0;
    // A mismatch has been moved aside.
    virtual void partial_set_aside() = 0;
  };

  DiskPartial(Loop& loop, Workers& workers, std::shared_ptr<PartialFile> file, PartialFile::Loaded loaded,
              Digest digest, Host* host);

  const Digest& digest() const override { return digest_; }
  std::optional<ByteCount> size() const override { return size_; }
  void set_size(ByteCount size) override;
  const RangeSet& present() const override { return present_; }
  ByteCount hashed_front() const override { return front_; }
  Ticket write(ByteCount offset, Bytes bytes, Done<Ok> done) override;
  Ticket read(ByteCount offset, ByteCount max, Done<Bytes> done) override;
  Ticket hash(ByteRange range, Done<Digest> done) override;
  void take_back(ByteRange range) override;
  Ticket verify(Done<Ok> done) override;
  Ticket hasher_at_front(Done<std::pair<ByteCount, Hasher>> done) override;
  unsigned generation() const override { return epoch_; }
  void discard() override;

  // The one hold that users share; made anew when the last one was dropped.
  PartialBlobPtr hold();
  bool is_held() const { return !hold_.expired(); }
  // For the store: to its place among the finished blobs. Spent afterwards.
  void commit(Done<PartialFile::Committed> done);
  bool is_spent() const { return spent_; }
  // The store goes away, or has no more to do with it: the step that runs is finished, no other
  // begins, since the workers may be gone by then.
  void leave_host() {
    host_ = nullptr;
    steps_.clear();
    sync_timer_.reset();
  }

 private:
  struct Hold;
  struct StepAnswer {
    Result<Ok> result = Ok{};
    ByteCount front = 0;
    FilePtr file;
    RangeSet present;  // after a failure only
  };
  using Work = Callback<Result<Ok>(PartialFile&)>;
  using Then = Callback<void(StepAnswer)>;
  struct Step {
    Work work;                // null: a write of `pieces`, one behind the other, to `range`
    std::vector<Then> thens;  // hold no `this`: they are called while a shared_ptr keeps us
    ByteRange range;
    std::vector<Bytes> pieces;
  };

  static Work write_of(ByteCount offset, std::vector<Bytes> pieces);
  void add_step(Work work, Then then);
  void add_write(ByteCount offset, Bytes bytes, Then then);
  void run_next();
  void step_done(std::vector<Then> thens, const StepAnswer& answer);
  void tell_if_idle();
  void catch_up_if_behind();
  void note_written(ByteRange range, unsigned epoch, const StepAnswer& answer);
  void verify_on(std::shared_ptr<Pending<Ok>> operation);
  void compare(std::shared_ptr<Pending<Ok>> operation);
  void empty(const std::string& aside, Callback<void(Result<Ok>)> then);
  void let_go();
  void sync_later();
  void begin_sync();
  void data_synced(ByteCount record_end, unsigned epoch, Result<Ok> result);

  Loop& loop_;
  Workers& workers_;
  std::shared_ptr<PartialFile> file_;  // touched by the running step only
  const Digest digest_;
  Host* host_;
  std::optional<ByteCount> size_;
  RangeSet present_;
  ByteCount front_ = 0;
  FilePtr data_;        // for reads beside the steps
  unsigned epoch_ = 0;  // raised whenever all bytes are discarded
  std::deque<Step> steps_;
  bool is_running_ = false;  // a step is on a worker
  bool catching_up_ = false;
  bool spent_ = false;
  bool read_back_failed_ = false;
  std::weak_ptr<PartialBlob> hold_;
  ByteCount unsynced_ = 0;
  bool syncing_ = false;
  Ticket sync_timer_;
};

}  // namespace layerd::cache
