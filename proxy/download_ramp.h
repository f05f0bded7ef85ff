// DownloadRamp: how many upstream streams one download may run, found by trying. A second stream is
// added once the first has shown its rate; if the sum grows notably the path is long or throttled
// and more follow, else the download keeps to one. Pure: fed with times and byte counts.
#pragma once

#include <deque>

#include "runtime/bytes.h"
#include "runtime/clock.h"

namespace layerd::proxy {

class DownloadRamp {
 public:
  // most: streams at most. from: missing bytes below which nothing is tried.
  DownloadRamp(unsigned most, ByteCount from) : most_(most), from_(from) {}

  // Several times a second. received: body bytes so far; remaining: missing bytes; delivering:
  // streams that have brought bytes. Answers how many streams may run now.
  unsigned tick(TimePoint now, ByteCount received, ByteCount remaining, unsigned delivering);
  // The upstream refused more streams than `count`.
  void keep_to(unsigned count) { settle(count); }
  // Bytes per second over about the last half second; 0 while unknown.
  double rate() const { return rate_; }

 private:
  enum class State {
    single,   // one stream; its rate is being learned
    opening,  // more streams were allowed; not all have brought bytes
    trying,   // all of them run; has the sum grown?
    settled,  // the answer is known
  };
  void measure(TimePoint now, ByteCount received);
  bool worth_more(ByteCount remaining, double seconds) const;
  void settle(unsigned count);
  void try_more(TimePoint now, ByteCount remaining);

  const unsigned most_;
  const ByteCount from_;
  State state_ = State::single;
  unsigned allowed_ = 1;
  unsigned before_ = 1;
  double rate_ = 0;
  double baseline_ = 0;
  TimePoint since_{};
  bool begun_ = false;
  struct Sample {
    TimePoint at;
    ByteCount received;
  };
  std::deque<Sample> samples_;
};

}  // namespace layerd::proxy
