// Network namespaces joined by a bridge: an upstream's, and one for each node of a site. They have no names
// and are held by child processes, so nothing is left when the test ends, however it ends. Needs root.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace layerd::test {

class NetSite {
 public:
  static constexpr const char* kUpstream = "10.78.0.1";

  // wan_mbit: the rate of the upstream's cable, both ways.
  NetSite(std::size_t nodes, unsigned wan_mbit);
  ~NetSite();
  NetSite(const NetSite&) = delete;
  NetSite& operator=(const NetSite&) = delete;

  static std::string address(std::size_t node);
  // The cable of a node, pulled out of the switch or put back; the node itself does not see it.
  void plug(std::size_t node, bool in);
  void plug_upstream(bool in);
  // Another rate for the upstream's cable, both ways.
  void shape_upstream(unsigned mbit);
  // Every connection that ends at the node is reset.
  void reset_connections(std::size_t node);

  // While it lives, this thread is in a namespace: what it starts and what it connects to is there. Children
  // die with the thread that started them.
  class Inside {
   public:
    ~Inside();
    Inside(const Inside&) = delete;
    Inside& operator=(const Inside&) = delete;

   private:
    friend class NetSite;
    explicit Inside(pid_t holder);
    int own_ = -1;
  };
  [[nodiscard]] Inside inside_upstream() const;
  [[nodiscard]] Inside inside(std::size_t node) const;

 private:
  struct Space;
  void join(const Space& space, const std::string& port, const std::string& address, unsigned mbit);
  void plug_port(const std::string& port, bool in);
  static void shape(const Space& space, const std::string& device, unsigned mbit);

  std::unique_ptr<Space> switch_, upstream_;
  std::vector<std::unique_ptr<Space>> nodes_;
};

}  // namespace layerd::test
