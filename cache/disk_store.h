// DiskStore: BlobStore on one folder. Loop thread; what blocks runs on workers.
//
// Begin: DiskStore::open() (blocks; before the loop runs). End: close(), then destruction; dropping
// it without close() is what a crash leaves: nothing committed is lost, the next start checks more.
// Order of members of the daemon: loop and workers and metrics outlive the store.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "cache/blob_files.h"
#include "cache/blob_rows.h"
#include "cache/blob_store.h"
#include "cache/disk_partial.h"
#include "cache/hot_objects.h"
#include "cache/index.h"
#include "cache/index_catalog.h"
#include "cache/room.h"
#include "cache/store_settings.h"
#include "cache/store_start.h"
#include "cache/stored_file.h"
#include "runtime/metrics.h"

namespace layerd::cache {

class DiskStore final : public BlobStore, private DiskPartial::Host, private Room::Host {
 public:
  // Takes the store's lock, checks its format, opens or rebuilds the index.
  // Errors: overloaded: another process holds it; local_io, no_space.
  static Result<std::unique_ptr<DiskStore>> open(Loop& loop, Workers& workers, Metrics& metrics,
                                                 StoreSettings settings);
  ~DiskStore() override;
  // Writes what is queued and marks a clean end; waits until no partial blob is held. Nothing may be
  // asked of the store afterwards.
  Ticket close(Done<Ok> done);
  Catalog& catalog() { return catalog_; }

  Ticket open(const Digest& digest, Done<StoredBlobPtr> done) override;
  std::optional<ByteCount> known_size(const Digest& digest) const override;
  Ticket begin(const Digest& digest, Done<PartialBlobPtr> done) override;
  Ticket reserve(const Digest& digest, ByteCount more, Done<Ok> done) override;
  Ticket commit(PartialBlobPtr partial, Done<StoredBlobPtr> done) override;
  Ticket put(const Digest& digest, Bytes content, Done<Ok> done) override;
  Ticket get(const Digest& digest, ByteCount most, Done<Bytes> done) override;
  const std::string* hot(const Digest& digest) override { return hot_.find(digest); }
  void served_whole(const Digest& digest) override;
  std::vector<BlobRow> list(std::optional<Digest> after, std::size_t most) override;
  Ticket remove(const Digest& digest, Done<Ok> done) override;
  Ticket pin(const Digest& digest, bool pinned, Done<Ok> done) override;
  Ticket gc(Done<ByteCount> done) override { return room_.tidy(std::move(done)); }
  Ticket verify(const Digest& digest, Done<bool> done) override;
  StoreStats stats() const override;

  // A reload: in force from the next reservation on; gc() or the next download evicts down to them.
  void set_limits(SpaceLimit max_size, SpaceLimit min_free) { room_.set_limits(max_size, min_free); }

  std::vector<Digest> units(const Digest& digest) const override { return rows_.units(digest); }
  // Folders are being listed for blobs without a row, or a rest of the journal is being taken in.
  bool is_rebuilding() const { return is_rebuilding_; }

 private:
  using OpenCall = std::shared_ptr<Pending<StoredBlobPtr>>;
  using BeginCall = std::shared_ptr<Pending<PartialBlobPtr>>;
  using Verified = Callback<void(Result<bool>)>;

  DiskStore(Loop& loop, Workers& workers, Metrics& metrics, StoreSettings settings, StartedStore started);

  // Opening (disk_store.cc)
  void go_on_after_start(StartedStore& started);
  void close_when_idle();
  bool is_unchanged(const StoredFile& blob) const;
  void open_file(const Digest& digest);
  void file_opened(const Digest& digest, Result<OpenedFile> opened);
  void finish_open(const Digest& digest, Result<StoredFilePtr> result);
  StoredFilePtr adopt(const Digest& digest, const OpenedFile& opened);
  void note_use(const Digest& digest);
  bool asked_again(const Digest& digest);

  // Filling (disk_store_fill.cc)
  void load_partial(const Digest& digest);
  void partial_loaded(const Digest& digest, std::shared_ptr<PartialFile> file,
                      Result<PartialFile::Loaded> loaded);
  void committed(const Digest& digest, Result<PartialFile::Committed> result, const OpenCall& call);
  void put_now(const Digest& digest, Bytes content, std::shared_ptr<Pending<Ok>> call);
  void file_stored(const Digest& digest, const OpenedFile& stored);
  Error refused_write() const;
  bool is_read_only() const { return loop_.now() < read_only_until_; }
  void note_error(const Error& error);
  void note_good_write();
  void note_read_error(const Digest& digest, const Error& error);
  void read_failed(const Digest& digest, const Error& error);
  void after_removal(const Digest& digest, Callback<void()> task);
  void removed(const std::vector<EvictionCandidate>& victims);
  void set_gauges();
  std::int64_t unix_now() const;

  // DiskPartial::Host
  void partial_grew(const Digest& digest, ByteCount bytes) override;
  void partial_emptied(const Digest& digest, ByteCount bytes) override;
  void partial_shrank(const Digest& digest, ByteCount left) override;
  void partial_failed(const Error& error) override { note_error(error); }
  void partial_idle(const Digest& digest) override;
  std::string partial_mismatched(const Digest& digest) override;
  void partial_size_conflict(const Digest& digest) override;
  void partial_set_aside() override;
  // Room::Host
  bool is_busy(const Digest& digest, bool partial) override;
  void drop(std::vector<EvictionCandidate> victims, Callback<void(Result<Ok>)> then) override;

  // Upkeep (disk_store_upkeep.cc)
  void verify_file(const Digest& digest, std::shared_ptr<VerifyState> state, bool gently, Verified then);
  void verify_ended(const Digest& digest, const VerifyState& state, Verified then);
  void verify_in_background(const Digest& digest);
  void background_next();
  void set_aside(const Digest& digest, const FileFacts& facts, Callback<void()> then);
  void rebuild_step(unsigned number);
  void folder_listed(unsigned number, const std::vector<FolderEntry>& entries);
  void tidy_partials();
  void partials_listed(const std::vector<FolderEntry>& entries);
  void scrub_later();
  void scrub_next();

  Loop& loop_;
  Workers& workers_;
  const StoreSettings settings_;
  const Layout layout_;
  const FileOpsPtr files_;
  const std::string boot_id_;
  FilePtr lock_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // callbacks of others look whether we are

  Counter& evicted_bytes_;
  Counter& mismatches_;
  Counter& quarantined_;
  Counter& size_conflicts_;
  Counter& errors_no_space_;
  Counter& errors_io_;
  Counter& errors_read_only_;
  Counter& rebuilds_;
  Counter& scrubbed_bytes_;
  Gauge& bytes_gauge_;
  Gauge& blobs_gauge_;

  Index index_;
  BlobRows rows_;
  IndexCatalog catalog_;
  Room room_;
  OpenBlobs open_;
  HotObjects hot_;
  std::unordered_map<Digest, std::vector<OpenCall>> openings_;
  std::unordered_map<Digest, std::shared_ptr<DiskPartial>> partials_;
  std::unordered_map<Digest, std::vector<BeginCall>> begins_;
  std::multimap<Digest, Callback<void()>> after_removal_;
  std::set<Digest> removing_;
  std::uint64_t next_temporary_ = 0;

  TimePoint read_only_until_ = TimePoint::min();
  bool is_ailing_ = false;  // an error was logged and no write has succeeded since

  std::map<Digest, TimePoint> served_whole_;    // bounded
  std::map<Digest, TimePoint> verified_again_;  // bounded
  std::vector<Digest> background_;              // bounded; verified one after the other
  bool background_runs_ = false;
  bool is_rebuilding_ = false;
  std::shared_ptr<Pending<Ok>> closing_;  // while partial blobs note what they have
  std::optional<Digest> scrub_after_;
  Ticket scrub_timer_;
  Ticket tidy_timer_;
  Ticket slice_timer_;
  Ticket rebuild_flush_;
  Jobs jobs_;
};

}  // namespace layerd::cache
