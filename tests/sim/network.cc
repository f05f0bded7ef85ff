#include "tests/sim/network.h"

#include <algorithm>
#include <cmath>

namespace layerd::sim {
namespace {

constexpr unsigned kWindow = 3;                // blocks under way of one flow in the LAN
constexpr double kFirstWindow = 14'600;        // bytes: TCP's, at the beginning
constexpr double kMostWindow = 4 * 1048576.0;  // bytes: one WAN connection's, assumed

double in_seconds(TimePoint time) { return seconds(time.time_since_epoch()); }
TimePoint at(double time) { return TimePoint(seconds(time)); }

}  // namespace

Network::Network(SimLoop& loop, Links links, std::size_t nodes, std::size_t zones)
    : loop_(loop),
      links_(links),
      zones_(zones),
      up_(nodes + 1, links.lan),
      down_(nodes + 1, links.lan),
      ready_(nodes + 1),
      busy_(nodes + 1, 0),
      arrives_(nodes + 1, 0),
      waking_(nodes + 1, 0),
      zone_out_(zones, 0),
      zone_in_(zones, 0),
      warm_(nodes + 1, 0),
      sent_(nodes + 1, 0) {
  up_[0] = links.wan;
}

void Network::start(const FlowPtr& flow) {
  flow->first = flow->next;
  const double now = in_seconds(loop_.now());
  if (flow->src == kWan) {
    auto& warm = warm_[index(flow->dst)];
    flow->is_cold = warm == 0;
    if (warm > 0) --warm;
    flow->opened = at(now + links_.wan_rtt * (flow->is_cold ? 2.5 : 0.5));
  }
  kick(flow);
}

void Network::stop(const FlowPtr& flow) {
  if (flow->is_over) return;
  flow->is_over = true;
  if (flow->src == kWan && flow->next == flow->end) ++warm_[index(flow->dst)];
}

Duration Network::head_after(const Flow& flow) const {
  return flow.opened - loop_.now() + seconds(links_.wan_rtt / 2);
}

// When the registry can have sent the flow's next block: set-up, request, slow start, window.
double Network::ready_at(const Flow& flow) const {
  const double sent = static_cast<double>(std::min(flow.next + links_.block, flow.end) - flow.first);
  double wait = sent * links_.wan_rtt / kMostWindow;
  if (flow.is_cold)
    wait = sent < kMostWindow
               ? std::max(wait, links_.wan_rtt * std::max(0.0, std::log2(1 + sent / kFirstWindow) - 1))
               : wait + links_.wan_rtt * 8.2;
  return in_seconds(flow.opened) + wait;
}

void Network::kick(const FlowPtr& flow) {
  if (flow->is_over || flow->is_queued || flow->next >= flow->end) return;
  const double now = in_seconds(loop_.now());
  if (flow->src == kWan) {
    if (static_cast<double>(flow->in_flight * links_.block) > kMostWindow) return;
    const double ready = ready_at(*flow);
    if (ready > now + 1e-9) {
      flow->is_queued = true;
      loop_.at(at(ready) + Duration(1), [this, flow] {
        flow->is_queued = false;
        kick(flow);
      });
      return;
    }
  } else {
    if (flow->in_flight >= kWindow) return;
    if (flow->is_here() < std::min(flow->next + links_.block, flow->end)) return;
  }
  flow->is_queued = true;
  const auto src = index(flow->src);
  ready_[src].push_back(flow);
  if (waking_[src]) return;
  if (busy_[src] <= now) return serve(src);
  waking_[src] = 1;
  loop_.at(at(busy_[src]), [this, src] {
    waking_[src] = 0;
    serve(src);
  });
}

void Network::serve(std::size_t src) {
  auto& ready = ready_[src];
  while (!ready.empty()) {
    const auto flow = std::move(ready.front());
    ready.pop_front();
    flow->is_queued = false;
    if (flow->is_over) continue;
    const auto bytes = std::min(links_.block, flow->end - flow->next);
    const auto size = static_cast<double>(bytes);
    const auto dst = index(flow->dst);
    const double now = in_seconds(loop_.now());
    const double takes = size / up_[src];
    busy_[src] = now + takes;
    double begins = now + (src == 0 ? links_.wan_rtt / 2 : latency());
    if (src != 0 && zones_ > 0 && zone(flow->src) != zone(flow->dst)) {
      zone_bytes_ += bytes;
      if (links_.zone > 0) {
        auto& out = zone_out_[static_cast<std::size_t>(zone(flow->src))];
        auto& in = zone_in_[static_cast<std::size_t>(zone(flow->dst))];
        const double hop = size / links_.zone;
        out = std::max(out, begins) + hop;
        in = std::max(in, out - hop) + hop;
        begins = in - hop;
      }
    }
    arrives_[dst] = std::max(arrives_[dst], begins) + size / down_[dst];
    flow->next += bytes;
    ++flow->in_flight;
    sent_[src] += bytes;
    if (flow->sent) flow->sent(bytes);
    loop_.at(at(std::max(arrives_[dst], begins + takes)), [this, flow, bytes] { deliver(flow, bytes); });
    kick(flow);
    if (!ready.empty() && !waking_[src]) {
      waking_[src] = 1;
      loop_.at(at(busy_[src]), [this, src] {
        waking_[src] = 0;
        serve(src);
      });
    }
    return;
  }
}

void Network::deliver(const FlowPtr& flow, ByteCount bytes) {
  if (flow->is_over) return;
  --flow->in_flight;
  kick(flow);
  flow->arrived(bytes);
}

}  // namespace layerd::sim
