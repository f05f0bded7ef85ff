// RateLimit: a token bucket that many share. Who is about to read asks how much it may; those who must
// wait stand in line and get a small share each in turn, so that all go on at the same speed and none
// holds a buffer meanwhile. Several readers of one thing have one place in line together. Loop thread.
#pragma once

#include <deque>
#include <list>
#include <memory>

#include "runtime/bytes.h"
#include "runtime/loop.h"

namespace layerd {

class RateLimit {
 public:
  // rate: bytes per second; 0: no limit.
  explicit RateLimit(Loop& loop, ByteCount rate = 0) : loop_(loop) { set(rate); }
  RateLimit(const RateLimit&) = delete;
  RateLimit& operator=(const RateLimit&) = delete;

  // From the next share on. Without a limit everybody in line goes on.
  void set(ByteCount rate);
  bool is_on() const { return rate_ > 0; }

  // Answers how many bytes may be read: 1 to `most` (>= 1), at most share(). Never fails. Dropping the
  // Ticket leaves the line. reader: those with the same number take turns with each other.
  Ticket take(std::size_t reader, std::size_t most, Done<std::size_t> done);
  // Bytes that were granted and not read.
  void give_back(std::size_t bytes);

  // The most that is granted at once: a tenth of a second's worth, within 4 KiB to 64 KiB.
  std::size_t share() const;
  std::size_t waiting() const;

 private:
  struct Waiter;
  struct Place {
    std::size_t reader;
    std::deque<std::shared_ptr<Waiter>> waiters;  // never empty
  };
  void refill();
  std::shared_ptr<Waiter> next();
  void serve();

  Loop& loop_;
  ByteCount rate_ = 0;
  double tokens_ = 0;  // bytes
  TimePoint filled_{};
  std::list<Place> line_;
  Ticket turn_;  // when there are enough tokens for the first in line
};

}  // namespace layerd
