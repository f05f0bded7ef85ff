#include "cache/partial_file.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>

#include "cache/range_record.h"

namespace layerd::cache {
namespace {

constexpr ByteCount kRecordEvery = 1_MiB;  // at most this is lost by kill -9, well under 4 MiB
constexpr ByteCount kCompactRecord = 64_KiB;
constexpr ByteCount kMostRecord = 64_MiB;
constexpr std::size_t kReadBack = 256 << 10;

// The bytes of `range`, counted from the first piece on.
std::vector<ByteView> part_of(const std::vector<ByteView>& pieces, ByteRange range) {
  std::vector<ByteView> part;
  ByteCount at = 0;
  for (const ByteView piece : pieces) {
    const ByteCount first = std::max(at, range.first);
    const ByteCount end = std::min(at + piece.size(), range.end);
    if (first < end) part.push_back(piece.substr(first - at, end - first));
    at += piece.size();
  }
  return part;
}

}  // namespace

PartialFile::PartialFile(FileOpsPtr files, Layout layout, Digest digest, std::string boot_id)
    : files_(std::move(files)),
      layout_(std::move(layout)),
      digest_(digest),
      boot_id_(std::move(boot_id)),
      hasher_(digest.algorithm()) {}

Result<PartialFile::Loaded> PartialFile::load() {
  auto data = files_->open(layout_.partial(digest_), O_RDWR);
  if (!data && data.error().code == Errc::not_found) return Loaded{};
  if (!data) return std::move(data).error();
  auto facts = files_->facts(**data);
  if (!facts) return std::move(facts).error();
  auto ranges = files_->open(layout_.ranges(digest_), O_RDWR | O_CREAT);
  if (!ranges) return std::move(ranges).error();
  auto text = files_->read_at(**ranges, 0, kMostRecord);
  if (!text) return std::move(text).error();
  auto record = read_range_record(text->view(), boot_id_);
  if (facts->size < ~ByteCount{0}) record.present.remove({facts->size, ~ByteCount{0}});
  data_ = *data;
  ranges_ = *ranges;
  record_end_ = record.valid_end;
  needs_boot_ = record.needs_boot;
  present_ = record.present;
  size_ = record.size;
  if (record.valid_end < text->size())
    if (auto cut = files_->truncate(**ranges, record.valid_end); !cut) return std::move(cut).error();
  if (record.valid_end > kCompactRecord && !needs_boot_) {
    // Under the same boot all that is recorded is readable, so one sync makes it all one entry.
    if (auto synced = files_->sync(**data, true); !synced) return std::move(synced).error();
    std::string whole = boot_entry(boot_id_);
    if (record.size) whole += size_entry(*record.size);
    for (const auto& range : present_.ranges()) whole += ranges_entry({range});
    whole += synced_entry(whole.size());
    if (whole.size() < record.valid_end / 2) {
      if (auto done = replace_file(layout_.ranges(digest_), whole); !done) return std::move(done).error();
      auto again = files_->open(layout_.ranges(digest_), O_RDWR);
      if (!again) return std::move(again).error();
      ranges_ = *again;
      record_end_ = whole.size();
    }
  }
  return Loaded{present_, record.size, data_};
}

Result<Ok> PartialFile::open_files() {
  if (!data_) {
    auto data = files_->open(layout_.partial(digest_), O_RDWR | O_CREAT);
    if (!data) return std::move(data).error();
    data_ = *data;
  }
  if (ranges_) return Ok{};
  auto ranges = files_->open(layout_.ranges(digest_), O_RDWR | O_CREAT | O_TRUNC);
  if (!ranges) return std::move(ranges).error();
  ranges_ = *ranges;
  record_end_ = 0;
  needs_boot_ = true;
  return Ok{};
}

Result<Ok> PartialFile::append(const std::string& entries) {
  if (auto written = files_->write_at(*ranges_, record_end_, entries); !written) return written;
  record_end_ += entries.size();
  return Ok{};
}

Result<Ok> PartialFile::write(ByteCount offset, const std::vector<ByteView>& pieces) {
  if (auto opened = open_files(); !opened) return opened;
  ByteRange rest{offset, offset};
  for (const ByteView piece : pieces) rest.end += piece.size();
  while (auto gap = present_.first_gap(rest)) {
    const auto part = part_of(pieces, {gap->first - offset, gap->end - offset});
    if (auto written = files_->write_pieces(*data_, gap->first, part); !written) return written;
    // A part that is on disk counts even if the next one fails: it is never written again.
    present_.add(*gap);
    unrecorded_.add(*gap);
    rest.first = gap->end;
    if (gap->first != front_) continue;
    for (const ByteView piece : part) hash(piece);
  }
  if (unrecorded_.total() >= kRecordEvery) {
    auto recorded = record();
    if (!recorded) return std::move(recorded).error();
  }
  return Ok{};
}

// The first unit of a sha256 blob is what the running hash says at its end: nothing to do twice.
bool PartialFile::needs_own_unit() const {
  return front_ >= kUnitBytes || digest_.algorithm() != DigestAlgorithm::sha256;
}

void PartialFile::hash(ByteView bytes) {
  while (!bytes.empty()) {
    const auto left = kUnitBytes - front_ % kUnitBytes;
    const auto part = bytes.substr(0, std::min<ByteCount>(left, bytes.size()));
    hasher_.update(part);
    if (!unit_ && needs_own_unit()) unit_.emplace(DigestAlgorithm::sha256);
    if (unit_) unit_->update(part);
    front_ += part.size();
    bytes.remove_prefix(part.size());
    if (front_ % kUnitBytes != 0) continue;
    units_.append((unit_ ? *unit_ : hasher_).finish().raw());
    unit_.reset();
  }
}

Result<Ok> PartialFile::catch_up(ByteCount most) {
  const auto end = std::min(present_.run_end(front_), front_ + most);
  while (front_ < end) {
    auto bytes = files_->read_at(*data_, front_, std::min<ByteCount>(kReadBack, end - front_));
    if (!bytes) return std::move(bytes).error();
    if (bytes->empty()) return Error{Errc::local_io, "the file " + data_->path() + " is shorter than it was"};
    hash(bytes->view());
  }
  return Ok{};
}

void PartialFile::begin_hash() {
  front_ = 0;
  hasher_ = Hasher(digest_.algorithm());
  unit_.reset();
  units_.clear();
}

// The record is appended to and cannot take anything back: it is written anew, and what it then says was not
// synced is trusted under this boot only.
Result<Ok> PartialFile::take_back(ByteRange range) {
  if (front_ > range.first) begin_hash();
  present_.remove(range);
  unrecorded_.remove(range);
  if (!ranges_) return Ok{};
  std::string whole = boot_entry(boot_id_);
  if (size_) whole += size_entry(*size_);
  if (!present_.ranges().empty()) whole += ranges_entry(present_.ranges());
  if (auto replaced = replace_file(layout_.ranges(digest_), whole); !replaced) return replaced;
  auto again = files_->open(layout_.ranges(digest_), O_RDWR);
  if (!again) return std::move(again).error();
  ranges_ = *again;
  record_end_ = whole.size();
  needs_boot_ = false;
  unrecorded_.clear();
  unrecorded_size_.reset();
  return Ok{};
}

Result<ByteCount> PartialFile::record() {
  if (!ranges_ || (unrecorded_.ranges().empty() && !unrecorded_size_)) return record_end_;
  std::string entries;
  if (needs_boot_) entries += boot_entry(boot_id_);
  if (unrecorded_size_) entries += size_entry(*unrecorded_size_);
  if (!unrecorded_.ranges().empty()) entries += ranges_entry(unrecorded_.ranges());
  if (auto appended = append(entries); !appended) return std::move(appended).error();
  needs_boot_ = false;
  unrecorded_size_.reset();
  unrecorded_.clear();
  return record_end_;
}

Result<Ok> PartialFile::mark_synced(ByteCount end) {
  if (!ranges_ || end > record_end_) return Ok{};
  // Behind the boot entry, so that what an earlier boot left unsynced stays untrusted.
  const std::string boot = std::exchange(needs_boot_, false) ? boot_entry(boot_id_) : std::string();
  if (auto appended = append(boot + synced_entry(end)); !appended) return appended;
  if (auto synced = files_->sync(*ranges_, true); !synced) return synced;
  if (folder_synced_) return Ok{};
  auto synced = files_->sync_folder(layout_.partial_folder());
  folder_synced_ = synced.ok();
  return synced;
}

void PartialFile::set_size(ByteCount size) { size_ = unrecorded_size_ = size; }

Result<Ok> PartialFile::compare(ByteCount size) const {
  if (front_ != size) {
    return Error{Errc::truncated,
                 fmt::format("{} of {} bytes of {} are on disk", front_, size, digest_.str())};
  }
  const auto found = hasher_.finish();
  if (found == digest_) return Ok{};
  return Error{Errc::digest_mismatch,
               fmt::format("{} bytes came for {} and their digest is {}", size, digest_.str(), found.str())};
}

Result<PartialFile::Committed> PartialFile::commit() {
  if (!is_renamed_) {
    if (auto opened = open_files(); !opened) return std::move(opened).error();
    Result<Ok> step = files_->sync(*data_, false);
    if (step) step = files_->make_folder(layout_.blob_folder(digest_));
    if (step) step = files_->rename(layout_.partial(digest_), layout_.blob(digest_));
    if (!step) return std::move(step).error();
    is_renamed_ = true;
  }
  if (auto synced = files_->sync_folder(layout_.blob_folder(digest_)); !synced)
    return std::move(synced).error();
  static_cast<void>(files_->remove(layout_.ranges(digest_)));  // one that stays is an orphan, tidied later
  auto readable = files_->open(layout_.blob(digest_), O_RDONLY);
  if (!readable) return std::move(readable).error();
  auto facts = files_->facts(**readable);
  if (!facts) return std::move(facts).error();
  if (front_ > kUnitBytes && unit_) units_.append(unit_->finish().raw());
  return Committed{*readable, *facts, front_ > kUnitBytes ? units_ : std::string()};
}

Result<Ok> PartialFile::reset(const std::string& aside) {
  Result<Ok> moved = Ok{};
  if (data_ && !is_renamed_ && !aside.empty()) moved = files_->rename(layout_.partial(digest_), aside);
  auto removed = files_->remove(layout_.partial(digest_));
  auto forgotten = files_->remove(layout_.ranges(digest_));
  data_ = nullptr;
  ranges_ = nullptr;
  record_end_ = 0;
  needs_boot_ = true;
  folder_synced_ = false;
  is_renamed_ = false;  // a file that is at its place already is found there by its name
  present_.clear();
  unrecorded_.clear();
  size_.reset();
  begin_hash();
  if (!moved) return moved;
  return removed ? forgotten : removed;
}

}  // namespace layerd::cache
