// Sharing between nodes with nothing scripted: four network namespaces, in each a real containerd that pulls
// through the node's own layerd, and one real docker-registry behind a shaped cable.
#include <fmt/core.h>
#include <sys/stat.h>

#include <optional>
#include <thread>

#include "tests/real/real.h"
#include "tests/support/net_site.h"

using namespace layerd::test;

namespace {

constexpr std::size_t kNodes = 4;
constexpr unsigned kWanMbit = 100;
constexpr const char* kReference = "registry.test/team/app:1";

std::string make_secret(const std::string& path, char letter) {
  write_text(path, std::string(43, letter) + "=\n");  // 32 bytes in base64
  chmod(path.c_str(), 0600);
  return path;
}

// Layers of several units, of one, and of next to nothing.
Image make_app(std::uint64_t seed) {
  ImageShape shape;
  shape.layers = {30u << 20, 12u << 20, 3u << 20, 70 * 1024, 1000};
  shape.seed = seed;
  return make_image(shape);
}

struct Node {
  std::unique_ptr<Layerd> layerd;
  std::unique_ptr<Containerd> containerd;
};

class Site {
 public:
  explicit Site(const Image& image) : image_(image), net_(kNodes, kWanMbit) {
    place_in_storage(image, dir_ / "storage", "team/app", "1");
    RegistrySettings settings{dir_ / "storage"};
    settings.listen = "0.0.0.0";
    const auto inside = net_.inside_upstream();
    registry_.emplace(dir_ / "registry", settings);
  }

  // Without layerd: its containerd asks the registry itself.
  void start_without(std::size_t node) {
    const auto inside = net_.inside(node);
    nodes_[node].containerd = std::make_unique<Containerd>(dir_ / fmt::format("containerd-{}", node));
    nodes_[node].containerd->mirror("registry.test", upstream());
  }

  // secret: of the site, unless the node is to have another.
  void start(std::size_t node, const std::string& secret) {
    const auto inside = net_.inside(node);
    const std::string folder = dir_ / fmt::format("node-{}", node);
    std::filesystem::create_directories(folder);
    nodes_[node].layerd = std::make_unique<Layerd>(folder, configuration(node, secret));
    nodes_[node].containerd = std::make_unique<Containerd>(folder + "/containerd");
    nodes_[node].containerd->mirror("registry.test", nodes_[node].layerd->url());
  }

  void start_all() {
    const std::string secret = make_secret(dir_ / "site.secret", 'S');
    for (std::size_t i = 0; i < kNodes; ++i) start(i, secret);
  }

  // All at once, each in a thread of its own.
  std::vector<Finished> pull(const std::vector<std::size_t>& nodes) {
    std::vector<Finished> pulls(nodes.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      threads.emplace_back([&, i] {
        const auto inside = net_.inside(nodes[i]);  // ctr itself fetches, and containerd keeps
        pulls[i] = nodes_[nodes[i]].containerd->pull(kReference);
      });
    }
    for (auto& thread : threads) thread.join();
    return pulls;
  }

  void must_pull(const std::vector<std::size_t>& nodes) {
    const std::vector<Finished> pulls = pull(nodes);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      INFO("node " << nodes[i] << ": " << pulls[i].output << nodes_[nodes[i]].layerd->log());
      CHECK(pulls[i].status == 0);
      // containerd checks each digest before it keeps a blob; and layerd has the same bytes.
      for (const auto& layer : image_.layers) CHECK(nodes_[nodes[i]].containerd->has_content(layer));
      for (const auto& [digest, bytes] : image_.blobs)
        CHECK((read_text(nodes_[nodes[i]].layerd->blob_file(digest)) == bytes));
    }
  }

  double copies_from_upstream() {
    double bytes = 0;
    for (std::size_t i = 0; i < kNodes; ++i) {
      const auto inside = net_.inside(i);
      if (nodes_[i].layerd->process().running())
        bytes += nodes_[i].layerd->metric("layerd_upstream_bytes_total");
    }
    return bytes / static_cast<double>(image_.blob_bytes());
  }

  void kill(std::size_t node) {
    nodes_[node].layerd->process().send(SIGSTOP);
    net_.reset_connections(node);
    nodes_[node].layerd->kill();
  }

  void start_again(std::size_t node) {
    const auto inside = net_.inside(node);
    nodes_[node].layerd->start();
  }

  std::string upstream() const { return fmt::format("http://{}:{}", NetSite::kUpstream, registry_->port()); }
  DockerRegistry& registry() { return *registry_; }
  Node& node(std::size_t i) { return nodes_[i]; }
  NetSite& net() { return net_; }
  const TempDir& dir() const { return dir_; }

 private:
  std::string configuration(std::size_t node, const std::string& secret) const {
    std::string members;
    for (std::size_t i = 0; i < kNodes; ++i)
      members += fmt::format("{}'{}:5152'", i > 0 ? ", " : "", NetSite::address(i));
    return mirror_of(upstream()) +
           fmt::format("peers: {{listen: '{}:5152', site: lab, secret_file: {}, members: [{}]}}\n",
                       NetSite::address(node), secret, members);
  }

  Image image_;
  TempDir dir_;
  NetSite net_;
  std::optional<DockerRegistry> registry_;
  Node nodes_[kNodes];
};

}  // namespace

TEST_CASE("the site of these tests: two containerds bring two copies straight from the registry", "[site]") {
  const Image image = make_app(10);
  Site site(image);
  for (const std::size_t i : {std::size_t{0}, std::size_t{3}}) site.start_without(i);
  const auto begun = std::chrono::steady_clock::now();
  for (const Finished& pulled : site.pull({0, 3})) {
    INFO(pulled.output);
    CHECK(pulled.status == 0);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  CHECK(took.count() > 2 * 8 * static_cast<double>(image.blob_bytes()) / (kWanMbit * 1e6) - 0.5);
  for (const auto& layer : image.layers) CHECK(site.registry().count("GET", "/blobs/" + layer) == 2);
}

TEST_CASE("four containerds that pull at once through their own layerds bring one copy over the WAN",
          "[site]") {
  Site site(make_app(11));
  site.start_all();
  site.must_pull({0, 1, 2, 3});
  // Manifests and the sizes of heads are the rest.
  CHECK(site.copies_from_upstream() <= 1.02);
}

TEST_CASE("an image that one node has reaches the others by its tag while the registry is down", "[site]") {
  Site site(make_app(12));
  site.start_all();
  site.must_pull({2});
  site.registry().stop();
  site.must_pull({0, 1, 3});
}

TEST_CASE("only one of four nodes pulls, and the others keep nothing", "[site]") {
  const Image image = make_app(13);
  Site site(image);
  site.start_all();
  site.must_pull({1});
  for (const std::size_t other : {std::size_t{0}, std::size_t{2}, std::size_t{3}})
    for (const auto& [digest, bytes] : image.blobs) CHECK_FALSE(site.node(other).layerd->has_blob(digest));
}

TEST_CASE("a node whose layerd is killed in the middle costs the others nothing but bytes", "[site]") {
  Site site(make_app(14));
  site.start_all();
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    site.kill(3);
  });
  const std::vector<Finished> pulls = site.pull({0, 1, 2, 3});
  killer.join();
  for (std::size_t i = 0; i < 3; ++i) {
    INFO("node " << i << ": " << pulls[i].output << site.node(i).layerd->log());
    CHECK(pulls[i].status == 0);
  }
  site.start_again(3);
  site.must_pull({0, 1, 2, 3});
}

TEST_CASE("a node whose cable is out gets its image when it is back, and the others do not wait", "[site]") {
  Site site(make_app(15));
  site.start_all();
  std::thread unplug([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    site.net().plug(2, false);
    std::this_thread::sleep_for(std::chrono::seconds(5));
    site.net().plug(2, true);
  });
  const std::vector<Finished> pulls = site.pull({0, 1, 2, 3});
  unplug.join();
  for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
    INFO("node " << i << ": " << pulls[i].output << site.node(i).layerd->log());
    CHECK(pulls[i].status == 0);
  }
  site.must_pull({0, 1, 2, 3});
}

TEST_CASE("a node with another secret is no member, and pulls by itself", "[site]") {
  Site site(make_app(16));
  const std::string secret = make_secret(site.dir() / "site.secret", 'S');
  const std::string other = make_secret(site.dir() / "other.secret", 'T');
  for (std::size_t i = 0; i < kNodes; ++i) site.start(i, i == 0 ? other : secret);
  site.must_pull({0, 1, 2, 3});
  CHECK(site.copies_from_upstream() <= 2.04);
}
