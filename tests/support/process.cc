#include "tests/support/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <thread>

#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

using std::chrono::steady_clock;

[[noreturn]] void become(const Command& command, std::vector<char*>& arguments, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(126);
  std::signal(SIGPIPE, SIG_DFL);
  const int out = open(command.output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  const int in = open("/dev/null", O_RDONLY);
  dup2(in, 0);
  dup2(out, 1);
  dup2(out, 2);
  for (int fd = 3; fd < 1024; ++fd) close(fd);
  for (const auto& [name, value] : command.environment) setenv(name.c_str(), value.c_str(), 1);
  execvp(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

Process::Process(Command command) : command_(std::move(command)) {
  if (command_.output.empty()) command_.output = "/dev/null";
  std::vector<char*> arguments;
  for (auto& argument : command_.arguments) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) become(command_, arguments, parent);
}

Process::~Process() {
  if (running()) stop();
}

bool Process::running() { return !wait(std::chrono::milliseconds(0)).has_value(); }

void Process::send(int signal_number) {
  if (running()) kill(pid_, signal_number);
}

std::optional<int> Process::wait(std::chrono::milliseconds timeout) {
  const auto end = steady_clock::now() + timeout;
  while (!status_) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      break;
    }
    if (steady_clock::now() >= end) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return status_;
}

int Process::stop(int signal_number, std::chrono::milliseconds timeout) {
  send(signal_number);
  if (auto status = wait(timeout)) return *status;
  send(SIGKILL);
  return wait(std::chrono::seconds(10)).value_or(-1);
}

std::string Process::output() const { return read_text(command_.output); }

bool Process::wait_for_output(const std::string& text, std::chrono::milliseconds timeout) {
  const auto end = steady_clock::now() + timeout;
  while (output().find(text) == std::string::npos) {
    if (steady_clock::now() >= end || !running()) return output().find(text) != std::string::npos;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

Finished run(std::vector<std::string> arguments, std::chrono::milliseconds timeout,
             std::vector<std::pair<std::string, std::string>> environment) {
  TempDir dir("layerd-run");
  Process process({std::move(arguments), std::move(environment), dir / "output"});
  Finished finished;
  if (auto status = process.wait(timeout))
    finished.status = *status;
  else
    process.stop(SIGKILL);
  finished.output = process.output();
  return finished;
}

}  // namespace layerd::test
