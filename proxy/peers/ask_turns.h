// AskTurns: who fetches much for the site lets others ask first. A node that asks for many units at once,
// before the others have begun, would get the leases of all of them, and its uplink would be the bottleneck
// of all who want them. So leases and asks that are under way are a few together, or the ask waits for a
// moment. A node that is told of others does not wait, as its asks end without a lease. Loop thread.
#pragma once

#include <deque>
#include <memory>

#include "proxy/peers/site_settings.h"
#include "runtime/loop.h"

namespace layerd::peers {

class AskTurns {
 public:
  AskTurns(Loop& loop, const SiteSettings& settings) : loop_(loop), settings_(settings) {}

  // Answers when the ask may leave, settings.lease_wait from now at the latest. It counts as under way from
  // then on.
  Ticket wait(Done<Ok> done);
  void begun() { ++asks_; }
  // Once for each begun one.
  void answered();
  void leased(bool is_leased);

 private:
  bool has_room() const { return asks_ + leases_ < settings_.leases_at_once; }
  void wake();

  struct Waiting;
  Loop& loop_;
  const SiteSettings& settings_;
  unsigned asks_ = 0, leases_ = 0;
  std::deque<std::weak_ptr<Waiting>> waiting_;
  Ticket waking_;
};

}  // namespace layerd::peers
