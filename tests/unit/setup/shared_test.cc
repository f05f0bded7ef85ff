// Runtimes that share files: the undo of one leaves what the other goes by, in either order, and the last one
// takes the file away.
#include "daemon/setup/own_config.h"
#include "tests/unit/setup/node.h"

using namespace layerd::test;
using namespace layerd::daemon::setup;

namespace {

const std::string kContainers = "/etc/containers/registries.conf.d/zz-layerd.conf";

void undo(Node& node, const std::string& runtime) {
  INFO("undo of " << runtime);
  auto options = node.options(runtime);
  options.undo = true;
  REQUIRE(message_of(node.session(options)) == "");
}

void set_up(Node& node, const std::string& runtime) {
  INFO("setup of " << runtime);
  REQUIRE(message_of(node.session(node.options(runtime))) == "");
}

struct ContainersNode : Node {
  ContainersNode() {
    write("/etc/containers/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n");
    write("/etc/crio/crio.conf", "");
  }
};

}  // namespace

// rules: setup-undo-leaves-what-others-go-by
TEST_CASE("podman and CRI-O share a file: in whatever order they come and go, the last takes it away") {
  ContainersNode node;
  const std::string login = GENERATE("", "{\"auths\": {\"ghcr.io\": {\"auth\": \"dTpw\"}}}");
  if (!login.empty()) node.write("/root/.docker/config.json", login);
  const auto before = node.everything();
  const bool more = GENERATE(false, true), podman_first = GENERATE(false, true),
             same_order = GENERATE(false, true);
  if (more) node.cri_images = "{\"images\": [{\"repoTags\": [\"quay.io/org/app:1\"]}]}";
  const std::string first = podman_first ? "podman" : "crio", second = podman_first ? "crio" : "podman";
  set_up(node, first);
  const auto of_first = node.everything();
  set_up(node, second);
  CHECK((node.said.find("nothing to do") != std::string::npos) == (!more && podman_first));
  const auto of_both = node.everything();
  undo(node, same_order ? first : second);
  CHECK(node.read(kContainers).find("127.0.0.1:5151/docker.io") != std::string::npos);
  if (!login.empty()) CHECK(node.read("/etc/layerd/runtimes.yaml").find("ghcr.io") != std::string::npos);
  if (same_order) CHECK(node.everything() == of_both);
  if (!same_order) CHECK(node.everything() == of_first);
  undo(node, same_order ? second : first);
  CHECK(node.everything() == before);
  CHECK(node.records().empty());
}

TEST_CASE("podman and CRI-O keep each other's registries, and what --no-fallback closed stays closed") {
  ContainersNode node;
  node.cri_images = "{\"images\": [{\"repoTags\": [\"quay.io/org/app:1\"]}]}";
  auto close = node.options("podman");
  close.no_fallback = true;
  REQUIRE(message_of(node.session(close)) == "");
  set_up(node, "crio");
  const std::string text = node.read(kContainers);
  CHECK(text.find("prefix = \"ghcr.io\"\nlocation = \"127.0.0.1:5151/ghcr.io\"") != std::string::npos);
  CHECK(text.find("prefix = \"quay.io\"\nlocation = \"quay.io\"") != std::string::npos);
  set_up(node, "podman");
  CHECK(node.said.find("nothing to do") != std::string::npos);
  CHECK(node.read(kContainers) == text);
}

TEST_CASE("containerd and docker with one folder of hosts.toml files: the undo of one leaves the other's") {
  ContainerdNode node;
  node.write("/etc/containerd/config.toml",
             "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = "
             "\"/etc/docker/certs.d\"\n");
  node.write("/etc/docker/daemon.json", "{\"features\": {\"containerd-snapshotter\": true}}\n");
  const std::string hub = "/etc/docker/certs.d/docker.io/hosts.toml";
  if (GENERATE(false, true)) node.write(hub, "[host.\"https://m.corp\"]\n");
  const auto before = node.everything();
  const bool docker_first = GENERATE(false, true), same_order = GENERATE(false, true);
  const std::string first = docker_first ? "docker" : "containerd",
                    second = docker_first ? "containerd" : "docker";
  set_up(node, first);
  if (GENERATE(false, true)) node.images += "quay.io/org/new:1\n";
  set_up(node, second);
  undo(node, same_order ? first : second);
  CHECK(node.read(hub).find("127.0.0.1:5151") != std::string::npos);
  CHECK(node.read("/etc/docker/certs.d/ghcr.io/hosts.toml").find("127.0.0.1:5151") != std::string::npos);
  undo(node, same_order ? second : first);
  CHECK(node.everything() == before);
  CHECK(node.records().empty());
}

TEST_CASE("a configuration that setup made goes with the last runtime that needs it") {
  ContainerdNode node;
  node.write("/etc/rancher/k3s/registries.yaml",
             "configs:\n  \"reg.corp:5000\":\n    auth: {username: u, password: other}\n");
  auto options = node.options("k3s");
  std::filesystem::remove(node.path("/etc/layerd/config.yaml"));
  const auto before = node.everything();
  const bool k3s_first = GENERATE(false, true), same_order = GENERATE(false, true);
  const auto run = [&](bool k3s, bool undoes) {
    options.runtime = k3s ? "k3s" : "containerd";
    options.undo = undoes;
    REQUIRE(message_of(node.session(options)) == "");
  };
  run(k3s_first, false);
  run(!k3s_first, false);
  run(k3s_first == same_order, true);
  CHECK(layerd::daemon::load_config(node.path("/etc/layerd/config.yaml")).ok());
  CHECK(node.read("/etc/layerd/runtimes.yaml").find(k3s_first == same_order ? "harbor" : "reg.corp") !=
        std::string::npos);
  run(k3s_first != same_order, true);
  CHECK(node.everything() == before);
  CHECK(node.records().empty());
}

TEST_CASE("a damaged record of another runtime is told before anything is changed") {
  ContainerdNode node;
  node.write("/var/lib/layerd-setup/k3s/record.json", "{");
  const auto before = node.everything();
  CHECK(message_of(node.session(node.options("containerd"))).find("k3s/record.json is damaged") !=
        std::string::npos);
  CHECK(node.everything() == before);
}

TEST_CASE("certificates that layerd's user cannot read are copied for it, with its owner alone") {
  Copied copied;
  copied.configs["reg.corp:5000"].ca_file = "/etc/ssl/public.crt";
  copied.configs["reg.corp:5000"].cert_file = "/root/me.crt";
  copied.configs["reg.corp:5000"].key_file = "/root/me.key";
  copied.configs["gone.corp"].ca_file = "/etc/ssl/gone.crt";
  std::vector<FileChange> changes;
  std::vector<std::string> notes;
  adopt_files(
      copied, "/etc/layerd/from-k3s", [](const std::string& path) { return path.starts_with("/etc"); },
      [](const std::string& path) {
        const bool there = path.starts_with("/root/") || path == "/etc/ssl/public.crt";
        return there ? std::optional<std::string>("PEM of " + path) : std::nullopt;
      },
      std::pair<uid_t, gid_t>(77, 78), changes, notes);
  const auto& host = copied.configs["reg.corp:5000"];
  CHECK(host.ca_file == "/etc/ssl/public.crt");
  CHECK(host.cert_file == "/etc/layerd/from-k3s/reg.corp_5000-client.crt");
  CHECK(host.key_file == "/etc/layerd/from-k3s/reg.corp_5000-client.key");
  REQUIRE(changes.size() == 2);
  CHECK(*changes[1].after == "PEM of /root/me.key");
  CHECK(changes[1].mode == 0600);
  CHECK(changes[1].owner->first == 77);
  CHECK(copied.configs["gone.corp"].ca_file.empty());
  CHECK(notes.back().find("gone.crt, which cannot be read") == std::string::npos);
  CHECK(notes.front().find("gone.corp names /etc/ssl/gone.crt, which cannot be read") == 0);
}

TEST_CASE("copies of certificates have names that never meet, and the same ones at each run") {
  const auto adopt = [](Copied& copied) {
    std::vector<FileChange> changes;
    std::vector<std::string> notes;
    adopt_files(
        copied, "/etc/layerd/from-k3s", [](const std::string&) { return false; },
        [](const std::string& path) { return std::optional<std::string>("PEM of " + path); }, std::nullopt,
        changes, notes);
    std::map<std::string, std::string> files;
    for (const auto& change : changes) {
      CHECK(files.emplace(change.path, *change.after).second);
      CHECK(change.path.find('/', std::string("/etc/layerd/from-k3s/").size()) == std::string::npos);
    }
    return files;
  };
  const auto make = [] {
    Copied copied;
    for (const char* host : {"reg.corp", "reg.corp:5000", "reg.corp_5000", "reg.corp_3a5000", "*",
                             "[::1]:5000", "[::1]", "[::2]:5000", "_", "_2a"}) {
      const std::string folder = std::string("/root/") + host;
      copied.configs[host].ca_file = folder + "/ca/tls.crt";
      copied.configs[host].cert_file = folder + "/client/tls.crt";
      copied.configs[host].key_file = folder + "/tls.crt";
    }
    return copied;
  };
  Copied once = make(), again = make();
  again.configs.erase("reg.corp");
  auto files = adopt(once);
  CHECK(files.size() == 30);
  CHECK(files.at(once.configs["[::1]"].ca_file) == "PEM of /root/[::1]/ca/tls.crt");
  for (const auto& [path, text] : adopt(again)) CHECK(files.at(path) == text);
}

TEST_CASE("a copied certificate that somebody changed goes with the undo as well") {
  ContainerdNode node;
  const auto before = node.everything();
  set_up(node, "containerd");
  // As if it had been copied by that setup.
  const auto undone = [&] {
    auto options = node.options("containerd");
    Applier applier(node.path("/var/lib/layerd-setup/containerd"));
    REQUIRE(applier.open(true));
    FileChange copy;
    copy.path = node.path("/etc/layerd/from-containerd/harbor.corp-ca.crt");
    copy.after = "PEM";
    REQUIRE(applier.begin({copy}));
    REQUIRE(applier.write(copy));
    REQUIRE(applier.commit(applier.record().copied, applier.record().uses));
  };
  undone();
  node.write("/etc/layerd/from-containerd/harbor.corp-ca.crt", "another PEM");
  undo(node, "containerd");
  CHECK(node.everything() == before);
}
