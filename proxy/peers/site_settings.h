// The numbers of sharing (docs/peers.md "Numbers" has them with their reasons) and what is counted.
#pragma once

#include <chrono>
#include <set>
#include <string>

#include "proxy/peers/book.h"
#include "proxy/peers/records.h"
#include "runtime/callback.h"
#include "runtime/metrics.h"

namespace layerd::peers {

struct SiteSettings {
  // Serving.
  unsigned uploads = 64;  // at the same time, of this node
  unsigned children = 3;  // of this node and unit
  Duration size_wait =
      std::chrono::milliseconds(600);  // for the size of a blob whose download has just begun

  // Finding.
  Duration probe_wait = std::chrono::milliseconds(30);  // for the others, after one candidate would do
  unsigned coordinators = 3;  // asked for one unit, those known to be dead not counted
  unsigned rounds = 4;        // asks of one coordinator for one unit
  Duration slot_wait = std::chrono::milliseconds(200);  // all candidates are full: asked again after this ...
  unsigned slot_waits = 20;                             // ... so often, before upstream is
  Duration claim_wait = std::chrono::milliseconds(500);  // asked again for the hash of a unit after this ...
  unsigned claim_waits = 20;                             // ... so often, where members spoiled the blob once
  unsigned leases_at_once = 4;                           // who fetches so many units for the site ...
  Duration lease_wait = std::chrono::milliseconds(200);  // ... lets others ask first for so long
  Duration vain_first = std::chrono::milliseconds(50);   // before a unit is sought without progress once more
  Duration vain_most = std::chrono::seconds(1);          // twice as long each time, up to this
  unsigned leaseless = 4;                                // upstream fetches without a lease, of this node
  Duration jitter = std::chrono::milliseconds(200);      // before one of them

  // Members.
  Duration dead_first =
      std::chrono::seconds(30);                  // a member that cannot be connected to is left alone, twice
  Duration dead_most = std::chrono::minutes(5);  // as long each time, up to this
  Duration heard = std::chrono::seconds(2);      // who was heard of so lately ...
  unsigned misses = 2;                           // ... may miss so many calls before it counts as dead
  Duration outage = std::chrono::seconds(2);     // who became dead within it came back together, too
  Duration feel_every =
      std::chrono::seconds(1);  // a dead member is asked how it is, while blobs are pulled ...
  Duration feel_on = std::chrono::seconds(10);     // ... or one began that long ago
  Duration greet_every = std::chrono::seconds(1);  // of the list, who was never heard of; zero: nobody
  Duration look_every = std::chrono::seconds(5);   // people are shown what is known; older than this: asked
  Duration banned = std::chrono::hours(1);         // who sent wrong bytes
  Duration suspected = std::chrono::minutes(5);    // who sent them, or only passed them on

  // Telling.
  Duration tell_after = std::chrono::milliseconds(200);
  Duration alive_every = std::chrono::seconds(2);
  Duration records_every = std::chrono::minutes(5);

  // The watchdog.
  Duration watch = std::chrono::seconds(1);
  Duration stalled = std::chrono::milliseconds(1'500);
  Duration review_first =
      std::chrono::seconds(4);  // a stream that nothing speaks against; then 3 times as late
  double faster = 4;

  BookSettings book;
  RecordSettings records;
};

struct SiteMetrics {
  explicit SiteMetrics(Metrics& metrics);
  Counter& bytes_from_members;
  Counter& bytes_from_upstream;
  Counter& units_from_members;
  Counter& units_from_upstream;
  Counter& leases_given;
  Counter& leases_taken;
  Counter& leaseless;
  Counter& referrals;
  Counter& redirects;
  Counter& dead_members;
  Counter& left_members;
  Counter& wrong_units;
  Counter& wrong_blobs;
  Counter& messages;
  Counter& uploads;

  // One unit that was not what it is said to be came from this member. At most 64 members have a counter of
  // their own, the others share one.
  void wrong_unit_of(const std::string& member);

 private:
  Metrics& all_;
  std::set<std::string> named_;
};

}  // namespace layerd::peers
