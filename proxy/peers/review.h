// Review: whether one slow stream is left, and for whom. Owned by the stream it is about. Loop thread.
#pragma once

#include <memory>

#include "proxy/peers/share.h"

namespace layerd::peers {

struct Suspicion {
  bool is_slow = false;     // far slower than others of ours
  bool needs_root = false;  // R2: so slow for so long that another upstream request is worth it
  double expected = 0;      // bytes per second that it was compared with
};
// May leave the stream on a later stack.
std::shared_ptr<void> start_review(SiteParts& parts, UnitStream& stream, Suspicion suspicion);

}  // namespace layerd::peers
