#include "cache/journal_intake.h"

#include "runtime/log.h"

namespace layerd::cache {

JournalIntake::JournalIntake(std::shared_ptr<IndexFile> index, std::shared_ptr<Journal> journal,
                             bool is_rebuild)
    : index_(std::move(index)), journal_(std::move(journal)), is_rebuild_(is_rebuild) {}

Result<Ok> JournalIntake::begin() {
  noted_ = index_->get(Table::meta, "journal").value_or("");
  return journal_->begin_replay(JournalPlace::decoded(noted_));
}

Result<Ok> JournalIntake::read_slice() {
  auto last = journal_->replay_slice([this](IndexChange change) { changes_.push_back(std::move(change)); });
  if (!last) return std::move(last).error();
  is_last_ = *last;
  if (std::exchange(is_rebuild_, false)) changes_.push_back({Table::meta, "rebuild", std::string(1, '\0')});
  if (auto place = journal_->place().encoded(); !changes_.empty() || place != noted_) {
    noted_ = std::move(place);
    changes_.push_back({Table::meta, "journal", noted_});
  }
  if (is_last_ && journal_->damaged_bytes() > 0)
    LogLine(LogLevel::warn, "cache_journal_damaged").field("bytes", journal_->damaged_bytes());
  return Ok{};
}

Result<bool> JournalIntake::step() {
  if (changes_.empty())
    if (auto read = read_slice(); !read) return std::move(read).error();
  if (!changes_.empty())
    if (auto written = index_->write(changes_); !written) return std::move(written).error();
  changes_.clear();
  return is_last_;
}

}  // namespace layerd::cache
