#include "daemon/file_watch.h"

#include <algorithm>
#include <set>

#include "runtime/path_walk.h"

namespace layerd::daemon {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSoon = 200ms;    // from the first stir to the first look
constexpr Duration kSettle = 100ms;  // between looks at a file that is being written
constexpr int kMostLooks = 6;        // then it is taken as it is
constexpr Duration kSlow = 10s;      // where the kernel tells nothing of a change
constexpr Duration kSlowBlind = 1s;  // where it cannot be asked

}  // namespace

std::vector<std::string> deciding_folders(const std::string& path) {
  std::set<std::string> folders;
  walk_path(path, [&](const PathStep& step) {
    if (!step.is_there || step.is_link || step.is_last) folders.insert(step.folder);
    return true;
  });
  return {folders.begin(), folders.end()};
}

FileWatch::FileWatch(UvLoop& loop, Callback<void()> changed) : loop_(loop), changed_(std::move(changed)) {}

void FileWatch::watch(std::vector<net::FileStamp> files) {
  known_ = std::move(files);
  seen_.clear();
  unsettled_ = 0;
  watch_folders();
  if (stamps_now() != known_) look_after(kSettle);
}

// The old ones go last, so that nothing that stirs meanwhile is missed.
void FileWatch::watch_folders() {
  std::set<std::string> wanted;
  for (const auto& file : known_)
    for (auto& folder : deciding_folders(file.path)) wanted.insert(std::move(folder));
  std::vector<std::unique_ptr<FolderWatch>> fresh;
  for (const auto& folder : wanted)
    fresh.push_back(std::make_unique<FolderWatch>(loop_, folder, [this] { stirred(); }));
  is_blind_ = std::any_of(fresh.begin(), fresh.end(), [](const auto& watch) { return !watch->works(); });
  folders_.swap(fresh);
  slow_ = loop_.after(is_blind_ ? kSlowBlind : kSlow, "watched files", [this] { look(); });
}

void FileWatch::stirred() {
  if (!soon_.held()) look_after(kSoon);
}

void FileWatch::look_after(Duration wait) {
  soon_ = loop_.after(wait, "watched files", [this] { look(); });
}

void FileWatch::look() {
  soon_.reset();
  watch_folders();
  auto now = stamps_now();
  if (now == known_) {
    seen_.clear();
    unsettled_ = 0;
    return;
  }
  if (now != seen_ && ++unsettled_ < kMostLooks) {
    seen_ = std::move(now);
    return look_after(kSettle);
  }
  known_ = std::move(now);
  seen_.clear();
  unsettled_ = 0;
  changed_();
}

std::vector<net::FileStamp> FileWatch::stamps_now() const {
  std::vector<net::FileStamp> stamps;
  for (const auto& file : known_) stamps.push_back(net::FileStamp::of(file.path));
  return stamps;
}

Ticket watch_file(UvLoop& loop, const std::string& path, Callback<void()> changed) {
  auto watch = std::make_unique<FileWatch>(loop, std::move(changed));
  watch->watch({net::FileStamp::of(path)});
  return ticket_for([watch = std::move(watch)]() mutable { watch.reset(); });
}

}  // namespace layerd::daemon
