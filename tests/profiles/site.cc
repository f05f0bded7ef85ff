#include "tests/profiles/site.h"

#include <sched.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace layerd::test {
namespace {

constexpr const char* kCluster = "cluster.local";

void must(std::vector<std::string> arguments) {
  const Finished finished = run(arguments);
  if (finished.status != 0) throw std::runtime_error(arguments.back() + ": " + finished.output);
}

Asked read_asked(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, '\t');) fields.push_back(field);
  fields.resize(6);
  return {fields[0], fields[1], fields[2], std::atoi(fields[3].c_str()), fields[4], fields[5]};
}

}  // namespace

World& World::get() {
  static World world;
  return world;
}

World::World() {
  if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error("a network namespace needs root");
  must({"ip", "link", "set", "lo", "up"});
  front_ = std::make_unique<Process>(
      Command{{"unshare", "-n", "python3", "-B", LAYERD_SOURCE_DIR "/tests/profiles/front/internet.py",
               folder_.path()},
              {},
              path("front.log")});
  connect(front_->pid());
  for (int tries = 0; !std::filesystem::exists(path("ready")); ++tries) {
    if (tries > 1500 || !front_->running())
      throw std::runtime_error("front: " + front_->output() + read_text(path("nginx.log")));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  dns_ = std::make_unique<FakeDns>();
  std::ifstream hosts(path("hosts"));
  for (std::string name, address; hosts >> name >> address;) dns_->set(name, {{address}});
  // What a distribution's bundle is elsewhere.
  ::setenv("SSL_CERT_FILE", path("public-ca.crt").c_str(), 1);
  containerd_ = std::make_unique<Containerd>(path("containerd"));
}

// A cable from this namespace to the other one, which has all addresses there are.
void World::connect(pid_t outside) {
  const std::string pid = std::to_string(outside);
  const auto own = std::filesystem::read_symlink("/proc/self/ns/net");
  for (int tries = 0; std::filesystem::read_symlink("/proc/" + pid + "/ns/net") == own; ++tries) {
    if (tries > 500) throw std::runtime_error("front: " + front_->output());
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  must({"ip", "link", "add", "world", "type", "veth", "peer", "name", "site", "netns", pid});
  must({"ip", "address", "add", "10.200.0.1/30", "dev", "world"});
  must({"ip", "link", "set", "world", "up"});
  const auto there = [&pid](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"nsenter", "-t", pid, "-n", "ip"});
    must(arguments);
  };
  there({"address", "add", "10.200.0.2/30", "dev", "site"});
  there({"link", "set", "site", "up"});
  must({"ip", "route", "add", "default", "via", "10.200.0.2"});
}

Image World::publish(const std::string& repository, const std::string& tag) {
  ImageShape shape;
  shape.layers = {150 * 1024, 3000};
  shape.seed = 1000 + static_cast<std::uint64_t>(++images_);
  Image image = make_image(shape);
  place_in_storage(image, path("storage"), repository, tag);
  return image;
}

std::vector<Asked> World::asked(std::size_t from) const {
  std::vector<Asked> all;
  std::istringstream lines(read_text(path("record")));
  for (std::string line; std::getline(lines, line);) {
    if (from > 0)
      --from;
    else
      all.push_back(read_asked(line));
  }
  return all;
}

std::string World::new_folder() {
  const std::string folder = path(fmt::format("node-{}", ++nodes_));
  std::filesystem::create_directories(folder);
  return folder;
}

Node::Node(const std::string& configuration)
    : LayerdDaemon({LAYERD_BINARY_DIR "/layerd", World::get().new_folder(),
                    fmt::format("dns: {{zones: {{\".\": \"{0}\", {1}: \"{0}\"}}}}\n{2}",
                                World::get().dns().address(), kCluster, configuration)}),
      from_(World::get().asked(0).size()) {
  World::get().containerd().mirror("_default", url());
}

Node::~Node() {
  CHECK(stop() == 0);
  CHECK(complaints() == "");
  CHECK(wrong_blobs() == std::vector<std::string>{});
  const std::string said = log();
  for (const char* secret : {"s3cret", "n3xus", "p$w", "ya29", "BEGIN PRIVATE"})
    CHECK(said.find(secret) == std::string::npos);
  if (std::uncaught_exceptions() > 0) {
    std::string seen;
    for (const auto& each : asked())
      seen += fmt::format("{} {} {} {} {}\n", each.status, each.method, each.origin, each.target,
                          each.credential);
    WARN(said << seen);
  }
}

Finished Node::pull(const std::string& reference) { return World::get().containerd().pull(reference); }

void Node::must_pull(const std::string& reference, const Image& image) {
  const Finished pulled = pull(reference);
  INFO(pulled.output);
  REQUIRE(pulled.status == 0);
  CHECK(World::get().containerd().has_content(image.layers.back()));
  for (const auto& [digest, bytes] : image.blobs) CHECK((read_text(blob_file(digest)) == bytes));
}

std::vector<Asked> Node::asked(const std::string& origin) const {
  std::vector<Asked> found;
  for (auto& each : World::get().asked(from_)) {
    if (origin.empty() || each.origin == origin) found.push_back(std::move(each));
  }
  return found;
}

Asked Node::token_request() const {
  std::vector<Asked> found;
  for (auto& each : asked()) {
    if (each.target.find("scope=") != std::string::npos || !each.body.empty())
      found.push_back(std::move(each));
  }
  REQUIRE(found.size() == 1);
  return found[0];
}

std::string secret_file(const std::string& name, const std::string& text, bool is_program) {
  const std::string path = World::get().path(name);
  write_text(path, text);
  ::chmod(path.c_str(), is_program ? 0755 : 0600);
  return path;
}

}  // namespace layerd::test
