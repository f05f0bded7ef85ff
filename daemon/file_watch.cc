#include "daemon/file_watch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <deque>
#include <set>

namespace layerd::daemon {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSoon = 200ms;    // from the first stir to the first look
constexpr Duration kSettle = 100ms;  // between looks at a file that is being written
constexpr int kMostLooks = 6;        // then it is taken as it is
constexpr Duration kSlow = 10s;      // where the kernel tells nothing of a change
constexpr Duration kSlowBlind = 1s;  // where it cannot be asked
constexpr int kMostLinks = 40;       // as the kernel has it

void put_in_front(std::deque<std::string>& parts, std::string_view path) {
  std::vector<std::string> fresh;
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    if (slash > 0) fresh.emplace_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  parts.insert(parts.begin(), fresh.begin(), fresh.end());
}

std::string parent_of(const std::string& folder) {
  const auto slash = folder.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : folder.substr(0, slash);
}

std::string absolute(const std::string& path) {
  if (path.starts_with('/')) return path;
  char folder[PATH_MAX];
  return ::getcwd(folder, sizeof folder) ? std::string(folder) + "/" + path : "/" + path;
}

}  // namespace

std::vector<std::string> deciding_folders(const std::string& path) {
  std::set<std::string> folders;
  std::string at = "/";
  std::deque<std::string> parts;
  put_in_front(parts, absolute(path));
  for (int links = 0; !parts.empty() && links <= kMostLinks;) {
    const std::string part = std::move(parts.front());
    parts.pop_front();
    if (part == ".") continue;
    if (part == "..") {
      at = parent_of(at);
      continue;
    }
    const std::string entry = (at == "/" ? "" : at) + "/" + part;
    struct stat found {};
    if (::lstat(entry.c_str(), &found) != 0) {
      folders.insert(at);
      break;
    }
    char target[PATH_MAX];
    const auto size = S_ISLNK(found.st_mode) ? ::readlink(entry.c_str(), target, sizeof target) : -1;
    if (size > 0) {
      ++links;
      folders.insert(at);
      if (target[0] == '/') at = "/";
      put_in_front(parts, {target, static_cast<std::size_t>(size)});
    } else if (parts.empty()) {
      folders.insert(at);
    } else {
      at = entry;
    }
  }
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

}  // namespace layerd::daemon
