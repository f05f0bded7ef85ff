#include "proxy/net/cgroups.h"

#include <dirent.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "runtime/file.h"
#include "runtime/log.h"

namespace layerd::net {
namespace {

constexpr std::uint64_t kRootGroup = 1;
constexpr std::size_t kMostKnown = 4096;
constexpr std::size_t kMostFolders = 200000;
constexpr std::size_t kMostProcText = 1u << 20;
constexpr Duration kUnreadableFor = std::chrono::seconds(5);
constexpr Duration kTroubleFor = std::chrono::minutes(10);  // after the last group that could not be read

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
Result<std::string> mount_point(const std::string& proc) {
  const auto text = read_file(proc + "/mountinfo", kMostProcText);
  if (!text) return text.error();
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" - cgroup2 ") == std::string::npos) continue;
    std::istringstream words(line);
    std::string word;
    for (int i = 0; i < 5; ++i) words >> word;
    return word;
  }
  return std::string();
}

Result<std::string> own_group(const std::string& proc) {
  const auto text = read_file(proc + "/cgroup", kMostProcText);
  if (!text) return text.error();
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return std::string();
}

struct Group {
  std::string path;  // below the mount point
  std::uint64_t id = 0;
};

// A group that went away while the tree was read is no failure.
Result<Ok> add_children(const std::string& root, const std::string& path, std::vector<Group>& out) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir((root + path).c_str()), &::closedir);
  if (!folder && errno == ENOENT) return Ok{};
  if (!folder) return errno_error("cannot read " + root + path, errno);
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (!entry && errno != 0 && errno != ENOENT) return errno_error("cannot read " + root + path, errno);
    if (!entry) return Ok{};
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    out.push_back({path + "/" + entry->d_name, entry->d_ino});
  }
}

// Breadth first, so that the groups of services are found before those of pods. A group that is not there
// is gone only if all of the tree was seen.
Result<CgroupKind> find_in_tree(const std::string& root, std::uint64_t root_id, const std::string& own,
                                std::uint64_t id) {
  std::vector<Group> level{{"", root_id}};
  std::optional<Error> failed;
  std::size_t seen = 0;
  while (!level.empty() && seen < kMostFolders) {
    std::vector<Group> below;
    for (const auto& group : level) {
      ++seen;
      if (group.id == id)
        return is_container_cgroup(group.path, own) ? CgroupKind::container : CgroupKind::plain;
      if (auto read = add_children(root, group.path, below); !read && !failed) failed = read.error();
    }
    level = std::move(below);
  }
  if (failed) return *failed;
  if (!level.empty()) return Error{Errc::local_io, root + " has more groups than are looked through"};
  if (root_id == kRootGroup) return CgroupKind::container;
  return Error{Errc::local_io, root + " shows layerd its own part of the tree alone"};
}

// Worker side. That the kernel named a group says that there are groups: not to see them is an error.
Result<CgroupKind> read_kind(const std::string& proc, std::uint64_t id) {
  const auto root = mount_point(proc);
  if (!root) return root.error();
  if (root->empty())
    return Error{Errc::local_io, "no cgroup2 file system is mounted where layerd could see it"};
  const auto own = own_group(proc);
  if (!own) return own.error();
  struct stat info {};
  if (::stat(root->c_str(), &info) != 0) return errno_error("cannot read " + *root, errno);
  return find_in_tree(*root, info.st_ino, *own, id);
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

KernelCgroups::KernelCgroups(Loop& loop, Workers& workers, Metrics& metrics, std::string proc)
    : loop_(loop),
      workers_(workers),
      unreadable_(metrics.counter("layerd_cgroups_unreadable_total",
                                  "Connections whose cgroup the kernel names and layerd could not read.")),
      proc_(std::move(proc)) {}

std::optional<CgroupKind> KernelCgroups::kind(std::uint64_t id) const {
  if (id == 0 || id == kRootGroup) return CgroupKind::plain;
  if (const auto found = known_->kinds.find(id); found != known_->kinds.end()) return found->second;
  const auto failed = known_->unreadable_until.find(id);
  const bool is_unreadable = failed != known_->unreadable_until.end() && loop_.now() < failed->second;
  return is_unreadable ? std::optional(CgroupKind::unreadable) : std::nullopt;
}

Ticket KernelCgroups::look_up(std::uint64_t id, Done<CgroupKind> done) {
  LAYERD_ON_LOOP(loop_);
  return workers_.run<CgroupKind>(
      "read cgroups", [proc = proc_, id] { return read_kind(proc, id); },
      [known = known_, id, &loop = loop_, &counter = unreadable_,
       done = std::move(done)](Result<CgroupKind> read) mutable {
        known->take_in(id, read, loop.now(), counter);
        done(read ? *read : CgroupKind::unreadable);
      });
}

std::string KernelCgroups::trouble() const {
  return loop_.now() < known_->trouble_until ? known_->trouble : std::string();
}

// Logged when it is new. Other groups may be read all the while (a part of the tree is shown).
void KernelCgroups::Known::take_in(std::uint64_t id, const Result<CgroupKind>& read, TimePoint now,
                                   Counter& unreadable) {
  if (read) {
    if (kinds.size() >= kMostKnown) kinds.clear();
    kinds[id] = *read;
    unreadable_until.erase(id);
    if (id == failed_last) trouble_until = {};
    return;
  }
  unreadable.add();
  if (unreadable_until.size() >= kMostKnown) unreadable_until.clear();
  unreadable_until[id] = now + kUnreadableFor;
  failed_last = id;
  trouble_until = now + kTroubleFor;
  trouble =
      fmt::format("pods cannot be told from runtimes, who get what is open alone: {}", read.error().message);
  if (std::exchange(logged, trouble) != trouble)
    LogLine(LogLevel::warn, "cgroups").field("err", read.error().message);
}

}  // namespace layerd::net
