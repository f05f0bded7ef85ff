#include "runtime/ticket.h"

namespace layerd {

Ticket ticket_for(Callback<void()> undo) {
  struct Undo final : Operation {
    explicit Undo(Callback<void()> call) : undo(std::move(call)) {}
    void cancel() noexcept override {
      if (auto call = std::move(undo)) call();
    }
    Callback<void()> undo;
  };
  return Ticket(std::make_shared<Undo>(std::move(undo)));
}

}  // namespace layerd
