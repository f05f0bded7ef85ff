// The loop: posting, timers and time, behind an interface that also runs on virtual time
// (tests/support/virtual_loop.h). The real one is UvLoop (runtime/uv_loop.h).
#pragma once

#include "runtime/callback.h"
#include "runtime/clock.h"
#include "runtime/ledger.h"
#include "runtime/ticket.h"

namespace layerd {

class Loop {
 public:
  virtual ~Loop() = default;

  virtual TimePoint now() const = 0;  // cached once per turn
  virtual WallTime wall_now() const = 0;

  // Runs `task` on a later, never the same, stack; before the loop sleeps again. In order.
  virtual Ticket post(Callback<void()> task) = 0;
  // The same without a Ticket, for tasks that hold all they touch.
  virtual void post_detached(Callback<void()> task) = 0;
  // Runs `task` once after `wait` (>= 0). `what` is a literal; it names the wait in the ledger.
  virtual Ticket after(Duration wait, const char* what, Callback<void()> task) = 0;
  Ticket at(Deadline deadline, const char* what, Callback<void()> task) {
    return deadline.is_set() ? after(deadline.left(now()), what, std::move(task)) : Ticket();
  }
  // From any thread. Tasks run on the loop in the order they came. After close() they are dropped.
  virtual void post_remote(Callback<void()> task) = 0;

  // True on the loop's own thread (or when it is not running yet).
  virtual bool on_loop_thread() const = 0;

  Ledger& ledger() { return ledger_; }

 private:
  Ledger ledger_;
};

#ifdef LAYERD_DEBUG
#define LAYERD_ON_LOOP(loop) LAYERD_CHECK((loop).on_loop_thread())
#else
#define LAYERD_ON_LOOP(loop) static_cast<void>(0)
#endif

}  // namespace layerd
