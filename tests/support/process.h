// A program run by a test: started with fork and exec, its output kept in a file, ended by its own pid.
// It dies with the test program as well (PR_SET_PDEATHSIG), so a crashed test leaves nothing behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

namespace layerd::test {

struct Command {
  std::vector<std::string> arguments;                            // arguments[0] is the program
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  std::string output;  // file that receives stdout and stderr, appended
};

class Process {
 public:
  explicit Process(Command command);
  // Asks with SIGTERM, insists with SIGKILL after 5 s.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  void send(int signal_number);
  // The exit status (128 + signal when killed), or nothing when it still runs after `timeout`.
  std::optional<int> wait(std::chrono::milliseconds timeout);
  // Sends `signal_number` and waits; SIGKILL when it does not end within `timeout`.
  int stop(int signal_number = SIGTERM, std::chrono::milliseconds timeout = std::chrono::seconds(5));
  std::string output() const;
  bool wait_for_output(const std::string& text, std::chrono::milliseconds timeout);

 private:
  Command command_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

struct Finished {
  int status = -1;  // exit status; 128 + signal; -1 when it had to be killed for taking too long
  std::string output;
};
// Runs to the end. Both output streams are joined.
Finished run(std::vector<std::string> arguments, std::chrono::milliseconds timeout = std::chrono::seconds(60),
             std::vector<std::pair<std::string, std::string>> environment = {});

}  // namespace layerd::test
