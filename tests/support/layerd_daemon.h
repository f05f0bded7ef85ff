// The built layerd binary, started by a test with a configuration of its own in a folder of the test.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/support/http_probe.h"
#include "tests/support/process.h"

namespace layerd::test {

struct DaemonSettings {
  std::string binary;
  std::string folder;     // configuration, log, socket; and the cache unless cache_path says otherwise
  std::string more = {};  // more YAML at top level
  std::string cache_path = {};
  std::string max_size = "4GiB", min_free = "1MiB";
};

class LayerdDaemon {
 public:
  // Starts it and waits until it answers /v2/.
  explicit LayerdDaemon(DaemonSettings settings);
  ~LayerdDaemon();

  std::uint16_t port() const { return port_; }
  std::string url() const;
  const std::string& cache_path() const { return settings_.cache_path; }
  std::string config_file() const { return settings_.folder + "/config.yaml"; }
  std::string socket() const { return settings_.folder + "/admin.sock"; }
  Process& process() { return *process_; }
  std::string log() const;

  // Writes the configuration anew with this text instead of `more`; takes effect at the next start.
  void configure(const std::string& more);
  void start();
  // SIGTERM; the exit status.
  int stop();
  void kill();  // SIGKILL
  // Runs `layerd <arguments>` with the same configuration.
  Finished command(std::vector<std::string> arguments) const;

  ProbeReply get(const std::string& target,
                 std::vector<std::pair<std::string, std::string>> headers = {}) const;
  ProbeReply head(const std::string& target,
                  std::vector<std::pair<std::string, std::string>> headers = {}) const;
  // Value of one metric line of /metrics, labels included in `name`; -1 when it is not there.
  double metric(const std::string& name) const;

  // Path of a finished blob in the store.
  std::string blob_file(const std::string& digest) const;
  bool has_blob(const std::string& digest) const;
  // Finished blobs whose bytes do not have the digest of their name. Always empty, or layerd is wrong.
  std::vector<std::string> wrong_blobs() const;
  // Lines of the log, of what its commands printed, and of the refusals and pages it answered, in which a
  // sanitizer or a failed check speaks, or that tell a secret of the configuration (tests/support/secrets.h).
  std::string complaints() const;

 private:
  ProbeReply noted(ProbeReply reply) const;
  DaemonSettings settings_;
  std::uint16_t port_;
  std::optional<Process> process_;
};

}  // namespace layerd::test
