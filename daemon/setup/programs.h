// Other programs run by setup: ctr, crictl, podman, docker. The interface is here so that tests give
// the answers themselves. Blocks.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "runtime/result.h"

namespace layerd::daemon::setup {

class Programs {
 public:
  virtual ~Programs() = default;
  // What it printed, both streams. Errors: not_found (there is no such program); upstream_status (it
  // ended with another status than 0; the message ends with its last words); upstream_timeout; local_io;
  // canceled.
  virtual Result<std::string> run(const std::vector<std::string>& arguments,
                                  std::chrono::seconds limit = std::chrono::seconds(60)) = 0;
};

class RealPrograms final : public Programs {
 public:
  // is_interrupted: asked again and again while a program runs; true ends it.
  explicit RealPrograms(std::function<bool()> is_interrupted) : is_interrupted_(std::move(is_interrupted)) {}
  Result<std::string> run(const std::vector<std::string>& arguments, std::chrono::seconds limit) override;

 private:
  const std::function<bool()> is_interrupted_;
};

}  // namespace layerd::daemon::setup
