// What the tests of the configuration share: texts that are read as c.yaml, and a folder for real files.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "tests/support/catch.h"

namespace layerd::test::config {

// A folder that goes away with its files.
struct Folder {
  Folder() {
    char name[] = "/tmp/layerd-config-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() {
    for (const auto& file : files) ::unlink(file.c_str());
    ::rmdir(path.c_str());
  }
  std::string write(const std::string& name, const std::string& text, mode_t mode = 0600) {
    files.push_back(path + "/" + name);
    std::ofstream(files.back()) << text;
    ::chmod(files.back().c_str(), mode);
    return files.back();
  }
  std::string path;
  std::vector<std::string> files;
};

// `registries` is what the registries file holds.
inline daemon::LoadedConfig parse(const std::string& text, const std::string& registries = {}) {
  const daemon::ReadText read = [&](const std::string&) -> Result<std::string> { return registries; };
  return daemon::parse_config("c.yaml", text, read);
}

// All that was said, one problem a line.
inline std::string all(const std::vector<daemon::Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.str() + "\n";
  return text;
}

inline const registry::HostSettings& host(const daemon::LoadedConfig& loaded, const std::string& name) {
  REQUIRE(loaded.ok());
  return *loaded.settings->rules.configs.at(name);
}

}  // namespace layerd::test::config
