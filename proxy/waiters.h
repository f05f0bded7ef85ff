// Those who wait for one and the same answer: single flight for everything that is asked upstream.
// Loop thread.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "runtime/ticket.h"

namespace layerd::proxy {

template <class T>  // T is copyable
class Waiters {
 public:
  // Dropping the Ticket leaves the line; what is being waited for goes on for the others.
  Ticket add(Done<T> done) {
    auto waiter = std::make_shared<Pending<T>>(std::move(done));
    waiting_.push_back(waiter);
    return Ticket(std::move(waiter));
  }

  // Answers everybody. Calls out: touch nothing of yours afterwards.
  void answer(const Result<T>& result) {
    const auto answered = std::exchange(waiting_, {});
    const Result<T> kept = result;  // `result` may live in what a waiter destroys
    for (const auto& waiter : answered) waiter->answer(kept);
  }

  // Nobody waits any more (those who left are forgotten here).
  bool empty() {
    std::erase_if(waiting_, [](const auto& waiter) { return !waiter->wanted(); });
    return waiting_.empty();
  }

 private:
  std::vector<std::shared_ptr<Pending<T>>> waiting_;
};

}  // namespace layerd::proxy
