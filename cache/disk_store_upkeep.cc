// DiskStore: verification, scrub, rebuild and the tidying of partial blobs: what goes on in the
// background, one slice at a time.
#include <algorithm>
#include <cerrno>

#include "cache/disk_store.h"
#include "runtime/log.h"

namespace layerd::cache {
namespace {

using namespace std::chrono_literals;

constexpr ByteCount kSlice = 4_MiB;
constexpr ByteCount kGentleSlice = 1_MiB;
constexpr std::size_t kMostBackground = 64;
constexpr std::size_t kMostListed = 200000;
constexpr unsigned kFolders = 512;  // 256 of each algorithm
constexpr Duration kTidyEvery = 6h;
constexpr Duration kOrphanAge = 1h;
constexpr Duration kEmptyScrub = 1h;

// What the disk cannot give back is as good as wrong: a bad sector, a file system's own checksum.
bool is_lost(int sys_errno) { return sys_errno == EIO || sys_errno == EUCLEAN || sys_errno == EBADMSG; }

}  // namespace

Ticket DiskStore::verify(const Digest& digest, Done<bool> done) {
  auto call = std::make_shared<Pending<bool>>(std::move(done));
  jobs_.run<OpenedFile>(
      "open a blob",
      [files = files_, layout = layout_, digest] { return open_blob_file(*files, layout, digest); },
      [this, digest, call](Result<OpenedFile> opened) {
        if (!opened) return call->answer(opened.error());
        auto state = std::make_shared<VerifyState>(
            VerifyState{opened->file, opened->facts, Hasher(digest.algorithm()), 0});
        verify_file(digest, state, false, [call](Result<bool> good) { call->answer(std::move(good)); });
      });
  return Ticket(call);
}

// gently: small slices with pauses, at the pace of the scrub.
void DiskStore::verify_file(const Digest& digest, std::shared_ptr<VerifyState> state, bool gently,
                            Verified then) {
  jobs_.run<bool>(
      "verify a blob",
      [files = files_, state, gently] {
        return verify_slice(*files, *state, gently ? kGentleSlice : kSlice, gently);
      },
      [this, digest, state, gently, then = std::move(then)](Result<bool> ended) mutable {
        if (gently) scrubbed_bytes_.add(std::min<ByteCount>(state->offset, kGentleSlice));
        if (!ended) note_read_error(digest, ended.error());
        if (!ended && is_lost(ended.error().sys_errno)) {
          return set_aside(digest, state->facts, [then = std::move(then)]() mutable { then(false); });
        }
        if (!ended) return then(std::move(ended));
        if (*ended) return verify_ended(digest, *state, std::move(then));
        if (!gently) return verify_file(digest, state, false, std::move(then));
        const auto pace = std::max<ByteCount>(settings_.scrub_bytes_per_second, 1);
        slice_timer_ = loop_.after(Duration(kGentleSlice * 1'000'000'000ull / pace), "pace of the scrub",
                                   [this, digest, state, then = std::move(then)]() mutable {
                                     verify_file(digest, state, true, std::move(then));
                                   });
      });
}

void DiskStore::verify_ended(const Digest& digest, const VerifyState& state, Verified then) {
  if (state.hasher.finish() == digest) return then(true);
  set_aside(digest, state.facts, [then = std::move(then)]() mutable { then(false); });
}

// The file with these facts is bad: readers break off, it goes to the quarantine, the row goes.
void DiskStore::set_aside(const Digest& digest, const FileFacts& facts, Callback<void()> then) {
  mismatches_.add();
  if (auto blob = open_.find(digest); blob && blob->facts().inode == facts.inode) blob->set_bad();
  open_.drop(digest);
  hot_.erase(digest);
  const auto row = rows_.find(digest);
  if (row && (row->facts == facts || row->facts.inode == 0 || row->facts.inode == facts.inode))
    rows_.remove(digest);
  set_gauges();
  LogLine(LogLevel::warn, "cache_mismatch").field("digest", digest.str()).field("where", "disk");
  jobs_.run<Ok>(
      "quarantine",
      [files = files_, layout = layout_, digest, facts, when = unix_now()]() -> Result<Ok> {
        auto now = files->facts(layout.blob(digest));
        if (!now || now->inode != facts.inode) return Ok{};  // another file has taken its place
        return quarantine_file(*files, layout, layout.blob(digest), quarantine_path(layout, digest, when));
      },
      [this, then = std::move(then)](Result<Ok> moved) mutable {
        if (moved)
          quarantined_.add();
        else
          note_error(moved.error());
        then();
      });
}

void DiskStore::verify_in_background(const Digest& digest) {
  if (background_.size() >= kMostBackground) return;
  background_.push_back(digest);
  if (!background_runs_) background_next();
}

void DiskStore::background_next() {
  background_runs_ = !background_.empty();
  if (!background_runs_) return;
  const auto digest = background_.front();
  background_.erase(background_.begin());
  jobs_.run<OpenedFile>(
      "open a blob",
      [files = files_, layout = layout_, digest] { return open_blob_file(*files, layout, digest); },
      [this, digest](Result<OpenedFile> opened) {
        if (!opened) return background_next();
        auto state = std::make_shared<VerifyState>(
            VerifyState{opened->file, opened->facts, Hasher(digest.algorithm()), 0});
        verify_file(digest, state, false, [this](Result<bool>) { background_next(); });
      });
}

// Folder by folder; rows without the identity of the file, so that each is verified before it is
// first served. Lookups meanwhile find blobs by name.
void DiskStore::rebuild_step(unsigned number) {
  is_rebuilding_ = number < kFolders;
  if (!is_rebuilding_) {
    rows_.remove_note("rebuild");
    LogLine(LogLevel::info, "cache_rebuilt").field("blobs", rows_.totals().blobs);
    tidy_partials();
    return;
  }
  if (number % 2 == 0) rows_.put_note("rebuild", std::string(1, static_cast<char>(number / 2)));
  const auto folder =
      layout_.blob_folder(number % 2 == 0 ? DigestAlgorithm::sha256 : DigestAlgorithm::sha512, number / 2);
  jobs_.run<std::vector<FolderEntry>>(
      "list blobs", [files = files_, folder] { return files->list(folder, kMostListed); },
      [this, number](Result<std::vector<FolderEntry>> entries) {
        folder_listed(number, entries ? *entries : std::vector<FolderEntry>());
      });
}

void DiskStore::folder_listed(unsigned number, const std::vector<FolderEntry>& entries) {
  const auto algorithm = number % 2 == 0 ? DigestAlgorithm::sha256 : DigestAlgorithm::sha512;
  bool is_new = false;
  for (const auto& entry : entries) {
    const auto digest = Digest::parse(std::string(name_of(algorithm)) + ":" + entry.name);
    if (!digest || rows_.find(*digest) || removing_.contains(*digest)) continue;
    rows_.put(*digest,
              {{entry.facts.size, 0, 0}, entry.facts.mtime_ns / 1'000'000'000, rows_.is_pinned(*digest)});
    is_new = true;
  }
  set_gauges();
  if (!is_new) return rebuild_step(number + 1);
  // Written before the next: what is queued stays small, and totals and rows stay one.
  rebuild_flush_ = index_.flush([this, number](Result<Ok>) { rebuild_step(number + 1); });
}

// Idle partial downloads that nobody touched for long go; files without a row get one or go.
void DiskStore::tidy_partials() {
  tidy_timer_ = loop_.after(kTidyEvery, "tidying of partial blobs", [this] { tidy_partials(); });
  jobs_.run<std::vector<FolderEntry>>(
      "list partial blobs",
      [files = files_, folder = layout_.partial_folder()] { return files->list(folder, kMostListed); },
      [this](Result<std::vector<FolderEntry>> entries) {
        if (entries) partials_listed(*entries);
      });
}

void DiskStore::partials_listed(const std::vector<FolderEntry>& entries) {
  const auto now = unix_now();
  const auto seconds = [](Duration wait) {
    return std::chrono::duration_cast<std::chrono::seconds>(wait).count();
  };
  std::vector<std::string> orphans;
  for (const auto& entry : entries) {
    const auto age = now - entry.facts.mtime_ns / 1'000'000'000;
    const auto digest = digest_of_partial(entry.name);
    if (digest && (is_busy(*digest, true) || rows_.find_partial(*digest))) continue;
    if (digest && entry.name.find(".ranges") == std::string::npos)
      rows_.put_partial(*digest, {entry.facts.size, now - age});
    else if (age > seconds(kOrphanAge))
      orphans.push_back(layout_.partial_folder() + "/" + entry.name);
  }
  std::vector<EvictionCandidate> old;
  rows_.partials([&](const Digest& digest, const PartialEntry& entry) {
    if (now - entry.last_used > seconds(settings_.partial_keep) && !is_busy(digest, true))
      old.push_back({digest, entry.bytes, entry.last_used, true});
    return true;
  });
  set_gauges();
  if (!orphans.empty())
    workers_.run_detached([files = files_, orphans = std::move(orphans)] {
      for (const auto& path : orphans) static_cast<void>(files->remove(path));
    });
  if (!old.empty()) drop(std::move(old), [](Result<Ok>) {});
}

// The whole store once in a period, never faster than the pace; an idle store costs one timer.
void DiskStore::scrub_later() {
  if (settings_.scrub_period == Duration::zero()) return;
  const auto& totals = rows_.totals();
  if (totals.blobs == 0) {
    scrub_timer_ = loop_.after(kEmptyScrub, "scrub", [this] { scrub_later(); });
    return;
  }
  const auto wait = std::max<Duration>(
      settings_.scrub_period / static_cast<std::int64_t>(totals.blobs),
      Duration(1'000'000'000ull * 64_KiB / std::max<ByteCount>(settings_.scrub_bytes_per_second, 1)));
  scrub_timer_ = loop_.after(wait, "scrub", [this] { scrub_next(); });
}

void DiskStore::scrub_next() {
  if (!scrub_after_)
    if (const auto note = rows_.note("scrub"); !note.empty())
      scrub_after_ = Digest::parse(note).ok() ? std::optional(*Digest::parse(note)) : std::nullopt;
  auto digest = rows_.next_digest(scrub_after_);
  if (!digest) digest = rows_.next_digest(std::nullopt);
  scrub_after_ = digest;
  if (!digest) return scrub_later();
  rows_.put_note("scrub", digest->str());
  jobs_.run<OpenedFile>(
      "open a blob",
      [files = files_, layout = layout_, digest = *digest] { return open_blob_file(*files, layout, digest); },
      [this, digest = *digest](Result<OpenedFile> opened) {
        if (!opened) return scrub_later();
        auto state = std::make_shared<VerifyState>(
            VerifyState{opened->file, opened->facts, Hasher(digest.algorithm()), 0});
        verify_file(digest, state, true, [this](Result<bool>) { scrub_later(); });
      });
}

}  // namespace layerd::cache
