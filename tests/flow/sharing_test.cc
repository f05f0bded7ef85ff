// Several layerd on one machine as the nodes of a site, in front of one registry.
#include <sys/stat.h>

#include <memory>

#include "tests/flow/flow.h"
#include "tests/support/free_port.h"

using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

class Nodes {
 public:
  explicit Nodes(std::vector<std::string> mores) {
    write_text(dir_ / "secret", sha256_hex("of these nodes"));
    REQUIRE(::chmod((dir_ / "secret").c_str(), 0600) == 0);
    std::string members;
    std::vector<std::uint16_t> ports;
    for (std::size_t i = 0; i < mores.size(); ++i) {
      ports.push_back(free_port());
      members += fmt::format("{}127.0.0.1:{}", i == 0 ? "" : ", ", ports.back());
    }
    for (std::size_t i = 0; i < mores.size(); ++i) {
      const std::string folder = dir_ / ("node" + std::to_string(i));
      REQUIRE(::mkdir(folder.c_str(), 0700) == 0);
      nodes_.push_back(std::make_unique<LayerdDaemon>(DaemonSettings{
          LAYERD_BINARY_DIR "/layerd", folder,
          fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n"
                      "peers: {{listen: \"127.0.0.1:{}\", secret_file: {}, members: [{}]}}\n{}",
                      upstream.url(), ports[i], dir_ / "secret", members, mores[i])}));
    }
  }
  ~Nodes() {
    for (auto& node : nodes_) {
      if (node->process().running()) CHECK(node->stop() == 0);
      CHECK(node->complaints() == "");
      CHECK(node->wrong_blobs() == std::vector<std::string>{});
      if (std::uncaught_exceptions() > 0) WARN(node->log());
    }
  }
  LayerdDaemon& operator[](std::size_t i) { return *nodes_[i]; }
  ProbeRequest asks(std::size_t node, const std::string& target) {
    ProbeRequest request{nodes_[node]->port(), target};
    request.timeout = 120s;
    return request;
  }

  FaultyUpstream upstream;

 private:
  TempDir dir_{"layerd-sharing"};
  std::vector<std::unique_ptr<LayerdDaemon>> nodes_;
};

}  // namespace

TEST_CASE("two nodes that ask at once for a blob without its manifest share what upstream gives") {
  Nodes nodes({"", ""});
  const std::string bytes = random_bytes(24u << 20, 1);
  const std::string digest = nodes.upstream.add_blob(bytes);
  Fault slow;
  slow.head_delay = 300ms;
  slow.bytes_per_second = 4u << 20;
  nodes.upstream.fault("/blobs/", slow);
  const auto replies = probe_together({nodes.asks(0, Flow::blob(digest)), nodes.asks(1, Flow::blob(digest))});
  for (const auto& reply : replies) {
    CHECK(reply.status == 200);
    CHECK((reply.body == bytes));
  }
  CHECK(nodes.upstream.body_bytes(digest) < bytes.size() * 3 / 2);
}

TEST_CASE("a node that is offline has from the others what they have, and asks no upstream") {
  Nodes nodes({"", "offline: true\n", "offline: true\n"});
  const Image image = make_image({{300'000, 9'000'000}});
  nodes.upstream.add(image, "team/app", "1");
  REQUIRE(nodes[0].get(Flow::manifest("1")).status == 200);
  for (const auto& digest : image.layers) REQUIRE(nodes[0].get(Flow::blob(digest)).status == 200);
  const auto asked = nodes.upstream.seen().size();

  const auto manifest = nodes[1].get(Flow::manifest("1"));
  REQUIRE(manifest.status == 200);
  CHECK(manifest.header("layerd-source") == "stale");
  for (const auto& digest : image.layers) {
    const auto layer = nodes[1].get(Flow::blob(digest));
    REQUIRE(layer.status == 200);
    CHECK((layer.body == image.blobs.at(digest)));
  }
  CHECK(nodes[1].get(Flow::manifest(image.top)).status == 200);
  // Without its manifest, and twice: the second time from here.
  for (int i = 0; i < 2; ++i) {
    const auto layer = nodes[2].get(Flow::blob(image.layers.back()));
    REQUIRE(layer.status == 200);
    CHECK((layer.body == image.blobs.at(image.layers.back())));
  }
  // What nobody has.
  const std::string nothing = "sha256:" + std::string(64, '0');
  CHECK(nodes[1].get(Flow::blob(nothing)).status == 502);
  CHECK(nodes[1].get(Flow::manifest("2")).status == 502);
  CHECK(nodes.upstream.seen().size() == asked);
}

TEST_CASE("limits.site_download is shared out by the members") {
  const std::string limit = "limits: {site_download: 24Mbit}\n";
  Nodes nodes({limit, limit, limit});
  const std::size_t size = 3'000'000;
  std::vector<ProbeRequest> requests;
  std::vector<std::string> contents;
  for (std::size_t i = 0; i < 3; ++i) {
    contents.push_back(random_bytes(size, i + 1));
    requests.push_back(nodes.asks(i, Flow::blob(nodes.upstream.add_blob(contents.back()))));
  }
  const auto begun = std::chrono::steady_clock::now();
  const auto replies = probe_together(requests);
  const auto took = std::chrono::steady_clock::now() - begun;
  for (std::size_t i = 0; i < 3; ++i) CHECK((replies[i].body == contents[i]));
  // 9 MB at 3 MB/s; each node at the whole limit would be done after one second.
  CHECK(took > 1500ms);
}
