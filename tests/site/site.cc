#include "tests/site/site.h"

#include <sys/stat.h>

#include <thread>

namespace layerd::test {
namespace fs = std::filesystem;

Image make_app(std::uint64_t seed, std::size_t biggest) {
  ImageShape shape;
  shape.layers = {biggest, 12u << 20, 3u << 20, 70 * 1024, 1000};
  shape.seed = seed;
  return make_image(shape);
}

std::string make_secret(const std::string& path) {
  const Finished made = run({LAYERD_BINARY_DIR "/layerd", "peers", "secret", "-o", path});
  INFO(made.output);
  REQUIRE(made.status == 0);
  return path;
}

bool eventually(const std::function<bool()>& holds) {
  for (int tries = 0; tries < 600; ++tries) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

Machines::Machines(const Image& image, std::size_t count, unsigned wan_mbit)
    : count_(count), net_(count, wan_mbit) {
  publish(image);
  for (std::size_t i = 0; i < count; ++i) fs::create_directories(folder(i));
  RegistrySettings settings{dir_ / "storage"};
  settings.listen = "0.0.0.0";
  const auto inside = net_.inside_upstream();
  registry_.emplace(dir_ / "registry", settings);
}

void Machines::publish(const Image& image) { place_in_storage(image, dir_ / "storage", "team/app", "1"); }

void Site::start_without(std::size_t node) {
  const auto inside = machines_.net().inside(node);
  nodes_[node].containerd = std::make_unique<Containerd>(machines_.folder(node) + "/containerd");
  nodes_[node].containerd->mirror("registry.test", machines_.upstream());
}

void Site::start(std::size_t node, const std::string& secret, const std::string& more) {
  const auto inside = machines_.net().inside(node);
  const std::string folder = machines_.folder(node);
  nodes_[node].layerd = std::make_unique<Layerd>(folder, configuration(node, secret) + more);
  nodes_[node].containerd = std::make_unique<Containerd>(folder + "/containerd");
  nodes_[node].containerd->mirror("registry.test", nodes_[node].layerd->url());
}

std::string Site::secret() {
  if (secret_.empty()) secret_ = make_secret(machines_.dir() / "site.secret");
  return secret_;
}

void Site::start_all() {
  for (std::size_t i = 0; i < kNodes; ++i) start(i, secret());
}

void Site::start_again(std::size_t node) {
  const auto inside = machines_.net().inside(node);
  nodes_[node].layerd->start();
}

void Site::stop(std::size_t node) { CHECK(nodes_[node].layerd->stop() == 0); }

void Site::kill(std::size_t node) {
  nodes_[node].layerd->process().send(SIGSTOP);
  machines_.net().reset_connections(node);
  nodes_[node].layerd->kill();
}

void Site::take_away(std::size_t node) {
  nodes_[node].containerd.reset();
  nodes_[node].layerd.reset();
  fs::remove_all(machines_.folder(node));
  fs::create_directories(machines_.folder(node));
}

std::vector<Finished> Site::pull(const std::vector<std::size_t>& nodes, const std::string& reference) {
  std::vector<Finished> pulls(nodes.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto inside = machines_.net().inside(nodes[i]);  // ctr itself fetches, and containerd keeps
      pulls[i] = nodes_[nodes[i]].containerd->pull(reference);
    });
  }
  for (auto& thread : threads) thread.join();
  return pulls;
}

void Site::must_pull(const std::vector<std::size_t>& nodes, const Image& image,
                     const std::string& reference) {
  const std::vector<Finished> pulls = pull(nodes, reference);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    INFO("node " << nodes[i] << ": " << pulls[i].output << nodes_[nodes[i]].layerd->log());
    CHECK(pulls[i].status == 0);
    // containerd checks each digest before it keeps a blob; and layerd has the same bytes.
    for (const auto& layer : image.layers) CHECK(nodes_[nodes[i]].containerd->has_content(layer));
    for (const auto& [digest, bytes] : image.blobs)
      CHECK((read_text(nodes_[nodes[i]].layerd->blob_file(digest)) == bytes));
  }
}

double Site::copies_from_upstream(const Image& image) {
  double bytes = 0;
  for (std::size_t i = 0; i < kNodes; ++i)
    if (nodes_[i].layerd->process().running()) bytes += metric(i, "layerd_upstream_bytes_total");
  return bytes / static_cast<double>(image.blob_bytes());
}

double Site::metric(std::size_t node, const std::string& name) {
  const auto inside = machines_.net().inside(node);
  return nodes_[node].layerd->metric(name);
}

std::string Site::configuration(std::size_t node, const std::string& secret) const {
  std::string members;
  for (std::size_t i = 0; i < kNodes; ++i)
    members += fmt::format("{}'{}'", i > 0 ? ", " : "", Machines::member(i));
  return mirror_of(machines_.upstream()) +
         fmt::format("peers: {{listen: '{}', site: lab, secret_file: {}, members: [{}]}}\n",
                     Machines::member(node), secret, members);
}

}  // namespace layerd::test
