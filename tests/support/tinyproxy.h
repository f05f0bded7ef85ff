// A real tinyproxy on loopback that looks names up in a hosts file of its own (a mount namespace; root).
#pragma once

#include <optional>
#include <string>

#include "tests/support/process.h"

namespace layerd::test {

struct TinyproxySettings {
  std::string hosts = {};                // lines of /etc/hosts
  std::string user = {}, password = {};  // Basic authentication when given
  std::string denied = {};               // an expression: names it refuses
};

class Tinyproxy {
 public:
  Tinyproxy(const std::string& folder, const TinyproxySettings& settings);
  std::uint16_t port() const { return port_; }
  std::string address() const;  // 127.0.0.1:PORT
  std::string log() const;

 private:
  std::string folder_;
  std::uint16_t port_;
  std::optional<Process> process_;
};

}  // namespace layerd::test
