// Operations and tickets: how everything that waits is held and taken back. Loop thread only.
//
// The rules (docs/decisions/0001): a start function returns a Ticket and never calls back before it
// has returned; a callback runs at most once and is the last thing its caller does; dropping the
// Ticket takes the callback back; what libuv or a worker still names lives in the operation's own
// block, never in the object that asked.
#pragma once

#include <memory>
#include <utility>

#include "runtime/callback.h"
#include "runtime/result.h"

namespace layerd {

// What can be taken back. cancel() is idempotent; afterwards the callback never runs.
struct Operation {
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  virtual ~Operation() = default;
  virtual void cancel() noexcept = 0;
};

// Holds one outstanding call. Dropping it cancels the call; once the call has answered it is inert.
class [[nodiscard]] Ticket {
 public:
  Ticket() = default;
  explicit Ticket(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}
  Ticket(Ticket&&) noexcept = default;
  Ticket& operator=(Ticket&& other) noexcept {
    if (this != &other) {
      reset();
      operation_ = std::move(other.operation_);
    }
    return *this;
  }
  ~Ticket() { reset(); }
  void reset() noexcept {
    if (auto operation = std::move(operation_)) operation->cancel();
  }
  bool held() const { return operation_ != nullptr; }

 private:
  std::shared_ptr<Operation> operation_;
};

// Runs at most once, on the loop thread, never before the start function has returned.
template <class T>
using Done = Callback<void(Result<T>)>;

// The plainest operation: keeps a Done until it is answered or taken back.
// Derive from it when cancelling must also stop something; override on_cancel().
template <class T>
class Pending : public Operation {
 public:
  explicit Pending(Done<T> done) : done_(std::move(done)) {}
  void cancel() noexcept final {
    if (!done_) return;
    auto dropped = std::move(done_);
    on_cancel();
  }
  // False once answered or taken back.
  bool wanted() const { return static_cast<bool>(done_); }
  // Calls out: touch nothing of yours afterwards.
  void answer(Result<T> result) {
    if (auto done = std::move(done_)) done(std::move(result));
  }

 protected:
  virtual void on_cancel() noexcept {}

 private:
  Done<T> done_;
};

// Runs `undo` when dropped. For waits that are only an entry in somebody's list.
Ticket ticket_for(Callback<void()> undo);

}  // namespace layerd
