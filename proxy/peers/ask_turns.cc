#include "proxy/peers/ask_turns.h"

namespace layerd::peers {

struct AskTurns::Waiting final : Pending<Ok> {
  using Pending<Ok>::Pending;
  void on_cancel() noexcept override { timer.reset(); }
  Ticket timer;
};

Ticket AskTurns::wait(Done<Ok> done) {
  auto waiting = std::make_shared<Waiting>(std::move(done));
  waiting->timer = loop_.after(settings_.lease_wait, "peers: others first", [this, self = waiting.get()] {
    begun();
    self->answer(Ok{});
  });
  waiting_.push_back(waiting);
  if (has_room() && !waking_.held()) waking_ = loop_.post([this] { wake(); });
  return Ticket(std::move(waiting));
}

void AskTurns::answered() {
  --asks_;
  if (has_room() && !waiting_.empty() && !waking_.held()) waking_ = loop_.post([this] { wake(); });
}

void AskTurns::leased(bool is_leased) {
  is_leased ? ++leases_ : --leases_;
  if (has_room() && !waiting_.empty() && !waking_.held()) waking_ = loop_.post([this] { wake(); });
}

void AskTurns::wake() {
  waking_ = {};
  while (has_room() && !waiting_.empty()) {
    const auto next = waiting_.front().lock();
    waiting_.pop_front();
    if (!next || !next->wanted()) continue;
    next->timer.reset();
    begun();
    next->answer(Ok{});  // the ask leaves; nobody is called who could come back here
  }
}

}  // namespace layerd::peers
