#include "tests/sim/sim_loop.h"

namespace layerd::sim {

namespace {

struct Timer final : Operation {
  explicit Timer(std::shared_ptr<Callback<void()>> task_) : task(std::move(task_)) {}
  void cancel() noexcept override {
    if (task) *task = nullptr;
    task.reset();
  }
  std::shared_ptr<Callback<void()>> task;
};

}  // namespace

Ticket SimLoop::after(Duration wait, const char*, Callback<void()> task) {
  auto held = std::make_shared<Callback<void()>>(std::move(task));
  entries_.push({now_ + wait, number_++, held});
  return Ticket(std::make_shared<Timer>(std::move(held)));
}

void SimLoop::at(TimePoint when, Callback<void()> task) {
  entries_.push({when, number_++, std::make_shared<Callback<void()>>(std::move(task))});
}

bool SimLoop::run(const std::function<bool()>& is_over, TimePoint limit) {
  while (!is_over()) {
    if (entries_.empty() || entries_.top().when > limit) return false;
    const auto entry = entries_.top();
    entries_.pop();
    if (entry.when > now_) in_moment_ = 0;
    now_ = std::max(now_, entry.when);
    if (!*entry.task) continue;
    ++events_;
    if (++in_moment_ > kMostInMoment) return false;
    auto task = std::move(*entry.task);
    task();
  }
  return true;
}

}  // namespace layerd::sim
