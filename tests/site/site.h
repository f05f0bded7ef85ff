// What the tests of sharing start from: machines in network namespaces of their own, a real docker-registry
// behind a shaped cable, and on the machines layerd and real containerds, nothing of them scripted.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "tests/real/real.h"
#include "tests/support/net_site.h"

namespace layerd::test {

constexpr const char* kReference = "registry.test/team/app:1";

// Layers of several units, of one, and of next to nothing.
Image make_app(std::uint64_t seed, std::size_t biggest = 30u << 20);
// `layerd peers secret -o` into a new file; its path.
std::string make_secret(const std::string& path);
// As often as it takes within a time that no loaded machine needs.
bool eventually(const std::function<bool()>& holds);

// Machines with nothing on them, and the registry with `image` as team/app:1.
class Machines {
 public:
  Machines(const Image& image, std::size_t count, unsigned wan_mbit);

  // Another image becomes team/app:1 at the registry.
  void publish(const Image& image);
  // The cable to the registry: what is sent vanishes.
  void plug_wan(bool in) { net_.plug_upstream(in); }
  std::string upstream() const { return fmt::format("http://{}:{}", NetSite::kUpstream, registry_->port()); }
  // Of the machine, with what is on its disk.
  std::string folder(std::size_t i) const { return dir_ / fmt::format("node-{}", i); }
  static std::string member(std::size_t i) { return NetSite::address(i) + ":5152"; }

  DockerRegistry& registry() { return *registry_; }
  NetSite& net() { return net_; }
  const NetSite& net() const { return net_; }
  const TempDir& dir() const { return dir_; }
  std::size_t count() const { return count_; }

 private:
  const std::size_t count_;
  TempDir dir_;
  NetSite net_;
  std::optional<DockerRegistry> registry_;
};

// layerd on each machine, all members, and a containerd that pulls through it.
class Site {
 public:
  static constexpr std::size_t kNodes = 4;
  static constexpr unsigned kWanMbit = 100;

  explicit Site(const Image& image) : machines_(image, kNodes, kWanMbit) {}

  // Without layerd: its containerd asks the registry itself.
  void start_without(std::size_t node);
  // secret: the path of its file; more: of its configuration.
  void start(std::size_t node, const std::string& secret, const std::string& more = "");
  void start_all();
  void start_again(std::size_t node);
  void stop(std::size_t node);
  void kill(std::size_t node);
  // Another machine in the place of this one: nothing is on its disk. It is started by start().
  void take_away(std::size_t node);

  // All at once, each in a thread of its own.
  std::vector<Finished> pull(const std::vector<std::size_t>& nodes,
                             const std::string& reference = kReference);
  // The pulls work, and containerd and layerd of these nodes have every byte of it.
  void must_pull(const std::vector<std::size_t>& nodes, const Image& image,
                 const std::string& reference = kReference);
  // Bytes of blobs that layerd of all nodes got over the WAN, in copies of the image.
  double copies_from_upstream(const Image& image);

  LayerdDaemon& layerd(std::size_t i) { return *nodes_[i].layerd; }
  Containerd& containerd(std::size_t i) { return *nodes_[i].containerd; }
  double metric(std::size_t node, const std::string& name);
  std::string secret();  // of the site
  Machines& machines() { return machines_; }

 private:
  struct Node {
    std::unique_ptr<Layerd> layerd;
    std::unique_ptr<Containerd> containerd;
  };
  std::string configuration(std::size_t node, const std::string& secret) const;

  Machines machines_;
  std::string secret_;
  Node nodes_[kNodes];
};

}  // namespace layerd::test
