// A site of many nodes over the real peer code: each has a Site of its own; the wire, the shelf and the
// downloads are small stand-ins on the virtual network. A download behaves as the real one does towards
// BlobShare: three layers at a time, a window of units of each.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "proxy/peers/site.h"
#include "tests/sim/network.h"

namespace layerd::sim {

struct Scenario {
  std::size_t nodes = 10;
  std::size_t zones = 0;
  Links links;
  std::vector<double> layers;  // bytes
  std::vector<int> pullers;    // empty: all
  std::vector<double> starts;  // seconds, of pullers; empty: spread over 50 ms
  std::vector<int> dead;       // listed and not there from the beginning
  bool silent_death = true;    // connects to the dead run into the 250 ms; else they are refused
  double view_misses = 0;      // share of members that a node does not know of
  std::vector<int> slow;       // nodes with 1/20 of the NIC
  std::set<int> liars;         // nodes that send wrong bytes
  bool liars_claim = false;    // and say that upstream gave them those
  std::vector<int> holders;    // nodes that have the image already
  bool wan_ignores_range = false;
  bool wan_is_cut = false;
  bool coordinators_fetch = true;  // what they are asked for, before their own turn
  unsigned window = 0;  // units of a blob at a time; 0: as the real download, that grows its window
  unsigned layers_at_once = 3;
  std::uint64_t seed = 1;
  peers::SiteSettings settings;
};

struct Outcome {
  bool all_done = false;
  bool is_looping = false;        // without time passing
  double makespan = 0;            // seconds, of the healthy pullers
  double median = 0, ninety = 0;  // seconds until half, and nine of ten, of the healthy pullers were done
  double bound = 0;
  double wan_copies = 0;
  double most_uploaded = 0;  // times the image
  double zone_copies = 0;
  double kept_elsewhere = 0;  // times the image, on nodes that did not pull
  double requests = 0;        // asks and streams, per puller
  double probes = 0, tells = 0, others = 0;
  double messages = 0;          // all of these but records, per puller and unit
  unsigned wrong_attempts = 0;  // of one node, at most
  std::uint64_t events = 0;
  std::uint64_t leases = 0, leaseless = 0, left = 0, redirects = 0;
};

class SimNode;

class SimSite {
 public:
  explicit SimSite(Scenario scenario);
  ~SimSite();

  // Until all living pullers have all, or `limit` seconds have passed.
  Outcome run(double limit = 3'600);
  // To be called from events, or before run().
  void at(double time, std::function<void()> event);
  void kill(int node, bool silently);
  void revive(int node);
  // Nodes of different sides cannot reach each other; empty: healed.
  void partition(std::vector<int> side);
  void relist(int node, const std::set<int>& without);
  // The living puller that gives most at present.
  int busiest() const;
  bool is_alive(int node) const { return alive_[static_cast<std::size_t>(node)]; }
  std::string unfinished() const;

 private:
  friend class SimNode;
  friend class SimWire;
  friend class SimShelf;
  friend class SimDownload;

  struct Blob {
    peers::BlobName name;
    ByteCount size = 0;
    std::vector<Digest> units;  // right ones
  };
  std::string id(int node) const;
  int node_of(const std::string& id) const;
  bool can_reach(int from, int to) const;
  std::shared_ptr<const peers::MemberList> list_for(int node);
  void finished(int node);
  void began(const FlowPtr& flow);  // between nodes

  Scenario scenario_;
  SimLoop loop_;
  std::mt19937_64 random_;
  Network network_;
  Metrics metrics_;
  std::vector<Blob> blobs_;
  std::vector<char> alive_;
  std::vector<char> silent_;
  std::vector<int> side_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::map<std::string, int> by_id_;
  std::set<int> missing_;  // pullers that are not done
  std::vector<double> begun_;
  std::uint64_t asks_ = 0, gets_ = 0, probes_ = 0, tells_ = 0, others_ = 0;
  std::vector<std::weak_ptr<Flow>> flows_;  // between nodes
  std::size_t most_flows_ = 1'000;          // before those that are over are taken out
  std::vector<double> done_;                // when healthy pullers were done
};

// Physical least: every byte over the WAN once and into every NIC once.
double bound_of(const Scenario& scenario);

}  // namespace layerd::sim
