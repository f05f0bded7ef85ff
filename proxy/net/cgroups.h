// Is a cgroup that of a pod or a container? By its number, as the kernel names the cgroup of a socket
// (socket_owner.h). Numbers are never used twice while the machine runs, so answers are kept.
// Loop thread; the tree is read by a worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runtime/loop.h"
#include "runtime/metrics.h"
#include "runtime/ticket.h"
#include "runtime/workers.h"

namespace layerd::net {

// Does the path say so: a component "kubepods…", or one with an identifier of 64 hex digits, as container
// runtimes name their groups? What it shares with `own`, our own group, does not count: a whole node may
// run in a container.
bool is_container_cgroup(std::string_view path, std::string_view own);

enum class CgroupKind : std::uint8_t {
  plain,       // outside of containers, or the kernel tells no groups apart (cgroup v1)
  container,   // of a pod or a container, or a group that is gone
  unreadable,  // the kernel names the group, but which one that is cannot be read: it may be a pod's
};

class Cgroups {
 public:
  virtual ~Cgroups() = default;
  // What is known without asking; 0 (the kernel does not tell) and the root of all groups are plain.
  virtual std::optional<CgroupKind> kind(std::uint64_t id) const = 0;
  // Answers kind(id) from then on; `unreadable` only for a while, so that it is tried again. Never fails.
  // Dropping the Ticket: the answer is lost.
  virtual Ticket look_up(std::uint64_t id, Done<CgroupKind> done) = 0;
  // One sentence while groups cannot be read; else empty.
  virtual std::string trouble() const = 0;
};

class KernelCgroups final : public Cgroups {
 public:
  // proc: where the kernel tells of this process.
  KernelCgroups(Loop& loop, Workers& workers, Metrics& metrics, std::string proc = "/proc/self");
  std::optional<CgroupKind> kind(std::uint64_t id) const override;
  Ticket look_up(std::uint64_t id, Done<CgroupKind> done) override;
  std::string trouble() const override;

 private:
  struct Known {
    void take_in(std::uint64_t id, const Result<CgroupKind>& read, TimePoint now, Counter& unreadable);
    std::unordered_map<std::uint64_t, CgroupKind> kinds;            // bounded
    std::unordered_map<std::uint64_t, TimePoint> unreadable_until;  // bounded
    std::uint64_t failed_last = 0;                                  // the group that `trouble` is about
    std::string trouble, logged;
    TimePoint trouble_until{};
  };

  Loop& loop_;
  Workers& workers_;
  Counter& unreadable_;
  std::string proc_;
  std::shared_ptr<Known> known_ = std::make_shared<Known>();  // shared with the answers under way
};

}  // namespace layerd::net
