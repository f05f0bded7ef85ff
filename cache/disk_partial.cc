#include "cache/disk_partial.h"

#include <fmt/core.h>

namespace layerd::cache {
namespace {

using namespace std::chrono_literals;

constexpr ByteCount kCatchUp = 1_MiB;  // per step, so that writes get their turn
// Of neighbouring writes in one step: the page cache gets large folios, and whoever is served from them
// pays less CPU for each byte.
constexpr ByteCount kMostAtOnce = 1_MiB;
constexpr ByteCount kSyncBytes = 32_MiB;
constexpr Duration kSyncTime = 5s;
constexpr std::size_t kHashRead = 256 << 10;

// Worker side.
Result<Digest> hash_of(const File& file, ByteRange range) {
  Hasher hasher(DigestAlgorithm::sha256);
  while (!range.empty()) {
    auto bytes = file.read_at(range.first, std::min<ByteCount>(kHashRead, range.size()));
    if (!bytes) return std::move(bytes).error();
    if (bytes->empty()) return Error{Errc::local_io, "the file " + file.path() + " is shorter than it was"};
    hasher.update(bytes->view());
    range.first += bytes->size();
  }
  return hasher.finish();
}

}  // namespace

// Dropped by the last user.
struct DiskPartial::Hold {
  explicit Hold(std::shared_ptr<DiskPartial> p) : partial(std::move(p)) {}
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold() { partial->let_go(); }
  std::shared_ptr<DiskPartial> partial;
};

DiskPartial::Work DiskPartial::write_of(ByteCount offset, std::vector<Bytes> pieces) {
  return [offset, pieces = std::move(pieces)](PartialFile& file) {
    std::vector<ByteView> views;
    for (const Bytes& piece : pieces) views.push_back(piece.view());
    return file.write(offset, views);
  };
}

DiskPartial::DiskPartial(Loop& loop, Workers& workers, std::shared_ptr<PartialFile> file,
                         PartialFile::Loaded loaded, Digest digest, Host* host)
    : loop_(loop),
      workers_(workers),
      file_(std::move(file)),
      digest_(digest),
      host_(host),
      size_(loaded.size),
      present_(std::move(loaded.present)),
      data_(std::move(loaded.file)) {}

PartialBlobPtr DiskPartial::hold() {
  if (auto held = hold_.lock()) return held;
  auto hold = std::make_shared<Hold>(shared_from_this());
  PartialBlobPtr shared(hold, this);
  hold_ = shared;
  catch_up_if_behind();
  return shared;
}

void DiskPartial::let_go() {
  add_step(
      [](PartialFile& file) -> Result<Ok> {
        auto recorded = file.record();
        return recorded ? Result<Ok>(Ok{}) : Result<Ok>(recorded.error());
      },
      nullptr);
}

void DiskPartial::add_step(Work work, Then then) {
  LAYERD_ON_LOOP(loop_);
  if (host_ == nullptr) return;
  Step& step = steps_.emplace_back();
  step.work = std::move(work);
  if (then) step.thens.push_back(std::move(then));
  run_next();
}

void DiskPartial::add_write(ByteCount offset, Bytes bytes, Then then) {
  LAYERD_ON_LOOP(loop_);
  if (host_ == nullptr) return;
  const ByteRange range{offset, offset + bytes.size()};
  const bool goes_along = !steps_.empty() && !steps_.back().work && steps_.back().range.end == offset &&
                          range.end - steps_.back().range.first <= kMostAtOnce;
  Step& step = goes_along ? steps_.back() : steps_.emplace_back();
  step.range = {goes_along ? step.range.first : offset, range.end};
  step.pieces.push_back(std::move(bytes));
  step.thens.push_back(std::move(then));
  run_next();
}

void DiskPartial::run_next() {
  if (is_running_ || steps_.empty()) return;
  is_running_ = true;
  auto step = std::move(steps_.front());
  steps_.pop_front();
  if (!step.work) step.work = write_of(step.range.first, std::move(step.pieces));
  run_to_end<StepAnswer>(
      loop_, workers_,
      [file = file_, work = std::move(step.work)]() mutable {
        StepAnswer answer;
        answer.result = work(*file);
        answer.front = file->front();
        answer.file = file->file();
        if (!answer.result) answer.present = file->present();
        return answer;
      },
      [self = shared_from_this(), thens = std::move(step.thens)](StepAnswer answer) mutable {
        self->step_done(std::move(thens), answer);
      });
}

// Calls out last; `self` of the caller keeps us until it has returned.
void DiskPartial::step_done(std::vector<Then> thens, const StepAnswer& answer) {
  is_running_ = false;
  front_ = answer.front;
  data_ = answer.file;
  if (!answer.result && host_ != nullptr && answer.result.error().code != Errc::digest_mismatch)
    host_->partial_failed(answer.result.error());
  run_next();
  for (Then& then : thens) then(answer);
  catch_up_if_behind();
  tell_if_idle();
}

// The host may drop us.
void DiskPartial::tell_if_idle() {
  if (is_running_ || !steps_.empty() || is_held() || syncing_ || host_ == nullptr) return;
  sync_timer_.reset();
  host_->partial_idle(digest_);
}

void DiskPartial::catch_up_if_behind() {
  if (catching_up_ || spent_ || read_back_failed_ || !is_held() || present_.run_end(front_) <= front_) return;
  catching_up_ = true;
  add_step([](PartialFile& file) { return file.catch_up(kCatchUp); },
           [self = weak_from_this()](StepAnswer answer) {
             auto us = self.lock();
             if (!us) return;
             us->catching_up_ = false;
             us->read_back_failed_ = !answer.result.ok();
           });
}

void DiskPartial::set_size(ByteCount size) {
  LAYERD_ON_LOOP(loop_);
  if (size_ == size) return;
  if (size_ || present_.run_end(0) > size ||
      (!present_.ranges().empty() && present_.ranges().back().end > size)) {
    if (host_ != nullptr) host_->partial_size_conflict(digest_);
    discard();
  }
  size_ = size;
  add_step(
      [size](PartialFile& file) -> Result<Ok> {
        file.set_size(size);
        return Ok{};
      },
      nullptr);
}

Ticket DiskPartial::write(ByteCount offset, Bytes bytes, Done<Ok> done) {
  auto operation = std::make_shared<Pending<Ok>>(std::move(done));
  const ByteRange range{offset, offset + bytes.size()};
  if (spent_ || range.end < offset || (size_ && range.end > *size_)) {
    Error error{Errc::invalid_request,
                fmt::format("a write at {} lies outside of {}", offset, digest_.str())};
    loop_.post_detached([operation, error] { operation->answer(error); });
    return Ticket(operation);
  }
  add_write(
      offset, std::move(bytes),
      [self = weak_from_this(), operation, range, epoch = epoch_](StepAnswer answer) {
        auto us = self.lock();
        if (!us) return;
        us->note_written(range, epoch, answer);
        if (answer.result && epoch != us->epoch_)
          answer.result = Error{Errc::canceled, "the bytes of the partial blob were discarded meanwhile"};
        operation->answer(std::move(answer.result));
      });
  return Ticket(operation);
}

void DiskPartial::note_written(ByteRange range, unsigned epoch, const StepAnswer& answer) {
  if (epoch != epoch_ || range.empty()) return;
  const auto before = present_.total();
  if (answer.result) present_.add(range);
  // A failed write may have brought a part, or all but its record: the hash must not be ahead of us.
  for (const auto& part : answer.present.ranges()) present_.add(part);
  const auto grown = present_.total() - before;
  unsynced_ += grown;
  if (host_ != nullptr && grown > 0 && answer.result) host_->partial_grew(digest_, grown);
  if (unsynced_ >= kSyncBytes)
    begin_sync();
  else
    sync_later();
}

Ticket DiskPartial::read(ByteCount offset, ByteCount max, Done<Bytes> done) {
  const auto end = std::min(present_.run_end(offset), offset + std::min(max, kMaxRead));
  if (end <= offset || !data_) {
    auto operation = std::make_shared<Pending<Bytes>>(std::move(done));
    Error error{Errc::range_unsatisfiable,
                fmt::format("offset {} of {} is not present", offset, digest_.str())};
    loop_.post_detached([operation, error] { operation->answer(error); });
    return Ticket(operation);
  }
  const auto wanted = static_cast<std::size_t>(end - offset);
  if (auto bytes = data_->read_at_once(offset, wanted); bytes && !bytes->empty()) {
    auto operation = std::make_shared<Pending<Bytes>>(std::move(done));
    loop_.post_detached([operation, b = std::move(*bytes)]() mutable { operation->answer(std::move(b)); });
    return Ticket(operation);
  }
  return workers_.run<Bytes>(
      "partial read",
      [file = data_, offset, wanted]() -> Result<Bytes> {
        auto bytes = file->read_at(offset, wanted);
        if (bytes && bytes->empty())
          return Error{Errc::local_io, "the file " + file->path() + " is shorter than it was"};
        return bytes;
      },
      std::move(done));
}

Ticket DiskPartial::hash(ByteRange range, Done<Digest> done) {
  const bool is_there = data_ && range.size() <= kUnitBytes && present_.contains(range);
  return workers_.run<Digest>(
      "hash of a unit",
      [file = is_there ? data_ : nullptr, range, name = digest_]() -> Result<Digest> {
        if (!file)
          return Error{Errc::range_unsatisfiable, fmt::format("bytes {} to {} of {} are not all present",
                                                              range.first, range.end, name.str())};
        return hash_of(*file, range);
      },
      std::move(done));
}

void DiskPartial::take_back(ByteRange range) {
  LAYERD_ON_LOOP(loop_);
  present_.remove(range);
  if (host_ != nullptr) host_->partial_shrank(digest_, present_.total());
  add_step([range](PartialFile& file) { return file.take_back(range); }, nullptr);
}

Ticket DiskPartial::verify(Done<Ok> done) {
  auto operation = std::make_shared<Pending<Ok>>(std::move(done));
  verify_on(operation);
  return Ticket(operation);
}

// Slice by slice to the end, then compares.
void DiskPartial::verify_on(std::shared_ptr<Pending<Ok>> operation) {
  if (!operation->wanted()) return;
  const auto size = size_.value_or(present_.run_end(0));
  add_step([](PartialFile& file) { return file.catch_up(kCatchUp); },
           [self = weak_from_this(), operation, size](StepAnswer answer) {
             auto us = self.lock();
             if (!us) return;
             if (!answer.result) return operation->answer(std::move(answer.result));
             if (answer.front < size && us->present_.run_end(answer.front) > answer.front)
               return us->verify_on(operation);
             us->compare(operation);
           });
}

void DiskPartial::compare(std::shared_ptr<Pending<Ok>> operation) {
  const auto size = size_.value_or(present_.run_end(0));
  add_step([size](PartialFile& file) { return file.compare(size); },
           [self = weak_from_this(), operation](StepAnswer answer) {
             auto us = self.lock();
             if (!us) return;
             if (answer.result || answer.result.error().code != Errc::digest_mismatch)
               return operation->answer(std::move(answer.result));
             auto* host = us->host_;
             const auto aside = host != nullptr ? host->partial_mismatched(us->digest_) : std::string();
             us->empty(aside,
                       [weak = us->weak_from_this(), operation, error = answer.result.error()](Result<Ok>) {
                         auto still = weak.lock();
                         if (still && still->host_ != nullptr) still->host_->partial_set_aside();
                         operation->answer(error);
                       });
           });
}

void DiskPartial::empty(const std::string& aside, Callback<void(Result<Ok>)> then) {
  const auto lost = present_.total();
  ++epoch_;
  present_.clear();
  size_.reset();
  unsynced_ = 0;
  read_back_failed_ = false;
  if (host_ != nullptr && lost > 0) host_->partial_emptied(digest_, lost);
  add_step([aside](PartialFile& file) { return file.reset(aside); },
           [then = std::move(then)](StepAnswer answer) mutable {
             if (then) then(std::move(answer.result));
           });
}

void DiskPartial::discard() {
  LAYERD_ON_LOOP(loop_);
  if (!spent_) empty({}, nullptr);
}

Ticket DiskPartial::hasher_at_front(Done<std::pair<ByteCount, Hasher>> done) {
  using Front = std::pair<ByteCount, Hasher>;
  auto operation = std::make_shared<Pending<Front>>(std::move(done));
  auto copy = std::make_shared<std::optional<Hasher>>();
  add_step(
      [copy](PartialFile& file) -> Result<Ok> {
        copy->emplace(file.hasher());
        return Ok{};
      },
      [copy, operation](StepAnswer answer) {
        operation->answer(Front{answer.front, std::move(**copy)});
      });
  return Ticket(operation);
}

void DiskPartial::commit(Done<PartialFile::Committed> done) {
  auto operation = std::make_shared<Pending<PartialFile::Committed>>(std::move(done));
  auto committed = std::make_shared<PartialFile::Committed>();
  spent_ = true;
  sync_timer_.reset();
  add_step(
      [committed](PartialFile& file) -> Result<Ok> {
        auto result = file.commit();
        if (!result) return std::move(result).error();
        *committed = std::move(*result);
        return Ok{};
      },
      [self = weak_from_this(), committed, operation](StepAnswer answer) {
        if (answer.result) return operation->answer(std::move(*committed));
        if (auto us = self.lock()) us->spent_ = false;
        operation->answer(answer.result.error());
      });
}

void DiskPartial::sync_later() {
  if (sync_timer_.held() || syncing_ || spent_) return;
  sync_timer_ = loop_.after(kSyncTime, "sync of a partial blob", [this] {
    sync_timer_.reset();
    begin_sync();
  });
}

// First the record, then the data beside the steps, then the mark: a slow disk holds up no write.
void DiskPartial::begin_sync() {
  if (syncing_ || spent_ || unsynced_ == 0) return;
  syncing_ = true;
  unsynced_ = 0;
  sync_timer_.reset();
  auto end = std::make_shared<ByteCount>(0);
  add_step(
      [end](PartialFile& file) -> Result<Ok> {
        auto recorded = file.record();
        if (!recorded) return std::move(recorded).error();
        *end = *recorded;
        return Ok{};
      },
      [self = weak_from_this(), end, epoch = epoch_](StepAnswer answer) {
        auto us = self.lock();
        if (!us || us->host_ == nullptr) return;
        if (!answer.result || !answer.file) return us->data_synced(0, epoch, std::move(answer.result));
        run_to_end<Result<Ok>>(
            us->loop_, us->workers_,
            [file = us->file_, data = answer.file] { return file->sync_data(*data); },
            [us, end, epoch](Result<Ok> result) { us->data_synced(*end, epoch, std::move(result)); });
      });
}

void DiskPartial::data_synced(ByteCount record_end, unsigned epoch, Result<Ok> result) {
  syncing_ = false;
  if (!result && host_ != nullptr) host_->partial_failed(result.error());
  if (spent_) return tell_if_idle();
  add_step(
      [record_end, ok = result.ok() && epoch == epoch_](PartialFile& file) -> Result<Ok> {
        if (!ok || record_end == 0) return Ok{};
        return file.mark_synced(record_end);
      },
      nullptr);
}

}  // namespace layerd::cache
