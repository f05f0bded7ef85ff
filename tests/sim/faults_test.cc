// What goes wrong in a site: each case ends with everybody who lives having everything, and what it costs the
// WAN is bounded. Random schedules say their seed.
#include <iostream>

#include "tests/sim/sim_site.h"
#include "tests/support/catch.h"

using namespace layerd;
using namespace layerd::sim;

namespace {

constexpr double kMB = 1e6, kMb = 1e6 / 8;

// 100 MB over 100 Mb/s: 8 s.
Scenario small(std::size_t nodes = 16) {
  Scenario scenario;
  scenario.nodes = nodes;
  scenario.layers = {30 * kMB, 5 * kMB, 45 * kMB, 0.3 * kMB, 20 * kMB};
  scenario.links.wan = 100 * kMb;
  return scenario;
}

Outcome finish(SimSite& site, const char* name, double limit = 300) {
  const auto outcome = site.run(limit);
  std::cout << name << ": " << outcome.makespan << " s, x" << outcome.makespan / outcome.bound << ", WAN "
            << outcome.wan_copies << "x, leases " << outcome.leases << ", leaseless " << outcome.leaseless
            << ", left " << outcome.left << ", redirects " << outcome.redirects << ", wrong attempts "
            << outcome.wrong_attempts << ", messages " << outcome.messages << " per unit and node\n";
  INFO(site.unfinished());
  CHECK(outcome.all_done);
  CHECK_FALSE(outcome.is_looping);
  return outcome;
}

}  // namespace

TEST_CASE("the busiest node dies, with a reset or without a word") {
  for (const bool silent : {false, true}) {
    SimSite site(small());
    site.at(3, [&site, silent] { site.kill(site.busiest(), silent); });
    const auto outcome = finish(site, silent ? "busiest dies silently" : "busiest dies");
    // The model of this case, L9 of the lab: 1.04 copies.
    CHECK(outcome.makespan < 1.25 * outcome.bound);
    CHECK(outcome.wan_copies < 1.1);
  }
}

TEST_CASE("the books of coordinators that die cost no second copy") {
  auto scenario = small(8);
  for (int node = 0; node < 6; ++node) scenario.pullers.push_back(node);
  SimSite site(scenario);
  site.at(2, [&site] { site.kill(6, false); });
  site.at(3, [&site] { site.kill(7, true); });
  const auto outcome = finish(site, "two coordinators die");
  CHECK(outcome.makespan < 1.15 * outcome.bound);
  CHECK(outcome.wan_copies < 1.02);
}

TEST_CASE("a node of which the others know nothing more than its address is dead") {
  auto scenario = small(60);
  for (int node = 6; node < 60; ++node) scenario.dead.push_back(node);
  SimSite site(scenario);
  const auto outcome = finish(site, "54 of 60 are dead");
  CHECK(outcome.makespan < 1.5 * outcome.bound);
  CHECK(outcome.wan_copies < 2);
}

TEST_CASE("who does not know of all members finds the coordinator by redirects") {
  auto scenario = small(50);
  scenario.view_misses = 0.05;
  SimSite site(scenario);
  const auto outcome = finish(site, "views differ by 5 %");
  // The model gives 1.08, 1.08 and 1.25 for three seeds of this very case (its 1.05 is that of 1 GB, where
  // the set-up of connections counts for less), and 1.00 to 1.17 copies.
  CHECK(outcome.makespan < 1.25 * 1.1 * outcome.bound);
  CHECK(outcome.wan_copies < 1.15);
  CHECK(outcome.redirects > 0);
}

TEST_CASE("a site that falls in two pulls twice at most, and heals") {
  SimSite site(small(20));
  site.at(2, [&site] {
    std::vector<int> side(20);
    for (int node = 0; node < 20; ++node) side[static_cast<std::size_t>(node)] = node % 2;
    site.partition(side);
  });
  site.at(5, [&site] { site.partition({}); });
  const auto outcome = finish(site, "partition for 3 s");
  CHECK(outcome.wan_copies < 2.5);
}

TEST_CASE("a liar spoils one attempt of each node, and none twice") {
  auto scenario = small(12);
  scenario.liars = {4};
  SECTION("it gives wrong bytes") {}
  SECTION("and claims of what it fetched that upstream gave them") { scenario.liars_claim = true; }
  SimSite site(scenario);
  const auto outcome = finish(site, scenario.liars_claim ? "one liar that claims" : "one liar");
  CHECK(outcome.wrong_attempts <= 1);
  // Upstream's bytes are at the others: what the liar spoiled comes from them the second time.
  CHECK(outcome.wan_copies < 1.5);
}

TEST_CASE("an image that one node holds reaches the others without upstream") {
  auto scenario = small(12);
  scenario.holders = {7};
  scenario.wan_is_cut = true;
  SimSite site(scenario);
  const auto outcome = finish(site, "one holder, WAN cut");
  CHECK(outcome.wan_copies == 0);
  CHECK(outcome.makespan < 10);
}

TEST_CASE("an upstream that ignores Range is asked for each blob once or little more") {
  auto scenario = small(8);
  scenario.wan_ignores_range = true;
  SimSite site(scenario);
  const auto outcome = finish(site, "no ranges");
  CHECK(outcome.wan_copies < 1.3);
  CHECK(outcome.makespan < 1.6 * outcome.bound);
}

TEST_CASE("a node alone fetches everything itself") {
  SimSite site(small(1));
  const auto outcome = finish(site, "alone");
  CHECK(outcome.wan_copies == Approx(1));
  CHECK(outcome.requests == 0);
}

TEST_CASE("one copy goes to each zone over a slow link") {
  auto scenario = small(24);
  scenario.zones = 3;
  scenario.links.zone = 100 * kMb;
  SimSite site(scenario);
  const auto outcome = finish(site, "three zones");
  std::cout << "zone copies " << outcome.zone_copies << "\n";
  // Two zones besides that of the root. The model: 2.0 copies, 1.22 to 1.67 times the bound by the seed.
  CHECK(outcome.zone_copies < 2.2);
  CHECK(outcome.makespan < 1.67 * outcome.bound);
}

namespace {

// Lists change while pulls run, at random nodes and times: of some members they lose sight, and find them
// again.
void join_and_leave(SimSite& site, int nodes, std::mt19937_64& random) {
  for (auto changes = random() % 12; changes > 0; --changes) {
    const int whose = static_cast<int>(random() % static_cast<std::uint64_t>(nodes));
    std::set<int> without;
    for (auto gone = random() % 4; gone > 0; --gone) {
      const int other = static_cast<int>(random() % static_cast<std::uint64_t>(nodes));
      if (other != whose) without.insert(other);
    }
    site.at(static_cast<double>(random() % 9000) / 1000, [&site, whose, without] {
      if (site.is_alive(whose)) site.relist(whose, without);
    });
  }
}

void random_schedules(std::uint64_t base, unsigned count) {
  for (std::uint64_t seed = base; seed < base + count; ++seed) {
    std::mt19937_64 random(seed);
    auto scenario = small(8 + random() % 24);
    scenario.seed = seed;
    const int nodes = static_cast<int>(scenario.nodes);
    const auto any = [&] { return static_cast<int>(random() % scenario.nodes); };
    scenario.view_misses = random() % 2 ? 0.05 : 0;
    scenario.silent_death = random() % 2;
    if (random() % 2) scenario.slow = {any()};
    if (random() % 3 == 0) scenario.liars = {any()};
    scenario.liars_claim = seed % 2 == 0;
    if (random() % 2) scenario.dead = {any()};
    for (int i = 0; i < nodes; ++i) scenario.starts.push_back(static_cast<double>(random() % 3000) / 1000);
    SimSite site(scenario);
    for (auto kills = random() % 4; kills > 0; --kills)
      site.at(static_cast<double>(random() % 9000) / 1000,
              [&site, node = any(), silent = random() % 2 == 0] { site.kill(node, silent); });
    if (random() % 2) {
      const double from = static_cast<double>(random() % 6000) / 1000;
      site.at(from, [&site, nodes, cut = 1 + random() % 5] {
        std::vector<int> side;
        for (int node = 0; node < nodes; ++node)
          side.push_back(static_cast<std::uint64_t>(node) % (cut + 1) == cut);
        site.partition(side);
      });
      site.at(from + 1 + static_cast<double>(random() % 5000) / 1000, [&site] { site.partition({}); });
    }
    join_and_leave(site, nodes, random);
    const auto name = "seed " + std::to_string(seed) + ", " + std::to_string(nodes) + " nodes";
    INFO(name);
    const auto outcome = finish(site, name.c_str());
    // A liar that claims what fits its own bytes can spoil two where books get lost as well: one schedule of
    // the two hundred.
    CHECK(outcome.wrong_attempts <= (scenario.liars.empty() ? 0u : scenario.liars_claim ? 2u : 1u));
    // Nobody runs in circles either while a little time passes.
    CHECK(outcome.messages < 60);
  }
}

}  // namespace

TEST_CASE("nodes join and leave the lists while all pull, and nothing is fetched twice for it") {
  auto scenario = small(16);
  for (int node = 0; node < 12; ++node) scenario.pullers.push_back(node);
  SimSite site(scenario);
  // At first nobody knows of the last four, one after the other comes to know of them; two of them go again.
  for (int node = 0; node < 16; ++node) {
    site.at(0, [&site, node] {
      site.relist(node, node < 12 ? std::set<int>{12, 13, 14, 15} : std::set<int>{});
    });
    site.at(2 + 0.1 * node, [&site, node] { site.relist(node, {}); });
    site.at(5 + 0.1 * node, [&site, node] {
      if (node < 14) site.relist(node, {14, 15});
    });
  }
  const auto outcome = finish(site, "four join, two leave");
  CHECK(outcome.makespan < 1.5 * outcome.bound);
  CHECK(outcome.wan_copies < 1.5);
}

TEST_CASE("after random faults everybody who lives has everything") { random_schedules(20260801, 12); }

TEST_CASE("after random faults everybody who lives has everything, many times", "[many]") {
  random_schedules(20270101, 200);
}
