// Index: the rows of the store as the loop sees them. Reads are point look-ups; writes are queued,
// seen by reads of this process at once, and written in batches by a worker: first the journal,
// then one LMDB transaction. Loop thread. Destroying it drops what is still queued, as a crash would.
//
// While a rest of the journal is being taken in, the journaled tables show only what was put since the
// start, since their rows on disk may be older than the journal says; what is put is written behind it.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cache/index_file.h"
#include "cache/jobs.h"
#include "cache/journal_intake.h"
#include "runtime/metrics.h"
#include "runtime/ticket.h"

namespace layerd::cache {

class Index {
 public:
  Index(Loop& loop, Workers& workers, Metrics& metrics, std::shared_ptr<IndexFile> file,
        std::shared_ptr<Journal> journal);
  ~Index();

  // The rest of the journal, before anything else is written. To be called first, at most once; `then` is
  // told when all of it is in.
  void take_in(std::shared_ptr<JournalIntake> rest, Callback<void()> then);
  bool is_taking_in() const { return rest_ != nullptr; }

  // Keys longer than kMostKeyBytes are replaced by a hash; scan() shows the hash then.
  std::optional<std::string> get(Table table, ByteView key) const;
  void put(Table table, ByteView key, std::string value);
  void remove(Table table, ByteView key);
  // In key order from `from` on, queued changes included, until `row` answers false. `row` must
  // not call put() or remove().
  void scan(Table table, ByteView from, const IndexFile::RowFunction& row) const;

  // Answers when everything queued until now is on disk. Errors: what the last write met.
  Ticket flush(Done<Ok> done);
  // Called with what a write met, once per failure.
  void on_error(Callback<void(const Error&)> heard) { heard_ = std::move(heard); }
  std::size_t queued() const { return queued_.size(); }

 private:
  struct Name {
    Table table;
    std::string key;
    auto operator<=>(const Name&) const = default;
  };
  struct Change {
    std::optional<std::string> value;
    std::uint64_t number;
  };
  void change(Table table, ByteView key, std::optional<std::string> value);
  void remember(Table table, std::string name, const std::string& value) const;
  void write_soon(Duration wait);
  void write_now();
  void written(std::uint64_t last, Result<Ok> result);
  void take_in_next();
  void slice_taken_in(Result<bool> is_last);
  bool is_hidden(Table table) const { return rest_ != nullptr && is_journaled(table); }
  void answer_flushes(std::uint64_t last, const Result<Ok>& result);

  Loop& loop_;
  Workers& workers_;
  Counter& bad_rows_;
  Counter& dropped_;
  std::shared_ptr<IndexFile> file_;
  std::shared_ptr<Journal> journal_;
  std::shared_ptr<JournalIntake> rest_;  // null: the whole journal is in; touched by the worker until then
  Callback<void()> taken_in_;
  std::map<Name, Change> queued_;
  // Rows read lately, as the file has them: a hot object is looked up with each request. Bounded.
  mutable std::array<std::unordered_map<std::string, std::string>, kTableCount> read_;
  std::uint64_t next_number_ = 1;
  std::uint64_t counted_bad_rows_ = 0;
  struct Flush {
    std::uint64_t number;
    std::shared_ptr<Pending<Ok>> operation;
  };
  std::vector<Flush> flushes_;
  Callback<void(const Error&)> heard_;
  Ticket soon_;
  Ticket writing_;
  bool is_writing_ = false;
};

}  // namespace layerd::cache
