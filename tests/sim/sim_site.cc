#include "tests/sim/sim_site.h"

#include <algorithm>

#include "tests/sim/sim_node.h"

namespace layerd::sim {
namespace {

// Whom a node does not know of: the same each time it is asked.
bool is_missed(std::uint64_t node, std::uint64_t member, double share) {
  if (node == member || share == 0) return false;
  const auto mixed = ((node * 7919 + 13) * (member * 104729 + 7)) >> 5;
  return static_cast<double>(mixed % 1000) < share * 1000;
}

// A run begins with the pull, and its figures are compared with those of others: who is there shows on the
// way.
peers::SiteSettings without_greetings(peers::SiteSettings settings) {
  settings.greet_every = Duration::zero();
  return settings;
}

}  // namespace

double bound_of(const Scenario& scenario) {
  double all = 0;
  for (const double layer : scenario.layers) all += layer;
  const double slowest = std::min(scenario.links.wan, scenario.links.lan);
  double first = 0, last = 0;
  if (!scenario.starts.empty()) {
    first = *std::min_element(scenario.starts.begin(), scenario.starts.end());
    last = *std::max_element(scenario.starts.begin(), scenario.starts.end());
  }
  return std::max(first + scenario.links.wan_rtt + all / slowest, last + all / scenario.links.lan);
}

// ---- a node
// -------------------------------------------------------------------------------------------------

SimNode::SimNode(SimSite& site_, int number_)
    : site(site_), number(number_), wire(site_, number_), shelf(*this) {
  peer = std::make_unique<peers::Site>(
      site.loop_, wire, shelf, site.metrics_, without_greetings(site.scenario_.settings),
      [](const std::string&, const std::string&) { return true; },
      site.scenario_.seed * 1'000'003 + static_cast<std::uint64_t>(number));
}

void SimNode::begin() {
  pulls = true;
  for (unsigned i = 0; i < site.scenario_.layers_at_once; ++i) open_next();
}

void SimNode::open_next() {
  while (next_blob < site.blobs_.size()) {
    const auto blob = next_blob++;
    if (complete.count(blob) != 0) continue;
    auto& download = running[blob] = std::make_unique<SimDownload>(*this, blob);
    download->begin();
    return;
  }
  if (running.empty()) site.finished(number);
}

void SimNode::blob_done(std::size_t blob) {
  complete.insert(blob);
  worst_attempts = std::max(worst_attempts, running[blob]->attempts);
  peer->stored(site.blobs_[blob].name.digest);
  // On a later stack: the download is the caller.
  ended.push_back(site.loop_.post([this, blob] {
    running.erase(blob);
    open_next();
  }));
}

void SimNode::stop() {
  ended.clear();
  running.clear();
}

bool SimNode::gives_bad(std::size_t blob, std::uint32_t unit) const {
  if (site.scenario_.liars.count(number) != 0) return true;
  const auto at = running.find(blob);
  return complete.count(blob) == 0 && at != running.end() && at->second->is_bad(unit);
}

std::size_t SimNode::blob_of(const Digest& digest) const {
  for (std::size_t i = 0; i < site.blobs_.size(); ++i)
    if (site.blobs_[i].name.digest == digest) return i;
  LAYERD_CHECK(false);
}

// ---- the site
// -----------------------------------------------------------------------------------------------

SimSite::SimSite(Scenario scenario)
    : scenario_(std::move(scenario)),
      random_(scenario_.seed),
      network_(loop_, scenario_.links, scenario_.nodes, scenario_.zones),
      alive_(scenario_.nodes, 1),
      silent_(scenario_.nodes, 0) {
  for (std::size_t i = 0; i < scenario_.layers.size(); ++i) {
    Blob blob;
    blob.name = {
        "docker.io", "library/app",
        digest_of(DigestAlgorithm::sha256, std::to_string(scenario_.seed) + "/" + std::to_string(i))};
    blob.size = static_cast<ByteCount>(scenario_.layers[i]);
    const auto units = (blob.size + peers::kUnit - 1) / peers::kUnit;
    for (ByteCount unit = 0; unit < units; ++unit)
      blob.units.push_back(digest_of(DigestAlgorithm::sha256, blob.name.digest.hex() + std::to_string(unit)));
    blobs_.push_back(std::move(blob));
  }
  const int count = static_cast<int>(scenario_.nodes);
  for (int node = 0; node < count; ++node) by_id_[id(node)] = node;
  for (const int node : scenario_.slow) network_.set_rate(node, scenario_.links.lan / 20);
  for (int node = 0; node < count; ++node) {
    nodes_.push_back(std::make_unique<SimNode>(*this, node));
    if (std::count(scenario_.holders.begin(), scenario_.holders.end(), node) != 0)
      for (std::size_t blob = 0; blob < blobs_.size(); ++blob) nodes_.back()->complete.insert(blob);
  }
  for (const int node : scenario_.dead) kill(node, scenario_.silent_death);
  for (int node = 0; node < count; ++node)
    nodes_[static_cast<std::size_t>(node)]->peer->set_members(list_for(node));
  auto pullers = scenario_.pullers;
  if (pullers.empty())
    for (int node = 0; node < count; ++node) pullers.push_back(node);
  std::uniform_real_distribution<double> spread(0, 0.05);
  // The records of what is there already have been told before anybody begins.
  const double first = scenario_.holders.empty() ? 0 : 10;
  begun_.assign(scenario_.nodes, 0);
  for (std::size_t i = 0; i < pullers.size(); ++i) {
    const int node = pullers[i];
    if (!is_alive(node)) continue;
    missing_.insert(node);
    const double start = first + (scenario_.starts.empty() ? spread(random_) : scenario_.starts[i]);
    begun_[static_cast<std::size_t>(node)] = start;
    at(start, [this, node] {
      if (is_alive(node)) nodes_[static_cast<std::size_t>(node)]->begin();
    });
  }
}

SimSite::~SimSite() {
  for (auto& node : nodes_) node->stop();
}

void SimSite::at(double time, std::function<void()> event) {
  loop_.at(TimePoint(std::chrono::hours(1)) + seconds(time), [event = std::move(event)] { event(); });
}

std::string SimSite::id(int node) const {
  return "10." + std::to_string(node / 62'500) + "." + std::to_string(node / 250 % 250) + "." +
         std::to_string(node % 250 + 1) + ":5152";
}

int SimSite::node_of(const std::string& id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? -1 : at->second;
}

bool SimSite::can_reach(int from, int to) const {
  const auto a = static_cast<std::size_t>(from), b = static_cast<std::size_t>(to);
  return alive_[a] && alive_[b] && (side_.empty() || side_[a] == side_[b]);
}

std::shared_ptr<const peers::MemberList> SimSite::list_for(int node) {
  std::vector<peers::Member> members;
  for (std::size_t i = 0; i < scenario_.nodes; ++i) {
    if (is_missed(static_cast<std::uint64_t>(node), i, scenario_.view_misses)) continue;
    peers::Member member;
    member.id = id(static_cast<int>(i));
    if (scenario_.zones > 0) member.zone = "zone-" + std::to_string(network_.zone(static_cast<int>(i)));
    members.push_back(std::move(member));
  }
  return std::make_shared<const peers::MemberList>(std::move(members), id(node));
}

void SimSite::relist(int node, const std::set<int>& without) {
  auto members = list_for(node)->all();
  std::erase_if(members, [&](const peers::Member& member) { return without.count(node_of(member.id)) != 0; });
  nodes_[static_cast<std::size_t>(node)]->peer->set_members(
      std::make_shared<const peers::MemberList>(std::move(members), id(node)));
}

void SimSite::began(const FlowPtr& flow) {
  if (flows_.size() >= most_flows_) {
    std::erase_if(flows_, [](const auto& one) { return one.expired(); });
    most_flows_ = std::max<std::size_t>(1'000, 2 * flows_.size());
  }
  flows_.push_back(flow);
}

void SimSite::kill(int node, bool silently) {
  const auto index = static_cast<std::size_t>(node);
  alive_[index] = 0;
  silent_[index] = silently;
  missing_.erase(node);
  if (!nodes_.empty() && nodes_.size() > index) nodes_[index]->stop();
  for (const auto& one : flows_) {
    const auto flow = one.lock();
    if (!flow || flow->is_over || flow->src != node) continue;
    flow->is_over = true;  // nothing more leaves
    if (!silently)
      loop_.at(loop_.now() + std::chrono::milliseconds(1), [flow] {
        if (flow->broken) flow->broken();
      });
  }
}

void SimSite::partition(std::vector<int> side) {
  side_ = std::move(side);
  for (const auto& one : flows_) {
    const auto flow = one.lock();
    if (flow && !flow->is_over && !can_reach(flow->src, flow->dst)) flow->is_over = true;  // without a word
  }
}

void SimSite::revive(int node) {
  alive_[static_cast<std::size_t>(node)] = 1;
  silent_[static_cast<std::size_t>(node)] = 0;
}

int SimSite::busiest() const {
  int best = 0;
  for (const auto& node : nodes_)
    if (is_alive(node->number) &&
        node->peer->snapshot().uploads > nodes_[static_cast<std::size_t>(best)]->peer->snapshot().uploads)
      best = node->number;
  return best;
}

void SimSite::finished(int node) {
  missing_.erase(node);
  const bool is_slow = std::count(scenario_.slow.begin(), scenario_.slow.end(), node) != 0;
  if (!is_slow) done_.push_back(seconds(loop_.now() - TimePoint(std::chrono::hours(1))));
}

std::string SimSite::unfinished() const {
  std::string text;
  for (const int node : missing_) {
    text += "node " + std::to_string(node) + ":";
    for (const auto& [blob, download] : nodes_[static_cast<std::size_t>(node)]->running)
      for (const auto& [number, unit] : download->units)
        if (!unit.is_arrived && unit.is_wanted)
          text += " " + std::to_string(blob) + "/" + std::to_string(number) + "@" +
                  std::to_string(unit.have) + (unit.body ? " of " + std::to_string(unit.giver) : "");
    text += "\n";
  }
  return text;
}

Outcome SimSite::run(double limit) {
  const auto over = [this] {
    for (const int node : missing_)
      if (std::count(scenario_.slow.begin(), scenario_.slow.end(), node) == 0) return false;
    return true;
  };
  Outcome outcome;
  outcome.all_done = loop_.run(over, TimePoint(std::chrono::hours(1)) + seconds(limit));
  double all = 0, pullers = 0;
  for (const double layer : scenario_.layers) all += layer;
  for (const auto& node : nodes_) {
    pullers += node->pulls;
    outcome.most_uploaded =
        std::max(outcome.most_uploaded, static_cast<double>(network_.sent(node->number)) / all);
    outcome.wrong_attempts = std::max(outcome.wrong_attempts, node->worst_attempts - 1);
    if (node->pulls || !scenario_.holders.empty()) continue;
    for (const auto blob : node->complete) outcome.kept_elsewhere += scenario_.layers[blob] / all;
  }
  const double first = scenario_.holders.empty() ? 0 : 10;
  if (!done_.empty()) {  // in order
    outcome.makespan = done_.back() - first;
    outcome.median = done_[done_.size() / 2] - first;
    outcome.ninety = done_[done_.size() * 9 / 10] - first;
  }
  outcome.bound = bound_of(scenario_);
  outcome.wan_copies = static_cast<double>(network_.wan_bytes()) / all;
  outcome.zone_copies = static_cast<double>(network_.zone_bytes()) / all;
  outcome.requests = static_cast<double>(asks_ + gets_) / pullers;
  outcome.probes = static_cast<double>(probes_) / pullers;
  outcome.tells = static_cast<double>(tells_) / pullers;
  outcome.others = static_cast<double>(others_) / pullers;
  double units = 0;
  for (const auto& blob : blobs_) units += static_cast<double>(blob.units.size());
  outcome.messages = (outcome.requests + outcome.probes + outcome.tells) / units;
  outcome.is_looping = loop_.is_looping();
  outcome.events = loop_.events();
  outcome.leases = metrics_.total("layerd_peer_leases_total");
  outcome.leaseless = metrics_.total("layerd_peer_leaseless_total");
  outcome.left = metrics_.total("layerd_peer_left_total");
  outcome.redirects = metrics_.total("layerd_peer_redirects_total");
  return outcome;
}

}  // namespace layerd::sim
