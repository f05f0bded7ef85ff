// Private images for those who may have them, asked for by the real clients: ctr --user, the kubelet's CRI
// with imagePullSecrets, skopeo. The registry is a real one with TLS and htpasswd.
#include "tests/real/real.h"
#include "tests/support/cri.h"

using namespace layerd::test;

namespace {

const std::string kUser = "alice", kPassword = "s3cret:$!@";

struct Private {
  explicit Private(const std::string& more = {})
      : ca(dir / "ca"), image(make_image({{2 << 20, 1000, 200 * 1024}})) {
    place_in_storage(image, dir / "storage", "team/app", "1");
    RegistrySettings settings{dir / "storage"};
    settings.certificate = ca.issue("registry", "DNS:private.test,IP:127.0.0.1");
    settings.user = kUser, settings.password = kPassword;
    registry.emplace(dir / "registry", settings);
    name = fmt::format("private.test:{}", registry->port());
    std::filesystem::create_directories(dir / "layerd");
    layerd.emplace(dir / "layerd", fmt::format("dns: {{hosts: {{private.test: 127.0.0.1}}}}\n"
                                               "configs: {{\"{0}\": {{tls: {{ca_file: {1}}}}}}}\n"
                                               "aliases: [{{from: \"short.test/**\", to: \"{0}/**\"}}]\n{2}",
                                               name, ca.ca_file(), more));
  }
  std::string reference() const { return name + "/team/app:1"; }

  TempDir dir;
  PrivateCa ca;
  Image image;
  std::optional<DockerRegistry> registry;
  std::string name;
  std::optional<Layerd> layerd;
};

// Nodes of their own, so that nothing is taken from an earlier pull's content.
std::unique_ptr<Containerd> node(Private& site, const std::string& name, bool with_cri = false) {
  auto containerd = std::make_unique<Containerd>(site.dir / name, with_cri);
  containerd->mirror(site.name, site.layerd->url());
  return containerd;
}

}  // namespace

TEST_CASE("ctr --user gets a private image through layerd, and from its cache when the registry is gone",
          "[real][access]") {
  Private site;
  const auto first = node(site, "first"), second = node(site, "second");
  const std::vector<std::string> right{"--user", kUser + ":" + kPassword}, wrong{"--user", kUser + ":no"},
      other{"--user", "bob:" + kPassword};
  for (const auto& without : {std::vector<std::string>{}, wrong, other}) {
    const auto refused = first->pull(site.reference(), without);
    INFO(refused.output);
    CHECK(refused.status != 0);
    CHECK(refused.output.find("403") != std::string::npos);
  }
  const auto pulled = first->pull(site.reference(), right);
  INFO(pulled.output << site.layerd->log());
  REQUIRE(pulled.status == 0);
  CHECK(first->has_content(site.image.layers[0]));
  // Cached now; and the right of one is not that of the others.
  for (const auto& without : {std::vector<std::string>{}, wrong, other})
    CHECK(second->pull(site.reference(), without).status != 0);
  CHECK_FALSE(second->has_content(site.image.layers[0]));
  CHECK(second->pull(site.reference(), right).status == 0);
  CHECK(site.registry->count("GET", "/blobs/" + site.image.layers[0]) == 1);
  // The WAN is cut and the node starts anew.
  site.registry->stop();
  site.layerd->kill();
  site.layerd->start();
  const auto third = node(site, "third");
  CHECK(third->pull(site.reference()).status != 0);
  CHECK(third->pull(site.reference(), wrong).status != 0);
  const auto again = third->pull(site.reference(), right);
  INFO(again.output << site.layerd->log());
  CHECK(again.status == 0);
  CHECK(site.layerd->log().find(kPassword) == std::string::npos);
}

TEST_CASE("a pod gets its image by the imagePullSecret that the kubelet sends, a pod without one does not",
          "[real][access]") {
  Private site;
  const auto first = node(site, "first", true), second = node(site, "second", true);
  const PullSecret right{kUser, kPassword}, wrong{kUser, "no"}, other{"bob", kPassword};
  const auto without = cri_pull(first->socket(), site.reference());
  INFO(without.message << first->log());
  CHECK(without.status > 0);
  CHECK(cri_pull(first->socket(), site.reference(), wrong).status > 0);
  const auto pulled = cri_pull(first->socket(), site.reference(), right);
  INFO(pulled.message << site.layerd->log());
  REQUIRE(pulled.status == 0);
  CHECK(pulled.image == site.image.config);
  for (const auto& secret : {PullSecret{}, wrong, other}) {
    const auto refused = cri_pull(second->socket(), site.reference(), secret);
    CHECK(refused.status > 0);
    CHECK(refused.message.find("403") != std::string::npos);
  }
  CHECK(cri_pull(second->socket(), site.reference(), right).status == 0);
  CHECK(site.registry->count("GET", "/blobs/" + site.image.layers[0]) == 1);
  site.registry->stop();
  const auto third = node(site, "third", true);
  CHECK(cri_pull(third->socket(), site.reference()).status > 0);
  CHECK(cri_pull(third->socket(), site.reference(), right).status == 0);
}

TEST_CASE("skopeo gives its credentials when the ping asks for them, and not otherwise", "[real][access]") {
  const bool asks = GENERATE(true, false);
  Private site(fmt::format("access: {{challenge_ping: {}}}\n", asks));
  // podman and skopeo name the registry in the path, where no port can be: by an alias.
  const auto source = fmt::format("docker://127.0.0.1:{}/short.test/team/app:1", site.layerd->port());
  const auto copy = [&](const std::string& credentials, const std::string& to, bool as_stranger = false) {
    std::vector<std::string> words;
    if (as_stranger) words = {"setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"};
    for (const char* word :
         {"skopeo", "--insecure-policy", "--tmpdir", "/tmp", "copy", "--src-tls-verify=false"})
      words.push_back(word);
    if (!credentials.empty()) words.insert(words.end(), {"--src-creds", credentials});
    words.push_back(source);
    words.push_back("dir:" + to);
    return run(words, std::chrono::seconds(60),
               {{"HOME", site.dir.path()}, {"XDG_RUNTIME_DIR", site.dir.path()}});
  };
  const auto right = copy(kUser + ":" + kPassword, site.dir / "right");
  INFO(right.output << site.layerd->log());
  CHECK((right.status == 0) == asks);
  CHECK(copy(kUser + ":no", site.dir / "wrong").status != 0);
  CHECK(copy({}, site.dir / "without").status != 0);
  if (!asks) return;
  CHECK(read_text(site.dir / "right/" + site.image.layers[0].substr(7)) ==
        site.image.blobs.at(site.image.layers[0]));
  // The right account does not help who is none of this node's runtimes.
  const std::string outside = site.dir / "outside";
  std::filesystem::create_directories(outside);
  std::filesystem::permissions(site.dir.path(), std::filesystem::perms::all);
  std::filesystem::permissions(outside, std::filesystem::perms::all);
  const auto stranger = copy(kUser + ":" + kPassword, outside, true);
  INFO(stranger.output);
  CHECK(stranger.status != 0);
  CHECK(stranger.output.find("none of this node's runtimes") != std::string::npos);
}
