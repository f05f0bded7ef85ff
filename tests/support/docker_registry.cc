#include "tests/support/docker_registry.h"

#include <fmt/core.h>

#include <sstream>
#include <stdexcept>

#include "tests/support/free_port.h"
#include "tests/support/temp_dir.h"

namespace layerd::test {
namespace {

std::string htpasswd_file(const std::string& folder, const RegistrySettings& settings) {
  const Finished finished = run({"htpasswd", "-Bbn", settings.user, settings.password});
  if (finished.status != 0) throw std::runtime_error("htpasswd failed: " + finished.output);
  write_text(folder + "/htpasswd", finished.output);
  return folder + "/htpasswd";
}

std::string configuration(const std::string& folder, std::uint16_t port, const RegistrySettings& settings) {
  std::string text = fmt::format(
      "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n"
      "http:\n  addr: {}:{}\n",
      settings.storage, settings.listen, port);
  if (settings.certificate) {
    text += fmt::format("  tls: {{certificate: {}, key: {}}}\n", settings.certificate->cert_file,
                        settings.certificate->key_file);
  }
  if (!settings.user.empty()) {
    text += fmt::format("auth:\n  htpasswd: {{realm: test, path: {}}}\n", htpasswd_file(folder, settings));
  }
  if (!settings.token_realm.empty()) {
    text += fmt::format(
        "auth:\n  token:\n    realm: {}\n    service: {}\n    issuer: {}\n    rootcertbundle: {}\n",
        settings.token_realm, settings.token_service, settings.token_issuer, settings.token_roots);
  }
  return text;
}

}  // namespace

DockerRegistry::DockerRegistry(const std::string& folder, RegistrySettings settings)
    : tls_(settings.certificate.has_value()), port_(free_port()) {
  write_text(folder + "/config.yml", configuration(folder, port_, settings));
  process_.emplace(
      Command{{"docker-registry", "serve", folder + "/config.yml"}, {}, folder + "/registry.log"});
  if (!wait_for_port(port_, std::chrono::seconds(20))) {
    throw std::runtime_error("docker-registry does not come up: " + log());
  }
}

std::string DockerRegistry::address() const { return fmt::format("127.0.0.1:{}", port_); }
std::string DockerRegistry::url() const { return (tls_ ? "https://" : "http://") + address(); }

int DockerRegistry::count(const std::string& method, const std::string& part) const {
  std::istringstream lines(log());
  int found = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("\"" + method + " ") != std::string::npos && line.find(part) != std::string::npos) ++found;
  }
  return found;
}

void DockerRegistry::stop() { process_->stop(); }

}  // namespace layerd::test
