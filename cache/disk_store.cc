// DiskStore: beginning and end, opening finished blobs, commands. Filling and upkeep have files of
// their own (disk_store_fill.cc, disk_store_upkeep.cc).
#include "cache/disk_store.h"

#include <fmt/core.h>

namespace layerd::cache {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kUseSeconds = 60;  // last use is kept no finer: hits cost no write
constexpr std::size_t kMostRemembered = 256;
constexpr Duration kFirstTidy = 60s;

// Makes room in a bounded memory of moments by forgetting the oldest.
void remember(std::map<Digest, TimePoint>& moments, const Digest& digest, TimePoint now) {
  moments[digest] = now;
  if (moments.size() <= kMostRemembered) return;
  auto oldest = moments.begin();
  for (auto entry = moments.begin(); entry != moments.end(); ++entry)
    if (entry->second < oldest->second) oldest = entry;
  moments.erase(oldest);
}

Counter& disk_errors(Metrics& metrics, const char* kind) {
  return metrics.counter("layerd_disk_errors_total", "Failed operations on the cache's disk, by kind.",
                         {{"kind", kind}});
}

}  // namespace

Result<std::unique_ptr<DiskStore>> DiskStore::open(Loop& loop, Workers& workers, Metrics& metrics,
                                                   StoreSettings settings) {
  auto started = start_store(settings);
  if (!started) return std::move(started).error();
  return std::unique_ptr<DiskStore>(
      new DiskStore(loop, workers, metrics, std::move(settings), std::move(*started)));
}

DiskStore::DiskStore(Loop& loop, Workers& workers, Metrics& metrics, StoreSettings settings,
                     StartedStore started)
    : loop_(loop),
      workers_(workers),
      settings_(std::move(settings)),
      layout_(settings_.path),
      files_(settings_.files),
      boot_id_(files_->boot_id()),
      lock_(std::move(started.lock)),
      evicted_bytes_(
          metrics.counter("layerd_evicted_bytes_total", "Bytes dropped from the cache to make room.")),
      mismatches_(metrics.counter("layerd_digest_mismatch_total",
                                  "Blobs whose bytes, downloaded or on disk, did not match their digest.")),
      quarantined_(
          metrics.counter("layerd_quarantined_total", "Bad files set aside in the quarantine folder.")),
      size_conflicts_(metrics.counter("layerd_size_conflict_total",
                                      "Partial blobs begun anew because two sources told different sizes.")),
      errors_no_space_(disk_errors(metrics, "no_space")),
      errors_io_(disk_errors(metrics, "io")),
      errors_read_only_(disk_errors(metrics, "read_only")),
      rebuilds_(metrics.counter("layerd_cache_index_rebuilds_total",
                                "Times the index was made anew from files and journal.")),
      scrubbed_bytes_(
          metrics.counter("layerd_cache_scrubbed_bytes_total", "Bytes read back to look for damage.")),
      bytes_gauge_(metrics.gauge("layerd_cache_bytes", "Bytes of finished and partial blobs in the cache.")),
      blobs_gauge_(metrics.gauge("layerd_cache_blobs", "Finished blobs in the cache.")),
      index_(loop, workers, metrics, std::move(started.index), std::move(started.journal)),
      rows_(index_),
      catalog_(index_),
      room_(loop, workers, settings_, rows_, *this),
      jobs_(workers) {
  index_.on_error([this](const Error& error) { note_error(error); });
  set_gauges();
  if (started.is_rebuild) rebuilds_.add();
  go_on_after_start(started);
  tidy_timer_ = loop_.after(kFirstTidy, "tidying of partial blobs", [this] { tidy_partials(); });
  scrub_later();
}

// After an unclean end every folder is listed: a blob may have been renamed to its place, or its row have
// been removed for an eviction, without the other half. A rebuild that ended cleanly goes on.
void DiskStore::go_on_after_start(StartedStore& started) {
  const auto progress = rows_.note("rebuild");
  const bool is_from_start = started.is_rebuild || started.was_unclean || progress.empty();
  const auto folder = is_from_start ? 0 : static_cast<unsigned char>(progress[0]) * 2u;
  is_rebuilding_ = started.is_rebuild || started.was_unclean || !progress.empty();
  const auto rebuild = [this, folder] {
    if (!is_rebuilding_) return;
    rows_.mark_pinned();
    rebuild_step(folder);
  };
  if (!started.rest) return rebuild();
  is_rebuilding_ = true;
  index_.take_in(std::move(started.rest), rebuild);
}

DiskStore::~DiskStore() {
  alive_.reset();
  for (auto& [digest, partial] : partials_) partial->leave_host();
}

Ticket DiskStore::close(Done<Ok> done) {
  closing_ = std::make_shared<Pending<Ok>>(std::move(done));
  scrub_timer_.reset();
  tidy_timer_.reset();
  slice_timer_.reset();
  auto call = closing_;
  close_when_idle();
  return Ticket(call);
}

// Partial blobs nobody holds any more first note what they have.
void DiskStore::close_when_idle() {
  for (const auto& [digest, partial] : partials_)
    if (!partial->is_held()) return;
  auto call = std::exchange(closing_, nullptr);
  for (const auto& [digest, partial] : partials_)
    rows_.put_partial(digest, {partial->present().total(), unix_now()});
  rebuild_flush_ = index_.flush([this, call](Result<Ok> flushed) {
    if (!flushed) return call->answer(std::move(flushed));
    jobs_.run<Ok>(
        "mark a clean end", [files = files_, layout = layout_] { return mark_clean(*files, layout); },
        [call](Result<Ok> marked) { call->answer(std::move(marked)); });
  });
}

std::int64_t DiskStore::unix_now() const {
  return std::chrono::duration_cast<std::chrono::seconds>(loop_.wall_now().time_since_epoch()).count();
}

void DiskStore::set_gauges() {
  const auto& totals = rows_.totals();
  bytes_gauge_.set(static_cast<std::int64_t>(totals.bytes + totals.partial_bytes + room_.live_bytes()));
  blobs_gauge_.set(static_cast<std::int64_t>(totals.blobs));
}

std::optional<ByteCount> DiskStore::known_size(const Digest& digest) const {
  if (const auto entry = rows_.find(digest)) return entry->facts.size;
  if (!is_rebuilding_ || removing_.contains(digest)) return std::nullopt;
  // The listing of the folders has not come here yet. One stat(2), and only until it has.
  const auto facts = files_->facts(layout_.blob(digest));
  return facts ? std::optional(facts->size) : std::nullopt;
}

Ticket DiskStore::open(const Digest& digest, Done<StoredBlobPtr> done) {
  LAYERD_ON_LOOP(loop_);
  auto call = std::make_shared<Pending<StoredBlobPtr>>(std::move(done));
  if (!served_whole_.empty() && asked_again(digest)) verify_in_background(digest);
  auto blob = open_.find(digest);
  if (blob) blob->report();
  // An open file is looked at each time (fstat: no disk is touched), its name once in a while.
  if (blob && !blob->bad() && loop_.now() - blob->looked_at() < settings_.recheck && is_unchanged(*blob)) {
    loop_.post_detached([call, blob = std::move(blob)] { call->answer(StoredBlobPtr(blob)); });
    return Ticket(call);
  }
  auto& calls = openings_[digest];
  calls.push_back(call);
  if (calls.size() == 1) open_file(digest);
  return Ticket(call);
}

bool DiskStore::is_unchanged(const StoredFile& blob) const {
  const auto facts = files_->facts(*blob.file());
  return facts && *facts == blob.facts();
}

void DiskStore::open_file(const Digest& digest) {
  if (removing_.contains(digest)) return after_removal(digest, [this, digest] { open_file(digest); });
  jobs_.run<OpenedFile>(
      "open a blob",
      [files = files_, layout = layout_, digest] { return open_blob_file(*files, layout, digest); },
      [this, digest](Result<OpenedFile> opened) { file_opened(digest, std::move(opened)); });
}

void DiskStore::file_opened(const Digest& digest, Result<OpenedFile> opened) {
  if (!opened) {
    if (opened.error().code == Errc::not_found) {
      rows_.remove(digest);
      open_.drop(digest);
      set_gauges();
    } else {
      note_read_error(digest, opened.error());
    }
    return finish_open(digest, std::move(opened).error());
  }
  const auto row = rows_.find(digest);
  if (row && row->facts == opened->facts) {
    note_use(digest);
    return finish_open(digest, adopt(digest, *opened));
  }
  // Changed behind our back, or found by name alone: first its bytes are compared.
  auto state =
      std::make_shared<VerifyState>(VerifyState{opened->file, opened->facts, Hasher(digest.algorithm()), 0});
  verify_file(digest, state, false, [this, digest, found = *opened](Result<bool> good) {
    if (!good) return finish_open(digest, good.error());
    if (!*good)
      return finish_open(digest, Error{Errc::not_found, "the file of " + digest.str() + " was damaged"});
    file_stored(digest, found);
    finish_open(digest, adopt(digest, found));
  });
}

StoredFilePtr DiskStore::adopt(const Digest& digest, const OpenedFile& opened) {
  auto blob = open_.find(digest);
  if (!blob || blob->bad() || blob->facts() != opened.facts) {
    blob =
        std::make_shared<StoredFile>(loop_, workers_, digest, opened.file, opened.facts, files_,
                                     [this, alive = std::weak_ptr<bool>(alive_), digest](const Error& why) {
                                       if (!alive.expired()) read_failed(digest, why);
                                     });
    open_.drop(digest);
    open_.add(blob);
  }
  blob->looked(loop_.now());
  return blob;
}

// The callers may drop the store; nothing is touched after the first of them.
void DiskStore::finish_open(const Digest& digest, Result<StoredFilePtr> result) {
  auto node = openings_.extract(digest);
  if (node.empty()) return;
  for (auto& call : node.mapped()) {
    if (result)
      call->answer(StoredBlobPtr(*result));
    else
      call->answer(result.error());
  }
}

void DiskStore::note_use(const Digest& digest) {
  auto entry = rows_.find(digest);
  const auto now = unix_now();
  if (!entry || (now >= entry->last_used && now - entry->last_used < kUseSeconds)) return;
  entry->last_used = now;
  rows_.put(digest, *entry);
}

void DiskStore::served_whole(const Digest& digest) { remember(served_whole_, digest, loop_.now()); }

bool DiskStore::asked_again(const Digest& digest) {
  const auto served = served_whole_.find(digest);
  if (served == served_whole_.end()) return false;
  const auto since = loop_.now() - served->second;
  served_whole_.erase(served);
  if (since > settings_.again_within) return false;
  const auto verified = verified_again_.find(digest);
  if (verified != verified_again_.end() && loop_.now() - verified->second < settings_.again_verify)
    return false;
  remember(verified_again_, digest, loop_.now());
  return true;
}

Ticket DiskStore::get(const Digest& digest, ByteCount most, Done<Bytes> done) {
  auto call = std::make_shared<Pending<Bytes>>(std::move(done));
  if (const auto* found = hot_.find(digest); found != nullptr && found->size() <= most) {
    loop_.post_detached([call, bytes = Bytes::copy_of(*found)]() mutable { call->answer(std::move(bytes)); });
    return Ticket(call);
  }
  auto opened = std::make_shared<Pending<StoredBlobPtr>>([this, digest, most,
                                                          call](Result<StoredBlobPtr> blob) {
    if (!blob) return call->answer(blob.error());
    if ((*blob)->byte_count() > most)
      return call->answer(
          Error{Errc::overloaded, fmt::format("{} has {} bytes, more than the {} allowed here", digest.str(),
                                              (*blob)->byte_count(), most)});
    jobs_.run<Bytes>(
        "read a small object",
        [files = files_, digest, held = (*blob)->file(), size = (*blob)->byte_count()]() -> Result<Bytes> {
          auto bytes = files->read_at(*held, 0, size);
          if (bytes && digest_of(digest.algorithm(), bytes->view()) != digest)
            return Error{Errc::digest_mismatch, "the file of " + digest.str() + " is damaged"};
          return bytes;
        },
        [this, digest, call, facts = static_cast<StoredFile&>(**blob).facts()](Result<Bytes> bytes) {
          if (bytes) {
            hot_.put(digest, bytes->view());
            return call->answer(std::move(bytes));
          }
          if (bytes.error().code != Errc::digest_mismatch) {
            read_failed(digest, bytes.error());
            return call->answer(std::move(bytes));
          }
          set_aside(digest, facts, [call, digest] {
            call->answer(Error{Errc::not_found, "the file of " + digest.str() + " was damaged"});
          });
        });
  });
  auto& calls = openings_[digest];
  calls.push_back(opened);
  if (calls.size() == 1) open_file(digest);
  return Ticket(call);
}

std::vector<BlobRow> DiskStore::list(std::optional<Digest> after, std::size_t most) {
  std::vector<BlobRow> rows;
  if (most == 0) return rows;
  rows_.by_digest(after, [&](const Digest& digest, const BlobEntry& entry) {
    rows.push_back({digest, entry.facts.size, entry.last_used, entry.pinned, false});
    return rows.size() < most;
  });
  for (auto& row : rows) row.in_use = open_.in_use(row.digest);
  return rows;
}

Ticket DiskStore::remove(const Digest& digest, Done<Ok> done) {
  auto call = std::make_shared<Pending<Ok>>(std::move(done));
  const auto entry = rows_.find(digest);
  std::optional<Error> refusal;
  if (!entry) refusal = Error{Errc::not_found, digest.str() + " is not in the cache"};
  if (entry && rows_.is_pinned(digest))
    refusal = Error{Errc::overloaded, digest.str() + " is pinned; `layerd cache unpin` lets it go"};
  if (entry && is_busy(digest, false))
    refusal = Error{Errc::overloaded, digest.str() + " is being read; try again when its readers are done"};
  if (refusal) {
    loop_.post_detached([call, error = *refusal] { call->answer(error); });
    return Ticket(call);
  }
  drop({{digest, entry->facts.size, entry->last_used, false}},
       [call](Result<Ok> gone) { call->answer(std::move(gone)); });
  return Ticket(call);
}

Ticket DiskStore::pin(const Digest& digest, bool pinned, Done<Ok> done) {
  if (rows_.find(digest)) {
    rows_.set_pin(digest, pinned);
    return index_.flush(std::move(done));
  }
  auto call = std::make_shared<Pending<Ok>>(std::move(done));
  loop_.post_detached([call, digest] {
    call->answer(Error{Errc::not_found, digest.str() + " is not in the cache"});
  });
  return Ticket(call);
}

StoreStats DiskStore::stats() const {
  StoreStats stats;
  stats.bytes = rows_.totals().bytes;
  stats.partial_bytes = rows_.totals().partial_bytes + room_.live_bytes();
  stats.blobs = rows_.totals().blobs;
  stats.max_bytes = room_.cap();
  stats.free_bytes = room_.space().free;
  stats.min_free_bytes = room_.floor();
  stats.evicted_bytes = evicted_bytes_.value();
  stats.quarantined = quarantined_.value();
  stats.read_only = is_read_only();
  return stats;
}

}  // namespace layerd::cache
