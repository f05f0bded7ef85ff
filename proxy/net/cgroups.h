// Is a cgroup that of a pod or a container? By its number, as the kernel names the cgroup of a socket
// (socket_owner.h). Numbers are never used twice while the machine runs, so answers are kept.
// Loop thread; the tree is read by a worker.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runtime/loop.h"
#include "runtime/ticket.h"
#include "runtime/workers.h"

namespace layerd::net {

// Does the path say so: a component "kubepods…", or one with an identifier of 64 hex digits, as container
// runtimes name their groups? What it shares with `own`, our own group, does not count: a whole node may
// run in a container.
bool is_container_cgroup(std::string_view path, std::string_view own);

class Cgroups {
 public:
  virtual ~Cgroups() = default;
  // What is known without asking; 0 and the root of all groups are no container.
  virtual std::optional<bool> is_container(std::uint64_t id) const = 0;
  // Answers is_container(id) from then on. A group that is gone counts as a container when the whole
  // tree can be seen, else as none. Never fails. Dropping the Ticket: the answer is kept all the same.
  virtual Ticket look_up(std::uint64_t id, Done<bool> done) = 0;
};

class KernelCgroups final : public Cgroups {
 public:
  KernelCgroups(Loop& loop, Workers& workers) : loop_(loop), workers_(workers) {}
  std::optional<bool> is_container(std::uint64_t id) const override;
  Ticket look_up(std::uint64_t id, Done<bool> done) override;

 private:
  Loop& loop_;
  Workers& workers_;
  // Shared with the answers under way.
  std::shared_ptr<std::unordered_map<std::uint64_t, bool>> known_ =
      std::make_shared<std::unordered_map<std::uint64_t, bool>>();
};

}  // namespace layerd::net
