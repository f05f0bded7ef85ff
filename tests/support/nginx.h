// A real nginx that ends TLS in front of a registry, as an ingress does.
#pragma once

#include <optional>
#include <string>

#include "tests/support/private_ca.h"
#include "tests/support/process.h"

namespace layerd::test {

class Nginx {
 public:
  // upstream: URL it passes everything on to.
  Nginx(const std::string& folder, const Certificate& certificate, const std::string& upstream);

  std::uint16_t port() const { return port_; }
  std::string address() const;

 private:
  std::uint16_t port_;
  std::optional<Process> process_;
};

}  // namespace layerd::test
