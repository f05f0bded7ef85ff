// A real docker-registry on a free port, with its storage in a folder of the test.
#pragma once

#include <optional>
#include <string>

#include "tests/support/private_ca.h"
#include "tests/support/process.h"

namespace layerd::test {

struct RegistrySettings {
  std::string storage;                          // may be filled before and be shared by several registries
  std::optional<Certificate> certificate = {};  // serves TLS
  std::string user = {}, password = {};         // htpasswd when given
  std::string listen = "127.0.0.1";             // or 0.0.0.0
  std::string token_realm = {}, token_service = {}, token_issuer = {},
              token_roots = {};  // token auth when given
};

class DockerRegistry {
 public:
  // folder: for its configuration and log.
  DockerRegistry(const std::string& folder, RegistrySettings settings);

  std::uint16_t port() const { return port_; }
  std::string address() const;
  std::string url() const;
  // Requests in its access log with this method and this text in the target.
  int count(const std::string& method, const std::string& part) const;
  void stop();
  std::string log() const { return process_->output(); }

 private:
  bool tls_;
  std::uint16_t port_;
  std::optional<Process> process_;
};

}  // namespace layerd::test
