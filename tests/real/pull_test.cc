// A real containerd pulls real images from a real registry through layerd; the second time without it.
#include <thread>

#include "tests/real/real.h"

using namespace layerd::test;

TEST_CASE("three images through layerd, then the registry stopped, then the same three again", "[real]") {
  TempDir dir;
  const auto images = three_images();
  for (const auto& each : images) place_in_storage(each.image, dir / "storage", each.repository, each.tag);
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  Containerd containerd(dir / "containerd");
  containerd.mirror("registry.test", layerd.url());

  for (const auto& each : images) {
    const Finished pulled = containerd.pull(each.reference());
    INFO(pulled.output << layerd.log());
    REQUIRE(pulled.status == 0);
    CHECK(containerd.has_content(each.image.top));
  }
  for (const auto& each : images) {
    for (const auto& layer : each.image.layers) CHECK(registry.count("GET", "/blobs/" + layer) >= 1);
  }
  // Only what was asked for: of the other platforms not a byte.
  CHECK(registry.count("GET", "library/base/blobs/") == 3);

  registry.stop();
  for (const auto& each : images) {
    CHECK(containerd.remove(each.reference()).status == 0);
    CHECK_FALSE(containerd.has_content(each.image.top));
  }
  for (const auto& each : images) {
    const Finished pulled = containerd.pull(each.reference());
    INFO(pulled.output << layerd.log());
    CHECK(pulled.status == 0);
    CHECK(containerd.has_content(each.image.layers[0]));
  }
}

TEST_CASE("layerd restarted while the registry is down still serves the whole image", "[real]") {
  TempDir dir;
  const Image image = make_image({{1 << 20, 2 << 20}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  Containerd containerd(dir / "containerd");
  containerd.mirror("registry.test", layerd.url());
  REQUIRE(containerd.pull("registry.test/team/app:1").status == 0);
  registry.stop();
  CHECK(containerd.remove("registry.test/team/app:1").status == 0);
  layerd.kill();
  layerd.start();
  const Finished pulled = containerd.pull("registry.test/team/app:1");
  INFO(pulled.output << layerd.log());
  CHECK(pulled.status == 0);
}

TEST_CASE("five pulls at once fetch each blob once", "[real]") {
  TempDir dir;
  const Image image = make_image({{20 << 20, 3 << 20, 70 * 1024}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  std::vector<std::unique_ptr<Containerd>> nodes;
  for (int i = 0; i < 5; ++i) {
    nodes.push_back(std::make_unique<Containerd>(dir / fmt::format("containerd-{}", i)));
    nodes.back()->mirror("registry.test", layerd.url());
  }
  std::vector<Finished> pulls(nodes.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    threads.emplace_back([&, i] { pulls[i] = nodes[i]->pull("registry.test/team/app:1"); });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& pulled : pulls) {
    INFO(pulled.output);
    CHECK(pulled.status == 0);
  }
  for (const auto& layer : image.layers) {
    if (image.blobs.at(layer).size() < (16u << 20)) CHECK(registry.count("GET", "/blobs/" + layer) == 1);
  }
  CHECK(registry.count("GET", "/blobs/" + image.config) == 1);
  // A big layer may come in several ranges, but each byte comes once.
  CHECK(layerd.metric("layerd_upstream_bytes_total") <=
        1.02 * static_cast<double>(image.blob_bytes()) + 65536);
}

TEST_CASE("all platforms of an index, when the client asks for all", "[real]") {
  TempDir dir;
  ImageShape shape;
  shape.platforms = {"amd64", "arm64", "riscv64"};
  shape.layers = {300 * 1024, 5};
  const Image image = make_image(shape);
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  Containerd containerd(dir / "containerd");
  containerd.mirror("registry.test", layerd.url());
  const Finished fetched = containerd.ctr({"content", "fetch", "--hosts-dir", dir / "containerd/hosts",
                                           "--all-platforms", "registry.test/team/app:1"});
  INFO(fetched.output);
  CHECK(fetched.status == 0);
  for (const auto& [digest, bytes] : image.blobs) CHECK(layerd.has_blob(digest));
}

TEST_CASE("skopeo copies an image by the registry's name in the path", "[real]") {
  TempDir dir;
  const Image image = make_image({{2 << 20, 1000}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  const std::string source = fmt::format("docker://127.0.0.1:{}/registry.test/team/app:1", layerd.port());
  const auto copy = [&](const std::string& target) {
    return run({"skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", source,
                "oci:" + dir / target + ":1"});
  };
  const Finished first = copy("first");
  INFO(first.output << layerd.log());
  REQUIRE(first.status == 0);
  registry.stop();
  const Finished second = copy("second");
  INFO(second.output);
  CHECK(second.status == 0);
  const std::string layer = "/blobs/sha256/" + image.layers[0].substr(7);
  CHECK(read_text(dir / "second" + layer) == image.blobs.at(image.layers[0]));
}

TEST_CASE("an unknown image and a dead registry are told apart", "[real]") {
  TempDir dir;
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  Containerd containerd(dir / "containerd");
  containerd.mirror("registry.test", layerd.url());
  const Finished unknown = containerd.pull("registry.test/team/none:1");
  CHECK(unknown.status != 0);
  CHECK(unknown.output.find("not found") != std::string::npos);
  registry.stop();
  const Finished dead = containerd.pull("registry.test/team/none:2");
  INFO(dead.output);
  CHECK(dead.status != 0);
  CHECK(dead.output.find("502") != std::string::npos);
}
