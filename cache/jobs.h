// Two ways to run worker jobs: for an owner that may go away (Jobs), and to the very end whoever
// goes away (run_to_end). Loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "runtime/workers.h"

namespace layerd::cache {

// The outstanding jobs of one owner. Destroying it takes all the callbacks back, so a member of
// this type makes it right for them to capture the owner.
class Jobs {
 public:
  explicit Jobs(Workers& workers) : workers_(workers) {}

  template <class T>
  void run(const char* name, Callback<Result<T>()> job, Done<T> then) {
    const auto id = next_++;
    tickets_[id] =
        workers_.run<T>(name, std::move(job), [this, id, then = std::move(then)](Result<T> result) mutable {
          auto inert = tickets_.extract(id);
          then(std::move(result));
        });
  }
  std::size_t running() const { return tickets_.size(); }

 private:
  Workers& workers_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, Ticket> tickets_;
};

// Runs `job` on a worker and `then` with its answer on the loop. Nothing takes it back; `then`
// holds whatever it touches and is destroyed on the loop.
template <class T>
void run_to_end(Loop& loop, Workers& workers, Callback<T()> job, Callback<void(T)> then) {
  workers.run_detached([&loop, job = std::move(job), then = std::move(then)]() mutable {
    auto answer = std::make_unique<T>(job());
    job = nullptr;
    loop.post_remote(
        [then = std::move(then), answer = std::move(answer)]() mutable { then(std::move(*answer)); });
  });
}

}  // namespace layerd::cache
