#include "tests/support/virtual_loop.h"

#include <algorithm>

namespace layerd::test {

namespace {

Done<Ok> as_done(Callback<void()> task) {
  return [task = std::move(task)](const Result<Ok>&) mutable { task(); };
}

}  // namespace

// Leaves the list of timers when it is taken back.
struct VirtualLoop::Timer final : Pending<Ok> {
  Timer(VirtualLoop& loop_, Done<Ok> done) : Pending<Ok>(std::move(done)), loop(&loop_) {}
  void on_cancel() noexcept override {
    if (loop == nullptr) return;
    std::erase_if(loop->timers_, [this](const auto& entry) { return entry.second.get() == this; });
  }
  VirtualLoop* loop;
};

Ticket VirtualLoop::post(Callback<void()> task) {
  auto pending = std::make_shared<Pending<Ok>>(as_done(std::move(task)));
  posted_.push_back([pending] { pending->answer(Ok{}); });
  return Ticket(std::move(pending));
}

Ticket VirtualLoop::after(Duration wait, const char*, Callback<void()> task) {
  auto timer = std::make_shared<Timer>(*this, as_done(std::move(task)));
  timers_.emplace(now_ + wait, timer);
  return Ticket(std::move(timer));
}

void VirtualLoop::post_remote(Callback<void()> task) {
  const std::lock_guard lock(remote_mutex_);
  remote_.push_back(std::move(task));
}

bool VirtualLoop::run_one() {
  {
    const std::lock_guard lock(remote_mutex_);
    for (auto& task : remote_) posted_.push_back(std::move(task));
    remote_.clear();
  }
  if (posted_.empty()) return false;
  auto task = std::move(posted_.front());
  posted_.pop_front();
  task();
  return true;
}

void VirtualLoop::run() {
  while (run_one()) {
  }
}

void VirtualLoop::advance(Duration time) {
  const TimePoint end = now_ + time;
  run();
  while (!timers_.empty() && timers_.begin()->first <= end) {
    now_ = std::max(now_, timers_.begin()->first);
    const auto timer = timers_.begin()->second;
    timers_.erase(timers_.begin());
    timer->answer(Ok{});
    run();
  }
  now_ = end;
}

}  // namespace layerd::test
