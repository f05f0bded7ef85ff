// A private certificate authority made with the openssl command in a folder of the test.
#pragma once

#include <string>

namespace layerd::test {

struct Certificate {
  std::string cert_file;
  std::string key_file;
};

class PrivateCa {
 public:
  explicit PrivateCa(std::string folder);
  const std::string& ca_file() const { return ca_file_; }
  // subject_names: as openssl writes them, for example "DNS:registry.test,IP:127.0.0.1".
  Certificate issue(const std::string& name, const std::string& subject_names);

 private:
  std::string folder_;
  std::string ca_file_;
};

}  // namespace layerd::test
