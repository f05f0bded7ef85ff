// answer_later: an operation whose answer is at hand. Loop thread.
#pragma once

#include <memory>
#include <utility>

#include "runtime/loop.h"
#include "runtime/ticket.h"

namespace layerd {

// Gives the answer on a later stack, as every operation does. Dropping the Ticket takes it back.
template <class T>
Ticket answer_later(Loop& loop, Result<T> result, Done<T> done) {
  struct Later final : Pending<T> {
    using Pending<T>::Pending;
    Ticket posted;
  };
  auto later = std::make_shared<Later>(std::move(done));
  later->posted = loop.post([self = later.get(), kept = std::make_shared<Result<T>>(std::move(result))] {
    self->answer(std::move(*kept));
  });
  return Ticket(std::move(later));
}

}  // namespace layerd
