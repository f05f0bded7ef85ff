#include "proxy/net/cgroups.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <vector>

#include "runtime/file.h"

namespace layerd::net {
namespace {

constexpr std::uint64_t kRootGroup = 1;
constexpr std::size_t kMostKnown = 4096;
constexpr std::size_t kMostFolders = 200000;
constexpr std::size_t kMostProcText = 1u << 20;

std::vector<std::string_view> components_of(std::string_view path) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at < path.size();) {
    const auto slash = std::min(path.find('/', at), path.size());
    if (slash > at) parts.push_back(path.substr(at, slash - at));
    at = slash + 1;
  }
  return parts;
}

bool has_container_id(std::string_view component) {
  std::size_t run = 0;
  for (std::size_t i = 0; i <= component.size(); ++i) {
    const char c = i < component.size() ? component[i] : '.';
    const bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (!is_hex && run == 64) return true;
    run = is_hex ? run + 1 : 0;
  }
  return false;
}

// Where the unified hierarchy is mounted; empty: nowhere that we see.
std::string mount_point() {
  const auto text = read_file("/proc/self/mountinfo", kMostProcText);
  if (!text) return {};
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" - cgroup2 ") == std::string::npos) continue;
    std::istringstream words(line);
    std::string word;
    for (int i = 0; i < 5; ++i) words >> word;
    return word;
  }
  return {};
}

std::string own_group() {
  const auto text = read_file("/proc/self/cgroup", kMostProcText);
  if (!text) return {};
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return {};
}

struct Group {
  std::string path;  // below the mount point
  std::uint64_t id = 0;
};

void add_children(const std::string& root, const std::string& path, std::vector<Group>& out) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir((root + path).c_str()), &::closedir);
  if (!folder) return;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    out.push_back({path + "/" + entry->d_name, entry->d_ino});
  }
}

// Worker side: breadth first, so that the groups of services are found before those of pods.
bool read_tree(std::uint64_t id) {
  const std::string root = mount_point();
  if (root.empty()) return false;
  struct stat info {};
  if (::stat(root.c_str(), &info) != 0) return false;
  const std::string own = own_group();
  std::vector<Group> level{{"", info.st_ino}};
  std::size_t seen = 0;
  while (!level.empty() && seen < kMostFolders) {
    std::vector<Group> below;
    for (const auto& group : level) {
      ++seen;
      if (group.id == id) return is_container_cgroup(group.path, own);
      add_children(root, group.path, below);
    }
    level = std::move(below);
  }
  return info.st_ino == kRootGroup;  // all of the tree is seen, and it is not there
}

}  // namespace

bool is_container_cgroup(std::string_view path, std::string_view own) {
  const auto parts = components_of(path), mine = components_of(own);
  std::size_t at = 0;
  while (at < parts.size() && at < mine.size() && parts[at] == mine[at]) ++at;
  return std::any_of(parts.begin() + static_cast<std::ptrdiff_t>(at), parts.end(), [](std::string_view part) {
    return part.starts_with("kubepods") || has_container_id(part);
  });
}

std::optional<bool> KernelCgroups::is_container(std::uint64_t id) const {
  if (id == 0 || id == kRootGroup) return false;
  const auto found = known_->find(id);
  return found == known_->end() ? std::nullopt : std::optional(found->second);
}

Ticket KernelCgroups::look_up(std::uint64_t id, Done<bool> done) {
  LAYERD_ON_LOOP(loop_);
  return workers_.run<bool>(
      "read cgroups", [id] { return read_tree(id); },
      [known = known_, id, done = std::move(done)](Result<bool> answer) mutable {
        if (known->size() >= kMostKnown) known->clear();
        const bool is_container = answer ? *answer : true;
        (*known)[id] = is_container;
        done(is_container);
      });
}

}  // namespace layerd::net
