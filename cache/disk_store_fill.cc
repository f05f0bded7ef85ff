// DiskStore: partial blobs, commits, small objects, removal and what the disk answers to writes.
#include <fmt/core.h>

#include <algorithm>
#include <cerrno>

#include "cache/disk_store.h"
#include "runtime/log.h"

namespace layerd::cache {

Ticket DiskStore::begin(const Digest& digest, Done<PartialBlobPtr> done) {
  LAYERD_ON_LOOP(loop_);
  auto call = std::make_shared<Pending<PartialBlobPtr>>(std::move(done));
  const auto found = partials_.find(digest);
  if (found != partials_.end() && !found->second->is_spent()) {
    // The hold is taken now: the blob must not become idle before the answer.
    loop_.post_detached([call, held = found->second->hold()] { call->answer(held); });
    return Ticket(call);
  }
  auto& calls = begins_[digest];
  calls.push_back(call);
  // While it is being committed the commit's end loads it anew.
  if (calls.size() == 1 && found == partials_.end()) load_partial(digest);
  return Ticket(call);
}

void DiskStore::load_partial(const Digest& digest) {
  if (removing_.contains(digest)) return after_removal(digest, [this, digest] { load_partial(digest); });
  auto file = std::make_shared<PartialFile>(files_, layout_, digest, boot_id_);
  jobs_.run<PartialFile::Loaded>(
      "load a partial blob", [file] { return file->load(); },
      [this, digest, file](Result<PartialFile::Loaded> loaded) {
        partial_loaded(digest, file, std::move(loaded));
      });
}

void DiskStore::partial_loaded(const Digest& digest, std::shared_ptr<PartialFile> file,
                               Result<PartialFile::Loaded> loaded) {
  auto node = begins_.extract(digest);
  if (!loaded) {
    note_error(loaded.error());
    if (node.empty()) return;
    for (auto& call : node.mapped()) call->answer(loaded.error());
    return;
  }
  // What is on disk is counted by its row; from here on growth is counted beside it.
  rows_.put_partial(digest, {loaded->present.total(), unix_now()});
  set_gauges();
  DiskPartial::Host* host = this;
  auto partial =
      std::make_shared<DiskPartial>(loop_, workers_, std::move(file), std::move(*loaded), digest, host);
  partials_[digest] = partial;
  const auto held = partial->hold();
  if (node.empty()) return;
  for (auto& call : node.mapped()) call->answer(held);
}

Ticket DiskStore::reserve(const Digest& digest, ByteCount more, Done<Ok> done) {
  if (!is_read_only()) return room_.reserve(digest, more, std::move(done));
  auto call = std::make_shared<Pending<Ok>>(std::move(done));
  loop_.post_detached([call, error = refused_write()] { call->answer(error); });
  return Ticket(call);
}

Error DiskStore::refused_write() const {
  return Error{Errc::local_io, "the disk of the cache in " + settings_.path +
                                   " refused writes a moment ago; see the log and the kernel's"};
}

Ticket DiskStore::commit(PartialBlobPtr partial, Done<StoredBlobPtr> done) {
  auto call = std::make_shared<Pending<StoredBlobPtr>>(std::move(done));
  const auto digest = partial->digest();
  const auto found = partials_.find(digest);
  LAYERD_CHECK(found != partials_.end() && found->second.get() == partial.get());
  found->second->commit(
      [this, alive = std::weak_ptr<bool>(alive_), digest, call](Result<PartialFile::Committed> result) {
        if (alive.expired()) return call->answer(Error{Errc::canceled, "the cache was closed"});
        committed(digest, std::move(result), call);
      });
  return Ticket(call);
}

void DiskStore::committed(const Digest& digest, Result<PartialFile::Committed> result, const OpenCall& call) {
  if (!result) {
    if (begins_.contains(digest)) {
      auto node = begins_.extract(digest);
      const auto held = partials_.at(digest)->hold();
      for (auto& waiting : node.mapped()) waiting->answer(held);
    }
    return call->answer(result.error());  // partial_failed() has noted it
  }
  partials_.at(digest)->leave_host();
  partials_.erase(digest);
  room_.settle(digest);
  rows_.remove_partial(digest);
  if (!result->units.empty()) rows_.put_units(digest, std::move(result->units));
  const OpenedFile stored{result->file, result->facts};
  file_stored(digest, stored);
  note_good_write();
  if (begins_.contains(digest)) load_partial(digest);
  if (closing_) close_when_idle();
  call->answer(StoredBlobPtr(adopt(digest, stored)));
}

void DiskStore::file_stored(const Digest& digest, const OpenedFile& stored) {
  rows_.put(digest, {stored.facts, unix_now(), rows_.is_pinned(digest)});
  set_gauges();
}

Ticket DiskStore::put(const Digest& digest, Bytes content, Done<Ok> done) {
  auto call = std::make_shared<Pending<Ok>>(std::move(done));
  // Whoever leaves, an object already here is stored.
  jobs_.run<Bytes>(
      "check a small object",
      [digest, bytes = std::move(content)]() mutable -> Result<Bytes> {
        if (digest_of(digest.algorithm(), bytes.view()) == digest) return std::move(bytes);
        return Error{Errc::digest_mismatch, fmt::format("{} bytes came for {} and their digest is another",
                                                        bytes.size(), digest.str())};
      },
      [this, digest, call](Result<Bytes> bytes) {
        if (bytes) return put_now(digest, std::move(*bytes), call);
        mismatches_.add();
        call->answer(bytes.error());
      });
  return Ticket(call);
}

void DiskStore::put_now(const Digest& digest, Bytes content, std::shared_ptr<Pending<Ok>> call) {
  if (removing_.contains(digest)) {
    auto kept = std::make_shared<Bytes>(std::move(content));
    return after_removal(digest, [this, digest, kept, call] { put_now(digest, std::move(*kept), call); });
  }
  if (is_read_only()) return call->answer(refused_write());
  const auto size = content.size();
  // The answer is posted and nobody holds a Ticket of it: it may find the store gone.
  room_.ask(digest, size,
            [this, alive = std::weak_ptr<bool>(alive_), digest, call,
             bytes = std::move(content)](Result<Ok> granted) mutable {
              if (alive.expired()) return call->answer(Error{Errc::canceled, "the cache was closed"});
              if (!granted) return call->answer(granted.error());
              const auto temporary = layout_.temporary(next_temporary_++);
              auto kept = std::make_shared<const std::string>(bytes.view());
              jobs_.run<OpenedFile>(
                  "store a small object",
                  [files = files_, layout = layout_, digest, temporary, kept] {
                    return store_blob_file(*files, layout, digest, temporary, *kept);
                  },
                  [this, digest, call, kept](Result<OpenedFile> stored) {
                    room_.give_back(digest, kept->size());
                    if (!stored) {
                      note_error(stored.error());
                      return call->answer(stored.error());
                    }
                    hot_.put(digest, *kept);
                    file_stored(digest, *stored);
                    note_good_write();
                    call->answer(Ok{});
                  });
            });
}

void DiskStore::note_error(const Error& error) {
  const char* kind = nullptr;
  if (error.code == Errc::no_space) {
    kind = "no_space";
    errors_no_space_.add();
    room_.distrust();
  } else if (error.code == Errc::local_io && error.sys_errno == EROFS) {
    kind = "read_only";
    errors_read_only_.add();
  } else if (error.code == Errc::local_io) {
    kind = "io";
    errors_io_.add();
  }
  if (kind == nullptr) return;
  if (error.code == Errc::local_io) read_only_until_ = loop_.now() + settings_.read_only_pause;
  if (std::exchange(is_ailing_, true)) return;
  LogLine(error.code == Errc::no_space ? LogLevel::warn : LogLevel::error, "cache_disk")
      .field("kind", kind)
      .field("err", error.message)
      .field("effect", "new blobs pass through uncached until writes succeed again");
}

// A finished blob that cannot be opened or read says nothing about writes.
void DiskStore::note_read_error(const Digest& digest, const Error& error) {
  if (error.code != Errc::local_io) return;
  errors_io_.add();
  LogLine(LogLevel::error, "cache_read").field("digest", digest.str()).field("err", error.message);
}

// A finished blob that cannot be read is looked at; what the disk does not give back is set aside and
// fetched again.
void DiskStore::read_failed(const Digest& digest, const Error& error) {
  if (error.code != Errc::local_io) return;
  note_read_error(digest, error);
  if (std::find(background_.begin(), background_.end(), digest) == background_.end())
    verify_in_background(digest);
}

void DiskStore::note_good_write() {
  if (!std::exchange(is_ailing_, false)) return;
  read_only_until_ = TimePoint::min();
  LogLine(LogLevel::info, "cache_disk").field("kind", "recovered");
}

// DiskPartial::Host

void DiskStore::partial_grew(const Digest& digest, ByteCount bytes) {
  room_.grew(digest, bytes);
  if (is_ailing_) note_good_write();
  set_gauges();
}

void DiskStore::partial_emptied(const Digest& digest, ByteCount) {
  room_.settle(digest);
  rows_.put_partial(digest, {0, unix_now()});
  set_gauges();
}

void DiskStore::partial_shrank(const Digest& digest, ByteCount left) {
  room_.settle(digest);
  rows_.put_partial(digest, {left, unix_now()});
  set_gauges();
}

void DiskStore::partial_idle(const Digest& digest) {
  const auto found = partials_.find(digest);
  if (found == partials_.end()) return;
  const auto bytes = found->second->present().total();
  found->second->leave_host();
  partials_.erase(found);
  room_.settle(digest);
  if (bytes > 0)
    rows_.put_partial(digest, {bytes, unix_now()});
  else
    rows_.remove_partial(digest);
  set_gauges();
  if (closing_) close_when_idle();
}

std::string DiskStore::partial_mismatched(const Digest& digest) {
  mismatches_.add();
  LogLine(LogLevel::warn, "cache_mismatch").field("digest", digest.str()).field("where", "download");
  return quarantine_path(layout_, digest, unix_now());
}

void DiskStore::partial_set_aside() {
  quarantined_.add();
  workers_.run_detached([files = files_, layout = layout_] { trim_quarantine(*files, layout); });
}

void DiskStore::partial_size_conflict(const Digest& digest) {
  size_conflicts_.add();
  LogLine(LogLevel::warn, "cache_size_conflict").field("digest", digest.str());
}

// Room::Host

bool DiskStore::is_busy(const Digest& digest, bool partial) {
  if (removing_.contains(digest)) return true;
  if (partial) return partials_.contains(digest) || begins_.contains(digest);
  if (index_.is_taking_in()) return true;  // whether it is pinned is not known yet
  return openings_.contains(digest) || open_.in_use(digest);
}

namespace {

struct Leaving {
  EvictionCandidate victim;
  std::optional<BlobEntry> row;
  std::vector<std::string> paths;
  bool is_gone = false;
};

struct Removal {
  std::vector<Leaving> all;
  Result<Ok> first = Ok{};  // what the first file that stayed met
};

Removal remove_files(FileOps& files, std::vector<Leaving> all) {
  Removal removal{std::move(all)};
  for (auto& leaving : removal.all) {
    leaving.is_gone = true;
    for (const auto& path : leaving.paths) {
      auto gone = files.remove(path);
      leaving.is_gone = leaving.is_gone && gone;
      if (!gone && removal.first) removal.first = std::move(gone);
    }
  }
  return removal;
}

}  // namespace

void DiskStore::drop(std::vector<EvictionCandidate> victims, Callback<void(Result<Ok>)> then) {
  std::vector<Leaving> all;
  for (const auto& victim : victims) {
    removing_.insert(victim.digest);
    if (victim.is_partial) {
      rows_.remove_partial(victim.digest);
      all.push_back({victim, {}, {layout_.partial(victim.digest), layout_.ranges(victim.digest)}});
      continue;
    }
    all.push_back({victim, rows_.find(victim.digest), {layout_.blob(victim.digest)}});
    rows_.remove(victim.digest);
    open_.drop(victim.digest);
    hot_.erase(victim.digest);
  }
  set_gauges();
  jobs_.run<Removal>(
      "evict",
      [files = files_, all = std::move(all)]() mutable -> Result<Removal> {
        return remove_files(*files, std::move(all));
      },
      [this, victims = std::move(victims), then = std::move(then)](Result<Removal> removal) mutable {
        for (const auto& leaving : removal->all) {
          const auto& victim = leaving.victim;
          if (leaving.is_gone)
            evicted_bytes_.add(victim.size);
          else if (victim.is_partial)
            rows_.put_partial(victim.digest, {victim.size, victim.last_used});
          else if (leaving.row)
            rows_.put(victim.digest, *leaving.row);
        }
        set_gauges();
        auto first = std::move(removal->first);
        if (!first) note_error(first.error());
        removed(victims);
        then(std::move(first));
      });
}

void DiskStore::after_removal(const Digest& digest, Callback<void()> task) {
  after_removal_.emplace(digest, std::move(task));
}

void DiskStore::removed(const std::vector<EvictionCandidate>& victims) {
  std::vector<Callback<void()>> tasks;
  for (const auto& victim : victims) {
    removing_.erase(victim.digest);
    const auto [first, last] = after_removal_.equal_range(victim.digest);
    for (auto entry = first; entry != last; ++entry) tasks.push_back(std::move(entry->second));
    after_removal_.erase(first, last);
  }
  for (auto& task : tasks) task();  // each only starts a job of ours or answers through one
}

}  // namespace layerd::cache
