// Other programs run for a short question: text in, text out, bounded in time and size. The interface
// is here so that what asks them also runs on virtual time. Loop thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/clock.h"
#include "runtime/ticket.h"

namespace layerd {

struct ChildCommand {
  std::vector<std::string> arguments;    // [0]: a path, or a name to look for in PATH of `environment`
  std::vector<std::string> environment;  // all of it, "NAME=value"
  std::string input;                     // for its stdin, which ends there
  Duration limit = std::chrono::seconds(10);
  std::size_t most_output = 256u << 10;  // bytes
};

struct ChildEnd {
  enum class How {
    exited,         // by itself; `status` is its exit status
    by_signal,      // `signal` ended it, and it was not ours
    took_too_long,  // killed at the limit
    said_too_much,  // killed when it had written more than most_output
  };
  How how = How::exited;
  int status = 0;
  int signal = 0;
  std::string output;  // of stdout; what it writes to stderr is thrown away
};

class Children {
 public:
  virtual ~Children() = default;
  // Errors: not_found (there is no such program), local_io (it cannot be started).
  // Dropping the Ticket kills it and everything it started in its session.
  virtual Ticket run(ChildCommand command, Done<ChildEnd> done) = 0;
};

}  // namespace layerd
