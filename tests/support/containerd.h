// A real containerd with its own root, state and socket in a folder of the test, driven with ctr. Needs root.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/support/process.h"

namespace layerd::test {

class Containerd {
 public:
  // with_cri: the service that the kubelet uses, as well.
  explicit Containerd(const std::string& folder, bool with_cri = false);

  // Writes hosts.toml so that `registry` (host[:port]) is asked for at `mirror_url` alone.
  void mirror(const std::string& registry, const std::string& mirror_url);
  // Runs ctr with the given arguments.
  Finished ctr(std::vector<std::string> arguments,
               std::chrono::milliseconds timeout = std::chrono::seconds(120)) const;
  // Pulls through what mirror() set up; `more` goes to "ctr images pull".
  Finished pull(const std::string& reference, std::vector<std::string> more = {}) const;
  // Removes the image and everything it brought.
  Finished remove(const std::string& reference) const;
  std::string socket() const { return folder_ + "/containerd.sock"; }
  bool has_content(const std::string& digest) const;
  std::string log() const { return process_->output(); }

 private:
  std::string folder_;
  std::optional<Process> process_;
};

}  // namespace layerd::test
