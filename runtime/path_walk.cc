#include "runtime/path_walk.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <deque>
#include <string_view>
#include <vector>

namespace layerd {
namespace {

constexpr int kMostLinks = 40;  // as the kernel has it

void put_in_front(std::deque<std::string>& parts, std::string_view path) {
  std::vector<std::string> fresh;
  while (!path.empty()) {
    const auto slash = std::min(path.find('/'), path.size());
    if (const auto part = path.substr(0, slash); !part.empty() && part != ".") fresh.emplace_back(part);
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  parts.insert(parts.begin(), fresh.begin(), fresh.end());
}

std::string absolute(const std::string& path) {
  char folder[PATH_MAX];
  return path.starts_with('/') || !::getcwd(folder, sizeof folder) ? path : std::string(folder) + "/" + path;
}

}  // namespace

void walk_path(const std::string& path, const std::function<bool(const PathStep&)>& visit) {
  std::string at;  // empty: the root
  std::deque<std::string> parts;
  put_in_front(parts, absolute(path));
  for (int links = 0; !parts.empty();) {
    const std::string part = std::move(parts.front());
    parts.pop_front();
    if (part == "..") {
      at = at.substr(0, std::min(at.rfind('/'), at.size()));
      continue;
    }
    PathStep step{at.empty() ? "/" : at, at + "/" + part};
    char target[PATH_MAX];
    step.is_there = ::lstat(step.entry.c_str(), &step.found) == 0;
    step.is_link = step.is_there && S_ISLNK(step.found.st_mode);
    step.is_last = !step.is_link && parts.empty();
    if (!visit(step) || !step.is_there) return;
    if (!step.is_link) {
      at = std::move(step.entry);
      continue;
    }
    const auto size = ::readlink(step.entry.c_str(), target, sizeof target);
    if (size <= 0 || ++links > kMostLinks) return;
    if (target[0] == '/') at.clear();
    put_in_front(parts, {target, static_cast<std::size_t>(size)});
  }
}

}  // namespace layerd
