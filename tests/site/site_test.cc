// Sharing between nodes with nothing scripted: four network namespaces, in each a real containerd that pulls
// through the node's own layerd, and one real docker-registry behind a shaped cable.
#include "tests/site/site.h"

#include <thread>

using namespace layerd::test;

TEST_CASE("the site of these tests: two containerds bring two copies straight from the registry", "[site]") {
  const Image image = make_app(10, 5u << 20);
  Site site(image);
  for (const std::size_t i : {std::size_t{0}, std::size_t{3}}) site.start_without(i);
  const auto begun = std::chrono::steady_clock::now();
  for (const Finished& pulled : site.pull({0, 3})) {
    INFO(pulled.output);
    CHECK(pulled.status == 0);
  }
  // The cable is as thin as it says: nothing can be faster than two copies over it.
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  CHECK(took.count() > 2 * 8 * static_cast<double>(image.blob_bytes()) / (Site::kWanMbit * 1e6) - 0.5);
  for (const auto& layer : image.layers)
    CHECK(site.machines().registry().count("GET", "/blobs/" + layer) == 2);
}

TEST_CASE("four containerds that pull at once through their own layerds bring one copy over the WAN",
          "[site]") {
  const Image image = make_app(11);
  Site site(image);
  site.start_all();
  site.must_pull({0, 1, 2, 3}, image);
  // Manifests and the sizes of heads are the rest.
  CHECK(site.copies_from_upstream(image) <= 1.02);
}

TEST_CASE("only one of four nodes pulls, and the others keep nothing", "[site]") {
  const Image image = make_app(13, 9u << 20);
  Site site(image);
  site.start_all();
  site.must_pull({1}, image);
  for (const std::size_t other : {std::size_t{0}, std::size_t{2}, std::size_t{3}})
    for (const auto& [digest, bytes] : image.blobs) CHECK_FALSE(site.layerd(other).has_blob(digest));
}

TEST_CASE("a node whose layerd is killed in the middle costs the others nothing but bytes", "[site][long]") {
  const Image image = make_app(14);
  Site site(image);
  site.start_all();
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    site.kill(3);
  });
  const std::vector<Finished> pulls = site.pull({0, 1, 2, 3});
  killer.join();
  for (std::size_t i = 0; i < 3; ++i) {
    INFO("node " << i << ": " << pulls[i].output << site.layerd(i).log());
    CHECK(pulls[i].status == 0);
  }
  site.start_again(3);
  site.must_pull({0, 1, 2, 3}, image);
}

TEST_CASE("a node whose cable is out gets its image when it is back, and the others do not wait",
          "[site][long]") {
  const Image image = make_app(15);
  Site site(image);
  site.start_all();
  std::thread unplug([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    site.machines().net().plug(2, false);
    std::this_thread::sleep_for(std::chrono::seconds(5));
    site.machines().net().plug(2, true);
  });
  const std::vector<Finished> pulls = site.pull({0, 1, 2, 3});
  unplug.join();
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    INFO("node " << i << ": " << pulls[i].output << site.layerd(i).log());
    CHECK(pulls[i].status == 0);
  }
  site.must_pull({0, 1, 2, 3}, image);
}

TEST_CASE("a node with another secret is no member, and pulls by itself", "[site]") {
  const Image image = make_app(16, 9u << 20);
  Site site(image);
  const std::string other = make_secret(site.machines().dir() / "other.secret");
  for (std::size_t i = 0; i < Site::kNodes; ++i) site.start(i, i == 0 ? other : site.secret());
  site.must_pull({0, 1, 2, 3}, image);
  CHECK(site.metric(0, "layerd_peers_received_bytes_total") <= 0);
  CHECK(site.metric(0, "layerd_upstream_bytes_total") >= static_cast<double>(image.blob_bytes()));
  CHECK(site.copies_from_upstream(image) > 1.9);
}
