// SiteParts: what the parts of a Site borrow from each other. One for each Site; outlives every share. Loop
// thread. Only for proxy/peers/{site,share,unit_search,watchdog,announcer}*.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>

#include "proxy/peers/ask_turns.h"
#include "proxy/peers/coordinator.h"
#include "proxy/peers/noted_wire.h"
#include "proxy/peers/streams.h"
#include "proxy/peers/teller.h"
#include "proxy/peers/uploads.h"
#include "proxy/peers/upstream_turns.h"

namespace layerd::peers {

class ShareCore;

// What came of a blob whose digest was wrong in the end: which member gave which unit with which hash. Kept
// until the blob is here rightly, when it shows who gave the wrong ones.
struct Received {
  std::uint32_t unit = 0;
  Digest sha256;
  std::vector<std::string> chain;  // who gave its bytes, and who fed those
  bool is_open = false;            // it was asked who made the blob wrong, and nobody was found
};

// Of so many such blobs at most; the one that was wrong longest ago goes first.
struct Suspected {
  static constexpr std::size_t kMost = 32;
  TimePoint since{};
  std::vector<Received> received;
};

struct SiteParts {
  SiteParts(Loop& loop_, Wire& wire_, Shelf& shelf_, Metrics& metrics_, SiteSettings settings_,
            SharePolicy may_share_, std::uint64_t seed)
      : loop(loop_),
        shelf(shelf_),
        settings(settings_),
        metrics(metrics_),
        random(seed),
        may_share(std::move(may_share_)),
        acquaintances(settings, metrics),
        coordinator(loop, shelf, acquaintances, settings, metrics, seed + 1),
        wire(loop, wire_, acquaintances, coordinator, metrics),
        streams(loop, acquaintances, speeds, metrics),
        uploads(loop, shelf, streams, acquaintances, speeds, settings, metrics, may_share),
        turns(loop, settings.leaseless),
        ask_turns(loop, settings),
        teller(loop, settings.tell_after,
               [this](const std::string& to, Tell tell) { deliver(to, std::move(tell)); }) {}

  const std::string& self() const { return coordinator.self(); }
  std::string zone() const {
    const auto* us = coordinator.ranking().members().find(self());
    return us == nullptr ? std::string{} : us->zone;
  }
  TimePoint now() const { return loop.now(); }
  // As listed, or made from the id: who is named by another need not be in our list.
  Member member(const std::string& id) const;
  std::vector<Member> members(const std::vector<std::string>& ids) const;
  // Is anybody of the list to be spoken to?
  bool is_alone() const;
  // May bytes be taken from it?
  bool is_source(const std::string& id) const {
    return id != self() && !acquaintances.is_dead(id, now()) && !acquaintances.is_banned(id, now());
  }
  // Letters of records go to a member one after the other: an older one must not come last.
  void deliver(const std::string& to, Tell tell);
  // Who coordinates the unit, as far as we know: the best rank that is not dead. Null: the first few all are.
  const Member* best_rank(const Digest& digest, std::uint32_t unit) const;
  // Who is told that we have the blob: its first two ranks that are not known to be dead.
  std::vector<const Member*> keepers(const Digest& digest) const;

  Loop& loop;
  Shelf& shelf;
  SiteSettings settings;
  SiteMetrics metrics;
  std::mt19937_64 random;
  SharePolicy may_share;
  Acquaintances acquaintances;
  Coordinator coordinator;
  NotedWire wire;
  Speeds speeds;
  Streams streams;
  Uploads uploads;
  UpstreamTurns turns;
  AskTurns ask_turns;
  Teller teller;
  std::set<ShareCore*> shares;
  // Members spoiled an attempt at the blob.
  void suspect(const Digest& digest, std::vector<Received> received);
  std::set<Digest> alone;                // whose next attempt asks upstream alone
  std::map<Digest, Suspected> suspects;  // of blobs that were wrong
  std::map<Digest, Ticket> rechecks;     // of such blobs, that run
  std::map<Digest, std::vector<std::shared_ptr<Pending<Ok>>>> recheck_waiters;
  std::map<std::uint64_t, Ticket> sending;  // tells on their way
  std::uint64_t next_sending = 0;
  std::map<std::string, std::deque<Tell>> letters;  // of records, behind the one that is on its way there
  std::size_t waiting_letters = 0;                  // in them

 private:
  void send(const std::string& to, Tell tell);
  void next_letter(const std::string& to);
};

}  // namespace layerd::peers
