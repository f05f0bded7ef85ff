#include "runtime/workers.h"

namespace layerd {

Workers::Workers(Loop& loop, unsigned threads) : loop_(loop) {
  LAYERD_CHECK(threads >= 1 && threads <= 64);
  threads_.reserve(threads);
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

Workers::~Workers() {
  std::deque<Job> unanswered;  // dropped after the threads are gone, here on the loop
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    std::deque<Job> rest;
    for (auto& job : jobs_) (job.must_run ? rest : unanswered).push_back(std::move(job));
    jobs_.swap(rest);
  }
  ready_.notify_all();
  for (auto& thread : threads_) thread.join();
}

std::size_t Workers::queued() const {
  std::lock_guard lock(mutex_);
  return jobs_.size();
}

void Workers::submit(Callback<void()> job, bool must_run) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_.push_back({std::move(job), must_run});
  }
  ready_.notify_one();
}

void Workers::work() {
  for (;;) {
    Callback<void()> job;
    {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front().run);
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace layerd
