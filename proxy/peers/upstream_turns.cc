#include "proxy/peers/upstream_turns.h"

namespace layerd::peers {

Ticket UpstreamTurns::wait(Done<Turn> done) {
  auto pending = std::make_shared<Pending<Turn>>(std::move(done));
  state_->waiting.push_back(pending);
  state_->loop.post_detached([state = state_] { give(state); });
  return Ticket(std::move(pending));
}

void UpstreamTurns::give(const std::shared_ptr<State>& state) {
  while (state->running < state->most && !state->waiting.empty()) {
    const auto next = std::move(state->waiting.front());
    state->waiting.pop_front();
    if (!next->wanted()) continue;
    ++state->running;
    const std::weak_ptr<State> weak = state;
    next->answer(Turn(nullptr, [weak](void*) {
      const auto owner = weak.lock();
      if (!owner) return;
      --owner->running;
      if (!owner->waiting.empty()) owner->loop.post_detached([owner] { give(owner); });
    }));
  }
}

}  // namespace layerd::peers
