// UpstreamTurns: how many units this node fetches upstream without a lease at the same time, so that a site
// that fell apart does not pull everything once per node. Loop thread.
#pragma once

#include <deque>
#include <memory>

#include "runtime/loop.h"
#include "runtime/ticket.h"

namespace layerd::peers {

// Dropping the last one gives the turn on.
using Turn = std::shared_ptr<void>;

class UpstreamTurns {
 public:
  UpstreamTurns(Loop& loop, unsigned most) : state_(std::make_shared<State>(loop, most)) {}
  // Answers when it is our turn; in the order of asking.
  Ticket wait(Done<Turn> done);
  unsigned running() const { return state_->running; }

 private:
  struct State {
    State(Loop& loop_, unsigned most_) : loop(loop_), most(most_) {}
    Loop& loop;
    const unsigned most;
    unsigned running = 0;
    std::deque<std::shared_ptr<Pending<Turn>>> waiting;
  };
  static void give(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;
};

}  // namespace layerd::peers
