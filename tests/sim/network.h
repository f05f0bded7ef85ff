// The network of a site on virtual time: one WAN link that all share, a NIC with an up and a down rate at
// each node, links between zones. Transfers are flows of blocks: uplinks and the WAN serve their ready flows
// in turn, downlinks in order of arrival, at most three blocks of a flow are under way. This is the model of
// peers.md section 2, so that its numbers can be compared with.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/bytes.h"
#include "tests/sim/sim_loop.h"

namespace layerd::sim {

struct Links {
  double wan = 12.5e6;   // bytes per second
  double lan = 125e6;    // of each NIC, either way
  double zone = 0;       // of each zone's link, either way; 0: as fast as it gets
  double wan_rtt = 0.1;  // seconds
  double lan_rtt = 0.0005;
  ByteCount block = 512 * 1024;
};

class Network;

// One transfer. `src` Network::kWan: from the registry.
struct Flow : std::enable_shared_from_this<Flow> {
  int src = 0, dst = 0;
  ByteCount next = 0, end = 0;         // bytes of the blob that are still to be sent
  std::function<ByteCount()> is_here;  // up to which byte the sender has it
  std::function<void(ByteCount)> sent;
  std::function<void(ByteCount)> arrived;  // so many bytes more
  std::function<void()> broken;            // the connection was reset
  bool is_over = false;

 private:
  friend class Network;
  unsigned in_flight = 0;
  bool is_queued = false;
  ByteCount first = 0;
  bool is_cold = false;
  TimePoint opened{};
};
using FlowPtr = std::shared_ptr<Flow>;

class Network {
 public:
  static constexpr int kWan = -1;
  Network(SimLoop& loop, Links links, std::size_t nodes, std::size_t zones);

  void start(const FlowPtr& flow);
  void stop(const FlowPtr& flow);
  // From now until the head of the registry's answer is here, for a flow from it that has been started.
  Duration head_after(const Flow& flow) const;
  // The sender of these may have more now.
  void kick(const FlowPtr& flow);
  void set_rate(int node, double rate) { up_[index(node)] = down_[index(node)] = rate; }
  int zone(int node) const { return zones_ == 0 ? 0 : node % static_cast<int>(zones_); }

  double latency() const { return links_.lan_rtt / 2; }
  const Links& links() const { return links_; }
  ByteCount wan_bytes() const { return sent_.front(); }
  ByteCount sent(int node) const { return sent_[index(node)]; }
  ByteCount zone_bytes() const { return zone_bytes_; }

 private:
  std::size_t index(int node) const { return static_cast<std::size_t>(node + 1); }
  double ready_at(const Flow& flow) const;
  void serve(std::size_t src);
  void deliver(const FlowPtr& flow, ByteCount bytes);

  SimLoop& loop_;
  const Links links_;
  const std::size_t zones_;
  std::vector<double> up_, down_;           // [0] is the WAN
  std::vector<std::deque<FlowPtr>> ready_;  // whose next block may leave
  std::vector<double> busy_, arrives_;      // until when, in seconds
  std::vector<char> waking_;
  std::vector<double> zone_out_, zone_in_;
  std::vector<unsigned> warm_;  // connections to the registry that are open and idle
  std::vector<ByteCount> sent_;
  ByteCount zone_bytes_ = 0;
};

}  // namespace layerd::sim
