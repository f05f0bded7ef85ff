// A round of probes: several members are asked how they are about one unit, at the same time.
#pragma once

#include <string>
#include <vector>

#include "proxy/peers/wire.h"
#include "runtime/loop.h"

namespace layerd::peers {

struct Candidate {
  std::string id;
  ProbeAnswer how;
};

// Answers who answered, in the order of `members`, once all have, or `patience` after the first with a slot
// has; in the end an empty list. Never an error. Loop thread; dropping the Ticket takes all probes back.
Ticket probe_all(Loop& loop, Wire& wire, const UnitName& unit, const std::vector<Member>& members,
                 Duration patience, Done<std::vector<Candidate>> done);

}  // namespace layerd::peers
