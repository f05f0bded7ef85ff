#include "tests/support/net_site.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <thread>

namespace layerd::test {
namespace {

std::string space_file(pid_t pid) { return fmt::format("/proc/{}/ns/net", pid); }

void must(std::vector<std::string> arguments) {
  const Finished finished = run(arguments);
  if (finished.status == 0) return;
  std::string said;
  for (const auto& each : arguments) said += each + " ";
  throw std::runtime_error(said + ": " + finished.output);
}

void enter(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const bool entered = fd >= 0 && setns(fd, CLONE_NEWNET) == 0;
  if (fd >= 0) close(fd);
  if (!entered) throw std::runtime_error("cannot enter the network namespace " + file);
}

}  // namespace

// A namespace, for as long as its holder lives.
struct NetSite::Space {
  Space() : holder(Command{{"unshare", "-n", "sleep", "infinity"}, {}, {}}) {
    const auto own = std::filesystem::read_symlink("/proc/self/ns/net");
    for (int tries = 0; std::filesystem::read_symlink(space_file(holder.pid())) == own; ++tries) {
      if (tries > 1000 || !holder.running()) throw std::runtime_error("a network namespace needs root");
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    must(in({"ip", "link", "set", "lo", "up"}));
  }

  std::vector<std::string> in(std::vector<std::string> command) const {
    std::vector<std::string> all = {"nsenter", "-t", std::to_string(holder.pid()), "-n"};
    all.insert(all.end(), command.begin(), command.end());
    return all;
  }

  Process holder;
};

NetSite::NetSite(std::size_t nodes, unsigned wan_mbit)
    : switch_(std::make_unique<Space>()), upstream_(std::make_unique<Space>()) {
  must(switch_->in({"ip", "link", "add", "bridge", "type", "bridge"}));
  must(switch_->in({"ip", "link", "set", "dev", "bridge", "up"}));
  join(*upstream_, "wan", kUpstream, wan_mbit);
  for (std::size_t i = 0; i < nodes; ++i) {
    nodes_.push_back(std::make_unique<Space>());
    join(*nodes_.back(), fmt::format("n{}", i), address(i), 1000);
  }
}

NetSite::~NetSite() = default;

void NetSite::join(const Space& space, const std::string& port, const std::string& address, unsigned mbit) {
  must(switch_->in({"ip", "link", "add", "name", port, "type", "veth", "peer", "name", "eth0", "netns",
                    std::to_string(space.holder.pid())}));
  must(switch_->in({"ip", "link", "set", "dev", port, "master", "bridge", "up"}));
  must(space.in({"ip", "address", "add", address + "/24", "dev", "eth0"}));
  must(space.in({"ip", "link", "set", "dev", "eth0", "up"}));
  shape(*switch_, port, mbit);
  shape(space, "eth0", mbit);
}

void NetSite::shape_upstream(unsigned mbit) {
  shape(*switch_, "wan", mbit);
  shape(*upstream_, "eth0", mbit);
}

void NetSite::shape(const Space& space, const std::string& device, unsigned mbit) {
  must(space.in({"tc", "qdisc", "replace", "dev", device, "root", "tbf", "rate", fmt::format("{}mbit", mbit),
                 "burst", "128k", "latency", "50ms"}));
}

std::string NetSite::address(std::size_t node) { return fmt::format("10.78.0.{}", 10 + node); }

void NetSite::plug(std::size_t node, bool in) { plug_port(fmt::format("n{}", node), in); }
void NetSite::plug_upstream(bool in) { plug_port("wan", in); }

void NetSite::plug_port(const std::string& port, bool in) {
  must(switch_->in(in ? std::vector<std::string>{"ip", "link", "set", "dev", port, "master", "bridge"}
                      : std::vector<std::string>{"ip", "link", "set", "dev", port, "nomaster"}));
}

void NetSite::reset_connections(std::size_t node) {
  run(nodes_[node]->in({"ss", "-K", "state", "established"}));
}

NetSite::Inside NetSite::inside_upstream() const { return Inside(upstream_->holder.pid()); }
NetSite::Inside NetSite::inside(std::size_t node) const { return Inside(nodes_[node]->holder.pid()); }

NetSite::Inside::Inside(pid_t holder) : own_(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
  enter(space_file(holder));
}

NetSite::Inside::~Inside() {
  if (setns(own_, CLONE_NEWNET) != 0) std::abort();
  close(own_);
}

}  // namespace layerd::test
