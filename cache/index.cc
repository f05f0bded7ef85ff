#include "cache/index.h"

#include <algorithm>

#include "runtime/digest.h"

namespace layerd::cache {
namespace {

using namespace std::chrono_literals;

constexpr Duration kGather = 100ms;  // how long changes wait for company
constexpr Duration kAfterFailure = 2s;
constexpr std::size_t kBatch = 4000;          // changes in one transaction
constexpr std::size_t kMostRead = 128;        // rows of a table kept in memory
constexpr std::size_t kMostRemembered = 512;  // bytes of one such row
constexpr std::size_t kMostQueued = 50000;    // a disk that refuses writes must not eat the memory

std::string index_key(ByteView key) {
  if (key.size() <= kMostKeyBytes) return std::string(key);
  return "\xff#" + std::string(digest_of(DigestAlgorithm::sha256, key).raw());
}

// Worker side: the journal first, so that it is never behind the rows.
Result<Ok> write_batch(IndexFile& file, Journal& journal, std::vector<IndexChange> changes) {
  if (auto appended = journal.append(changes); !appended) return appended;
  changes.push_back({Table::meta, "journal", journal.place().encoded()});
  if (auto written = file.write(changes); !written || !journal.wants_compaction()) return written;
  auto compacted = journal.compact([&file](const Journal::Feed& feed) {
    bool is_whole = true;  // a row that the index has lost may still be in the journal
    for (std::size_t i = 0; is_whole && i < kTableCount; ++i) {
      const auto table = static_cast<Table>(i);
      if (!is_journaled(table)) continue;
      is_whole = file.scan(table, {}, [&](ByteView key, ByteView value) {
        feed(table, key, value);
        return true;
      });
    }
    return is_whole;
  });
  if (!compacted) return Ok{};  // the old journal is whole and goes on; tried again when it has grown
  return file.write({{Table::meta, "journal", journal.place().encoded()}});
}

}  // namespace

Index::Index(Loop& loop, Workers& workers, Metrics& metrics, std::shared_ptr<IndexFile> file,
             std::shared_ptr<Journal> journal)
    : loop_(loop),
      workers_(workers),
      bad_rows_(
          metrics.counter("layerd_cache_index_bad_rows_total",
                          "Rows of the cache's index whose checksum did not match, treated as absent.")),
      dropped_(
          metrics.counter("layerd_cache_index_dropped_changes_total",
                          "Changes of the index given up because the disk took no writes for too long.")),
      file_(std::move(file)),
      journal_(std::move(journal)) {}

Index::~Index() = default;

std::optional<std::string> Index::get(Table table, ByteView key) const {
  LAYERD_ON_LOOP(loop_);
  std::string name = index_key(key);
  if (!queued_.empty())
    if (auto found = queued_.find({table, name}); found != queued_.end()) return found->second.value;
  if (is_hidden(table)) return std::nullopt;
  const auto& read = read_[static_cast<std::size_t>(table)];
  if (const auto found = read.find(name); found != read.end()) return found->second;
  auto value = file_->get(table, name);
  if (value) remember(table, std::move(name), *value);
  return value;
}

void Index::remember(Table table, std::string name, const std::string& value) const {
  if (value.size() > kMostRemembered) return;
  auto& read = read_[static_cast<std::size_t>(table)];
  if (read.size() >= kMostRead) read.clear();
  read.emplace(std::move(name), value);
}

void Index::put(Table table, ByteView key, std::string value) { change(table, key, std::move(value)); }
void Index::remove(Table table, ByteView key) { change(table, key, std::nullopt); }

void Index::change(Table table, ByteView key, std::optional<std::string> value) {
  LAYERD_ON_LOOP(loop_);
  LAYERD_CHECK(!key.empty());
  const Name name{table, index_key(key)};
  if (queued_.size() >= kMostQueued && !queued_.contains(name)) return dropped_.add();
  read_[static_cast<std::size_t>(table)].erase(name.key);
  queued_[name] = {std::move(value), next_number_++};
  if (!is_writing_ && !soon_.held()) write_soon(kGather);
}

void Index::scan(Table table, ByteView from, const IndexFile::RowFunction& row) const {
  LAYERD_ON_LOOP(loop_);
  auto next = queued_.lower_bound({table, std::string(from)});
  const auto is_ours = [&] { return next != queued_.end() && next->first.table == table; };
  bool goes_on = true;
  const auto hand_out = [&] {
    if (next->second.value) goes_on = row(next->first.key, *next->second.value);
    ++next;
  };
  const auto row_of_file = [&](ByteView key, ByteView value) {
    while (goes_on && is_ours() && ByteView(next->first.key) < key) hand_out();
    if (!goes_on) return false;
    if (is_ours() && next->first.key == key)
      hand_out();
    else
      goes_on = row(key, value);
    return goes_on;
  };
  if (!is_hidden(table)) file_->scan(table, from, row_of_file);
  while (goes_on && is_ours()) hand_out();
}

void Index::write_soon(Duration wait) {
  soon_ = loop_.after(wait, "index batch", [this] {
    soon_.reset();
    write_now();
  });
}

void Index::write_now() {
  if (is_writing_) return;
  soon_.reset();
  if (queued_.empty()) return answer_flushes(next_number_, Ok{});
  // The oldest first: what was changed together stays together unless it was changed again.
  std::vector<std::pair<std::uint64_t, const Name*>> order;
  order.reserve(queued_.size());
  for (const auto& [name, entry] : queued_) order.emplace_back(entry.number, &name);
  std::sort(order.begin(), order.end());
  if (order.size() > kBatch) order.resize(kBatch);
  std::vector<IndexChange> changes;
  changes.reserve(order.size() + 1);
  for (const auto& [number, name] : order)
    changes.push_back({name->table, name->key, queued_.at(*name).value});
  const auto last = order.back().first;
  is_writing_ = true;
  writing_ = workers_.run<Ok>(
      "index write",
      [file = file_, journal = journal_, changes = std::move(changes)]() mutable {
        return write_batch(*file, *journal, std::move(changes));
      },
      [this, last](Result<Ok> result) { written(last, std::move(result)); });
}

void Index::written(std::uint64_t last, Result<Ok> result) {
  is_writing_ = false;
  const auto bad = file_->bad_rows();
  bad_rows_.add(bad - std::exchange(counted_bad_rows_, bad));
  if (!result && result.error().code == Errc::overloaded)
    if (auto grown = file_->grow(); grown) return write_now();
  if (!result) {
    write_soon(kAfterFailure);
    answer_flushes(next_number_, result);
    if (heard_) heard_(result.error());
    return;
  }
  for (auto entry = queued_.begin(); entry != queued_.end();)
    entry = entry->second.number <= last ? queued_.erase(entry) : std::next(entry);
  if (!queued_.empty()) flushes_.empty() ? write_soon(kGather) : write_now();
  answer_flushes(last, Ok{});
}

void Index::answer_flushes(std::uint64_t last, const Result<Ok>& result) {
  std::vector<Flush> waiting;
  for (auto& flush : std::exchange(flushes_, {})) {
    if (flush.number > last) {
      flushes_.push_back(std::move(flush));
      continue;
    }
    loop_.post_detached(
        [operation = flush.operation, result]() mutable { operation->answer(std::move(result)); });
  }
}

void Index::take_in(std::shared_ptr<JournalIntake> rest, Callback<void()> then) {
  rest_ = std::move(rest);
  taken_in_ = std::move(then);
  is_writing_ = true;
  take_in_next();
}

void Index::take_in_next() {
  writing_ = workers_.run<bool>(
      "journal intake", [rest = rest_] { return rest->step(); },
      [this](Result<bool> is_last) { slice_taken_in(std::move(is_last)); });
}

void Index::slice_taken_in(Result<bool> is_last) {
  if (!is_last && is_last.error().code == Errc::overloaded)
    if (auto grown = file_->grow(); grown) return take_in_next();
  if (!is_last) {
    soon_ = loop_.after(kAfterFailure, "journal intake", [this] {
      soon_.reset();
      take_in_next();
    });
    answer_flushes(next_number_, is_last.error());
    if (heard_) heard_(is_last.error());
    return;
  }
  if (!*is_last) return take_in_next();
  rest_ = nullptr;
  is_writing_ = false;
  write_now();
  std::exchange(taken_in_, nullptr)();
}

Ticket Index::flush(Done<Ok> done) {
  auto operation = std::make_shared<Pending<Ok>>(std::move(done));
  flushes_.push_back({next_number_ - 1, operation});
  if (!is_writing_) write_now();
  return Ticket(operation);
}

}  // namespace layerd::cache
