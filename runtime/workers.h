// A small pool of threads for what would block the loop: files, hashes, LMDB writes.
// A job takes values and returns a Result; it captures no `this`, no loop object.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/loop.h"

namespace layerd {

class Workers {
 public:
  // threads: 1..64.
  Workers(Loop& loop, unsigned threads);
  // Waits for the jobs that run; Ticketed jobs still queued are dropped unanswered, detached ones run.
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `job` on a worker and answers `done` on the loop. `name` is a literal.
  // Dropping the Ticket: a job not yet begun is skipped, one under way ends unseen.
  // Loop thread.
  template <class T>
  Ticket run(const char* name, Callback<Result<T>()> job, Done<T> done) {
    struct Call final : Pending<T> {
      Call(Done<T> d, Loop& loop, const char* n)
          : Pending<T>(std::move(d)), entry(loop.ledger(), n, {}, loop.now()) {}
      void on_cancel() noexcept override { dropped.store(true, std::memory_order_relaxed); }
      std::atomic<bool> dropped{false};
      LedgerEntry entry;
    };
    auto call = std::make_shared<Call>(std::move(done), loop_, name);
    // The block travels to the worker and back: its last reference is always let go on the loop.
    submit([&loop = loop_, call, job = std::move(job)]() mutable {
      if (call->dropped.load(std::memory_order_relaxed)) {
        auto dropped_job = std::move(job);
        loop.post_remote([call = std::move(call)] {});
        return;
      }
      auto result = std::make_unique<Result<T>>(job());
      job = nullptr;
      loop.post_remote(
          [call = std::move(call), result = std::move(result)] { call->answer(std::move(*result)); });
    });
    return Ticket(call);
  }

  // A job that must run whoever stops caring (closing files, recording progress). No answer.
  void run_detached(Callback<void()> job) { submit(std::move(job), true); }

  std::size_t queued() const;  // jobs waiting for a thread; any thread
  unsigned threads() const { return static_cast<unsigned>(threads_.size()); }

 private:
  struct Job {
    Callback<void()> run;
    bool must_run;
  };
  void submit(Callback<void()> job, bool must_run = false);
  void work();

  Loop& loop_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Job> jobs_;   // guarded by mutex_
  bool stopping_ = false;  // guarded by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace layerd
