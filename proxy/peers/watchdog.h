// Watchdog: looks once a second at every stream from a member, and has the slow ones reviewed: is the member
// still there, does it go in a circle, does somebody hold the whole unit and give it faster (R1), does nobody
// and is upstream faster (R2)? docs/peers.md "The watchdog". Loop thread; runs only while there are streams.
#pragma once

#include "proxy/peers/site_parts.h"

namespace layerd::peers {

class Watchdog {
 public:
  explicit Watchdog(SiteParts& parts);
  ~Watchdog() { parts_.streams.set_wake({}); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void wake();
  void tick();
  struct Rates {
    double best_other = 0;  // of our other streams from members
    double fair = 0;        // what each of our streams would have of the best that all together once had
  };
  void look(const std::shared_ptr<UnitStream>& stream, Rates rates);
  std::size_t running() const;

  SiteParts& parts_;
  Ticket timer_;
  bool runs_ = false;
};

}  // namespace layerd::peers
