// What the tests with real programs start from: a real registry filled with images, layerd in front of it.
#pragma once

#include <fmt/core.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/containerd.h"
#include "tests/support/docker_registry.h"
#include "tests/support/hashes.h"
#include "tests/support/image_maker.h"
#include "tests/support/layerd_daemon.h"
#include "tests/support/nginx.h"
#include "tests/support/temp_dir.h"
#include "tests/support/token_server.h"

namespace layerd::test {

struct Published {
  std::string repository, tag;
  Image image;
  std::string reference() const { return "registry.test/" + repository + ":" + tag; }
};

// Three images of real shape: many small layers, a few big ones, an index of several platforms.
inline std::vector<Published> three_images() {
  ImageShape many, big, index;
  for (std::size_t i = 0; i < 40; ++i) many.layers.push_back(1024 + 3000 * i);
  many.seed = 1;
  big.layers = {300u << 20, 30u << 20, 1024};
  big.seed = 2;
  big.docker_types = true;
  index.layers = {5u << 20, 200 * 1024};
  index.platforms = {"amd64", "arm64", "s390x"};
  index.seed = 3;
  return {{"shop/frontend", "1.2.3", make_image(many)},
          {"shop/backend", "latest", make_image(big)},
          {"library/base", "12", make_image(index)}};
}

// The configuration under which layerd finds registry.test at `endpoint`.
inline std::string mirror_of(const std::string& endpoint, const std::string& of_endpoint = "") {
  const std::string host = endpoint.substr(endpoint.find("://") + 3);
  std::string text =
      fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n", endpoint);
  if (!of_endpoint.empty()) text += fmt::format("configs: {{\"{}\": {{{}}}}}\n", host, of_endpoint);
  return text;
}

// Starts layerd and checks at the end that it stops cleanly with nothing wrong in its store.
struct Layerd : LayerdDaemon {
  Layerd(const std::string& folder, const std::string& more)
      : LayerdDaemon({LAYERD_BINARY_DIR "/layerd", folder, more}) {}
  ~Layerd() {
    CHECK(stop() == 0);
    CHECK(complaints() == "");
    CHECK(wrong_blobs() == std::vector<std::string>{});
  }
};

}  // namespace layerd::test
