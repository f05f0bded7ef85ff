#include "cache/room.h"

#include <fmt/core.h>

namespace layerd::cache {
namespace {

using namespace std::chrono_literals;

constexpr Duration kFreshFor = 1s;
constexpr ByteCount kFreshBytes = 64_MiB;
constexpr std::size_t kMostCandidates = 4096;
constexpr std::size_t kSliceRows = 1000;  // looked at in one turn of the loop

std::int64_t unix_now(const Loop& loop) {
  return std::chrono::duration_cast<std::chrono::seconds>(loop.wall_now().time_since_epoch()).count();
}

}  // namespace

Room::Room(Loop& loop, Workers& workers, const StoreSettings& settings, BlobRows& rows, Host& host)
    : loop_(loop), settings_(settings), rows_(rows), host_(host), jobs_(workers) {
  if (auto space = settings_.files->space(settings_.path)) space_ = *space;  // one statvfs at start
}

Ticket Room::reserve(const Digest& digest, ByteCount more, Done<Ok> done) {
  auto operation = std::make_shared<Pending<Ok>>(std::move(done));
  add(digest, more, operation);
  return Ticket(operation);
}

void Room::ask(const Digest& digest, ByteCount more, Done<Ok> done) {
  add(digest, more, std::make_shared<Pending<Ok>>(std::move(done)));
}

void Room::add(const Digest& digest, ByteCount more, std::shared_ptr<Pending<Ok>> operation) {
  asks_.push_back({digest, more, std::move(operation), std::make_shared<ByteCount>(0)});
  serve();
}

void Room::give_back(const Digest& digest, ByteCount bytes) {
  const auto found = live_.find(digest);
  if (found == live_.end()) return;
  const auto given = std::min(found->second.reserved, bytes);
  found->second.reserved -= given;
  reserved_bytes_ -= given;
  written_since_ += given;
  if (found->second.reserved == 0 && found->second.grown == 0) live_.erase(found);
}

Ticket Room::tidy(Done<ByteCount> done) {
  auto operation = std::make_shared<Pending<ByteCount>>(std::move(done));
  auto dropped = std::make_shared<ByteCount>(0);
  is_fresh_ = false;
  asks_.push_back({Digest(), 0, std::make_shared<Pending<Ok>>([operation, dropped](Result<Ok>) {
                     operation->answer(*dropped);
                   }),
                   dropped});
  serve();
  return Ticket(operation);
}

void Room::grew(const Digest& digest, ByteCount bytes) {
  auto& live = live_[digest];
  const auto reserved = std::min(live.reserved, bytes);
  live.reserved -= reserved;
  reserved_bytes_ -= reserved;
  live.grown += bytes;
  live_bytes_ += bytes;
  written_since_ += bytes;
}

void Room::settle(const Digest& digest) {
  const auto found = live_.find(digest);
  if (found == live_.end()) return;
  reserved_bytes_ -= found->second.reserved;
  live_bytes_ -= found->second.grown;
  live_.erase(found);
}

void Room::serve() {
  while (!is_serving_ && !asks_.empty())
    if (!serve_first()) return;
}

// True: the first ask is answered. False: it waits for a reading or an eviction.
bool Room::serve_first() {
  auto& ask = asks_.front();
  if (!ask.operation->wanted()) {
    asks_.pop_front();
    return true;
  }
  if (!is_fresh_ || loop_.now() - read_at_ > kFreshFor || granted_since_ > kFreshBytes) {
    read_space();
    return false;
  }
  const auto needed = shortage(ask.more);
  if (needed == 0) {
    if (ask.more > 0) live_[ask.digest].reserved += ask.more;
    reserved_bytes_ += ask.more;
    granted_since_ += ask.more;
    answer_first(Ok{});
    return true;
  }
  begin_search(needed);
  return false;
}

void Room::search_done() {
  auto found = std::move(search_.candidates);
  auto& ask = asks_.front();
  const auto needed = shortage(ask.more);
  is_serving_ = false;
  if (!ask.operation->wanted() || needed == 0) return serve();
  std::erase_if(found, [this](const auto& each) { return host_.is_busy(each.digest, each.is_partial); });
  auto chosen = choose_victims(std::move(found), needed, unix_now(loop_));
  ByteCount sum = 0;
  for (const auto& victim : chosen) sum += victim.size;
  if (chosen.empty() || (sum < needed && ask.more > 0)) {
    answer_first(refusal(ask.more));
    return serve();
  }
  is_serving_ = true;
  host_.drop(std::move(chosen), [this, sum](Result<Ok> gone) {
    is_serving_ = false;
    is_fresh_ = false;
    if (gone) {
      *asks_.front().dropped += sum;
    } else {
      answer_first(std::move(gone).error());  // a disk that removes nothing: no more rows are tried
    }
    serve();
  });
}

void Room::read_space() {
  is_serving_ = true;
  jobs_.run<DiskSpace>(
      "free space", [files = settings_.files, path = settings_.path] { return files->space(path); },
      [this](Result<DiskSpace> space) {
        is_serving_ = false;
        if (space) space_ = *space;  // else the former reading has to do
        is_fresh_ = true;
        read_at_ = loop_.now();
        granted_since_ = written_since_ = 0;
        serve();
      });
}

ByteCount Room::shortage(ByteCount more) const {
  const auto used =
      rows_.totals().bytes + rows_.totals().partial_bytes + live_bytes_ + reserved_bytes_ + more;
  const auto over_cap = used > cap() ? used - cap() : 0;
  const auto wanted_free = floor() + reserved_bytes_ + more;
  const auto free = space_.free - std::min(space_.free, written_since_);
  const auto under_floor = wanted_free > free ? wanted_free - free : 0;
  return std::max(over_cap, under_floor);
}

void Room::begin_search(ByteCount needed) {
  is_serving_ = true;
  search_ = {};
  search_.needed = needed;
  rows_.partials([&](const Digest& digest, const PartialEntry& entry) {
    if (!host_.is_busy(digest, true))
      search_.candidates.push_back({digest, entry.bytes, entry.last_used, true});
    return search_.candidates.size() < kMostCandidates;
  });
  slice_ = loop_.post([this] { search_on(); });
}

// The oldest class as a whole, and as many more as are needed.
void Room::search_on() {
  const auto now = unix_now(loop_);
  std::size_t looked_at = 0;
  rows_.by_use(search_.after, [&](const Digest& digest, const BlobEntry& entry) {
    if (looked_at == kSliceRows) return false;
    ++looked_at;
    search_.after = {entry.last_used, digest};
    if (entry.pinned || host_.is_busy(digest, false)) return true;
    const int number = age_class(entry.last_used, now);
    const bool is_enough = search_.sum >= search_.needed;
    if (is_enough && (number != search_.oldest_class || search_.candidates.size() >= kMostCandidates)) {
      looked_at = 0;
      return false;
    }
    search_.oldest_class = number;
    search_.sum += entry.facts.size;
    search_.candidates.push_back({digest, entry.facts.size, entry.last_used, false});
    return true;
  });
  if (looked_at < kSliceRows) return search_done();
  slice_ = loop_.post([this] { search_on(); });
}

void Room::answer_first(Result<Ok> result) {
  auto operation = std::move(asks_.front().operation);
  asks_.pop_front();
  loop_.post_detached(
      [operation, answer = std::move(result)]() mutable { operation->answer(std::move(answer)); });
}

Error Room::refusal(ByteCount more) const {
  return Error{
      Errc::no_space,
      fmt::format(
          "no room for {} bytes in {}: cache.max_size is {} bytes, cache.min_free is {} bytes, {} bytes "
          "are free and nothing more can be evicted; raise max_size, lower min_free or free the disk",
          more, settings_.path, cap(), floor(), space_.free)};
}

}  // namespace layerd::cache
