#include "cache/journal.h"

#include <fcntl.h>

#include <random>

#include "cache/record.h"

namespace layerd::cache {
namespace {

constexpr ByteCount kSmall = 1_MiB;  // not worth a compaction
constexpr ByteCount kLarge = 64_MiB;
constexpr std::size_t kSlice = 2_MiB;  // replayed at a time; larger than any record
constexpr std::uint8_t kHead = 0, kPut = 1, kRemove = 2;

void append_change(std::string& out, Table table, ByteView key, const std::optional<ByteView>& value) {
  std::string payload;
  put_u8(payload, value ? kPut : kRemove);
  put_u8(payload, static_cast<std::uint8_t>(table));
  put_text(payload, key);
  if (value) put_text(payload, *value);
  append_record(out, payload);
}

std::optional<IndexChange> change_of(ByteView payload) {
  FieldReader reader(payload);
  const auto kind = reader.u8();
  const auto table = static_cast<Table>(reader.u8());
  IndexChange change{table, reader.text(), std::nullopt};
  if (kind == kPut) change.value = reader.text();
  if (!reader.ok() || (kind != kPut && kind != kRemove) || !is_journaled(table)) return std::nullopt;
  if (change.key.empty() || change.key.size() > kMostKeyBytes) return std::nullopt;
  return change;
}

std::string head_record(std::uint64_t generation, ByteCount live) {
  std::string payload, record;
  put_u8(payload, kHead);
  put_u64(payload, generation);
  put_u64(payload, live);
  append_record(record, payload);
  return record;
}

}  // namespace

std::string JournalPlace::encoded() const {
  std::string text;
  put_u64(text, generation);
  put_u64(text, end);
  return text;
}

JournalPlace JournalPlace::decoded(ByteView text) {
  FieldReader reader(text);
  JournalPlace place;
  place.generation = reader.u64();
  place.end = reader.u64();
  return reader.ok() ? place : JournalPlace{};
}

Result<std::shared_ptr<Journal>> Journal::open(FileOpsPtr files, std::string path) {
  std::shared_ptr<Journal> journal(new Journal(std::move(files), std::move(path)));
  auto file = journal->files_->open(journal->path_, O_RDWR | O_CREAT);
  if (!file) return std::move(file).error();
  journal->file_ = *file;
  auto start = journal->files_->read_at(**file, 0, 64);
  if (!start) return std::move(start).error();
  RecordReader records(start->view());
  if (auto head = records.next()) {
    FieldReader fields(*head);
    const auto kind = fields.u8();
    const auto generation = fields.u64();
    const auto live = fields.u64();
    if (kind == kHead && fields.ok()) {
      journal->generation_ = generation;
      journal->live_ = live;
    }
  }
  return journal;
}

Result<Ok> Journal::begin_replay(JournalPlace from) {
  auto facts = files_->facts(*file_);
  if (!facts) return std::move(facts).error();
  const bool known = from.generation == generation_ && generation_ != 0 && from.end <= facts->size;
  end_ = known ? from.end : 0;
  replay_end_ = facts->size;
  carried_.clear();
  return Ok{};
}

Result<bool> Journal::replay_slice(const std::function<void(IndexChange)>& change) {
  auto bytes = files_->read_at(*file_, end_ + carried_.size(), kSlice);
  if (!bytes) return std::move(bytes).error();
  carried_.append(bytes->view());
  RecordReader records(carried_);
  while (auto payload = records.next())
    if (auto found = change_of(*payload)) change(std::move(*found));
  damaged_ += records.skipped();
  end_ += records.valid_end();
  carried_.erase(0, records.valid_end());
  if (!bytes->empty() && end_ + carried_.size() < replay_end_) return false;
  if (auto ended = end_replay(); !ended) return std::move(ended).error();
  return true;
}

Result<Ok> Journal::end_replay() {
  damaged_ += carried_.size();
  carried_.clear();
  if (replay_end_ > end_)
    if (auto cut = files_->truncate(*file_, end_); !cut) return cut;
  if (generation_ != 0) return Ok{};
  if (end_ == 0) return begin_afresh(std::random_device{}() | 1u, [](const Feed&) { return true; });
  generation_ = std::random_device{}() | 1u;  // the head is lost, the records are not
  live_ = 0;
  return Ok{};
}

Result<Ok> Journal::append(const std::vector<IndexChange>& changes) {
  std::string records;
  for (const auto& change : changes) {
    if (!is_journaled(change.table)) continue;
    append_change(records, change.table, change.key,
                  change.value ? std::optional<ByteView>(*change.value) : std::nullopt);
  }
  if (records.empty()) return Ok{};
  // Whole records of a failed append must not be found behind a shorter one later: they are older.
  if (is_torn_)
    if (auto cut = files_->truncate(*file_, end_); !cut) return cut;
  is_torn_ = true;
  if (auto written = files_->write_at(*file_, end_, records); !written) return written;
  if (auto synced = files_->sync(*file_, true); !synced) return synced;
  is_torn_ = false;
  end_ += records.size();
  return Ok{};
}

bool Journal::wants_compaction() const {
  if (end_ < not_before_) return false;
  if (end_ > kLarge) return end_ > live_ + live_ / 4;
  return end_ > kSmall && end_ > 2 * live_;
}

Result<Ok> Journal::compact(const std::function<bool(const Feed&)>& rows) {
  auto done = begin_afresh(generation_ + 1, rows);
  not_before_ = done ? 0 : end_ + kSmall;
  return done;
}

Result<Ok> Journal::begin_afresh(std::uint64_t generation, const std::function<bool(const Feed&)>& rows) {
  const std::string beside = path_ + ".new";
  auto file = files_->open(beside, O_RDWR | O_CREAT | O_TRUNC);
  if (!file) return std::move(file).error();
  const auto head_size = head_record(generation, 0).size();
  ByteCount end = head_size;
  std::string pending;
  Result<Ok> written = Ok{};
  const auto flush = [&] {
    if (written && !pending.empty()) written = files_->write_at(**file, end, pending);
    end += pending.size();
    pending.clear();
  };
  const bool is_whole = rows([&](Table table, ByteView key, ByteView value) {
    append_change(pending, table, key, value);
    if (pending.size() > 256_KiB) flush();
  });
  if (!is_whole) return Error{Errc::local_io, "rows for the journal " + path_ + " could not be read"};
  flush();
  if (written) written = files_->write_at(**file, 0, head_record(generation, end));
  if (written) written = files_->sync(**file, false);
  if (written) written = files_->rename(beside, path_);
  if (!written) return written;
  // From here on the new file is the journal: whatever happens, appends must go there.
  file_ = *file;
  generation_ = generation;
  end_ = live_ = end;
  is_torn_ = false;
  return files_->sync_folder(path_.substr(0, path_.rfind('/')));
}

}  // namespace layerd::cache
