// One run of setup on a node in a folder: the order of things, what is said, --undo, --verify.
#include <sys/stat.h>

#include "tests/unit/setup/node.h"

using namespace layerd::test;
using namespace layerd::daemon::setup;
using layerd::Errc;

TEST_CASE("setup copies, reloads, probes, points and checks, in this order; a second run has nothing to do") {
  ContainerdNode node;
  CHECK(message_of(node.session(node.options("containerd"))) == "");
  CHECK(node.reloads == 1);
  CHECK(node.probes == std::vector<std::string>{"docker.io/library/busybox:1"});
  CHECK(node.ran.back().find("fetch-object --hosts-dir " + node.path("/etc/containerd/certs.d")) !=
        std::string::npos);
  CHECK(node.read("/etc/layerd/runtimes.yaml").find("\"https://harbor.corp\"") != std::string::npos);
  CHECK(node.read("/etc/layerd/runtimes.yaml").find("password: \"s3cret-word\"") != std::string::npos);
  CHECK(node.read("/etc/layerd/config.yaml")
            .find("# ours\nregistries_file: \"" + node.path("/etc/layerd/runtimes.yaml") + "\"\n") == 0);
  CHECK(node.read(kHub).find("127.0.0.1:5151") != std::string::npos);
  CHECK(node.read("/etc/containerd/certs.d/ghcr.io/hosts.toml").find("127.0.0.1:5151") != std::string::npos);
  CHECK(node.said.find("s3cret-word") == std::string::npos);
  CHECK(node.said.find("dTpzM2NyZXQtd29yZA") == std::string::npos);

  struct stat info {};
  REQUIRE(::stat(node.path("/etc/layerd/runtimes.yaml").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const auto files = node.everything();
  CHECK(message_of(node.session(node.options("containerd"))) == "");
  CHECK(node.said.find("nothing to do") != std::string::npos);
  CHECK(node.everything() == files);
}

TEST_CASE("copies of the old files are for root alone") {
  ContainerdNode node;
  REQUIRE(node.session(node.options("containerd")));
  int copies = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(node.path("/var/lib/layerd-setup"))) {
    struct stat info {};
    REQUIRE(::stat(entry.path().c_str(), &info) == 0);
    CHECK((info.st_mode & 0077) == 0);
    copies += entry.is_regular_file() && entry.path().string().find("/copies/") != std::string::npos;
  }
  CHECK(copies == 2);  // hosts.toml and config.yaml were there before
}

TEST_CASE("--undo gives every file back byte by byte, and takes away what was new") {
  ContainerdNode node;
  const auto before = node.everything();
  REQUIRE(node.session(node.options("containerd")));
  CHECK(node.everything() != before);
  auto undo = node.options("containerd");
  undo.undo = undo.dry_run = true;
  const auto set_up = node.everything();
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.everything() == set_up);
  CHECK(node.said.find("-[host.\"http://127.0.0.1:5151\"]\n") != std::string::npos);
  CHECK(node.said.find("s3cret-word") == std::string::npos);
  CHECK(node.said.find("dTpzM2NyZXQtd29yZA") == std::string::npos);
  undo.dry_run = false;
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.everything() == before);
  CHECK(node.reloads == 2);
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.said.find("nothing to undo") != std::string::npos);
}

TEST_CASE("--undo takes only its own lines out of a file that somebody changed since") {
  ContainerdNode node;
  REQUIRE(node.session(node.options("containerd")));
  node.write(kHub, node.read(kHub) + "\n[host.\"https://second.corp\"]\n");
  auto undo = node.options("containerd");
  undo.undo = true;
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.read(kHub).find("127.0.0.1:5151") == std::string::npos);
  CHECK(node.read(kHub).find("second.corp") != std::string::npos);
}

TEST_CASE("--undo takes its line out of a config.yaml that somebody changed since, and the file it names") {
  ContainerdNode node;
  REQUIRE(node.session(node.options("containerd")));
  node.write("/etc/layerd/config.yaml", node.read("/etc/layerd/config.yaml") + "log: {level: warn}\n");
  auto undo = node.options("containerd");
  undo.undo = true;
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.read("/etc/layerd/config.yaml") == "# ours\nlisten: 127.0.0.1:5151\nlog: {level: warn}\n");
  CHECK_FALSE(std::filesystem::exists(node.path("/etc/layerd/runtimes.yaml")));
  SECTION("and where the line is written anew by hand, the file stays and says nothing") {
    REQUIRE(message_of(node.session(node.options("containerd"))) == "");
    node.write("/etc/layerd/config.yaml",
               "registries_file: " + node.path("/etc/layerd/runtimes.yaml") + " # mine\n");
    CHECK(message_of(node.session(undo)) == "");
    CHECK(layerd::daemon::load_config(node.path("/etc/layerd/config.yaml")).ok());
    CHECK(node.read("/etc/layerd/runtimes.yaml").find("harbor") == std::string::npos);
  }
}

// rules: setup-diff-without-secrets
TEST_CASE("--dry-run shows a diff with secrets masked and changes nothing") {
  ContainerdNode node;
  const auto before = node.everything();
  auto dry = node.options("containerd");
  dry.dry_run = true;
  CHECK(message_of(node.session(dry)) == "");
  CHECK(node.everything() == before);
  CHECK_FALSE(std::filesystem::exists(node.path("/var/lib/layerd-setup")));
  CHECK(node.reloads == 0);
  CHECK(node.probes.empty());
  CHECK(node.said.find("--- " + node.path(kHub) + "\n+++ " + node.path(kHub) + "\n@@ ") != std::string::npos);
  CHECK(node.said.find("+[host.\"http://127.0.0.1:5151\"]\n") != std::string::npos);
  CHECK(node.said.find("s3cret-word") == std::string::npos);
  CHECK(node.said.find("dTpzM2NyZXQtd29yZA") == std::string::npos);
  node.down = true;
  CHECK(message_of(node.session(dry)) == "");
}

TEST_CASE("without a daemon nothing is set up") {
  ContainerdNode node;
  const auto before = node.everything();
  node.down = true;
  const auto refused = node.session(node.options("containerd"));
  CHECK(message_of(refused).find("start it first") != std::string::npos);
  CHECK(node.everything() == before);
}

// rules: setup-probe-first
TEST_CASE("no pull through layerd, no change: all that was written for it is put back") {
  ContainerdNode node;
  const auto before = node.everything();
  node.comes_through = false;
  const auto failed = node.session(node.options("containerd"));
  CHECK(message_of(failed).find("no image came through layerd") == 0);
  CHECK(message_of(failed).find("502: no route") != std::string::npos);
  CHECK(message_of(failed).find("every file is as it was before") != std::string::npos);
  CHECK(node.probes.size() == 2);
  CHECK(node.everything() == before);
  CHECK(node.reloads == 2);  // once to try, once to go back
}

// rules: setup-sees-it-arrive
TEST_CASE("what fails after the runtime was pointed at layerd is rolled back") {
  ContainerdNode node;
  const auto before = node.everything();
  node.arrives = false;
  const auto failed = node.session(node.options("containerd"));
  CHECK(message_of(failed).find("does not ask it for docker.io/library/busybox:1") != std::string::npos);
  CHECK(node.everything() == before);
  SECTION("and so is a configuration that layerd refuses") {
    node.arrives = true;
    node.refuse_reload = node.reloads + 1;
    CHECK(message_of(node.session(node.options("containerd"))).find("layerd refuses its configuration") == 0);
    CHECK(node.everything() == before);
  }
}

TEST_CASE("--verify tells host by host whether requests arrive") {
  ContainerdNode node;
  REQUIRE(node.session(node.options("containerd")));
  auto verify = node.options("containerd");
  verify.verify = true;
  CHECK(message_of(node.session(verify)) == "");
  CHECK(node.said.find("ok docker.io: 1 requests for docker.io/library/busybox:1 arrived\n") !=
        std::string::npos);
  CHECK(node.said.find("ok ghcr.io: 1 requests for ghcr.io/org/app:2 arrived\n") != std::string::npos);
  node.comes_through = false;
  CHECK(message_of(node.session(verify)) == "");
  CHECK(
      node.said.find(
          "arrived; but it does not come through layerd: ghcr.io/org/app:2: layerd answers 502: no route") !=
      std::string::npos);
  node.arrives = false;
  CHECK(message_of(node.session(verify)).find("containerd does not ask layerd for docker.io, ghcr.io") == 0);
}

TEST_CASE("where there is crictl the test pull goes its way, by digest") {
  ContainerdNode node;
  node.cri_images =
      "{\"images\": [{\"repoTags\": [\"docker.io/library/busybox:1\"], \"repoDigests\": "
      "[\"docker.io/library/busybox@sha256:00\"]}]}";
  REQUIRE(message_of(node.session(node.options("containerd"))) == "");
  CHECK(node.ran.back().find("pull docker.io/library/busybox@sha256:00 ") != std::string::npos);
  CHECK(node.ran.back().starts_with("crictl --runtime-endpoint unix://" +
                                    node.path("/run/containerd/containerd.sock")));
}

TEST_CASE("two runtimes share the file of copies; the undo of one leaves what the other brought") {
  ContainerdNode node;
  node.write("/etc/rancher/k3s/registries.yaml",
             "configs:\n  \"reg.corp:5000\":\n    auth: {username: u, password: other}\n");
  const auto before = node.everything();
  REQUIRE(message_of(node.session(node.options("containerd"))) == "");
  REQUIRE(message_of(node.session(node.options("k3s"))) == "");
  CHECK(node.read("/etc/layerd/runtimes.yaml").find("harbor.corp") != std::string::npos);
  CHECK(node.read("/etc/layerd/runtimes.yaml").find("reg.corp:5000") != std::string::npos);
  auto undo = node.options("containerd");
  undo.undo = true;
  REQUIRE(message_of(node.session(undo)) == "");
  CHECK(node.read("/etc/layerd/runtimes.yaml").find("harbor.corp") == std::string::npos);
  CHECK(node.read("/etc/layerd/runtimes.yaml").find("reg.corp:5000") != std::string::npos);
  CHECK(layerd::daemon::load_config(node.path("/etc/layerd/config.yaml")).ok());
  undo.runtime = "k3s";
  REQUIRE(message_of(node.session(undo)) == "");
  CHECK_FALSE(std::filesystem::exists(node.path("/etc/layerd/runtimes.yaml")));
  CHECK(layerd::daemon::load_config(node.path("/etc/layerd/config.yaml")).ok());
  CHECK(node.everything() == before);
}

TEST_CASE("a registries_file of the user's own is not touched; the sentence says what to do") {
  ContainerdNode node;
  node.write("/srv/mine.yaml", "mirrors: {}\n");
  node.write("/etc/layerd/config.yaml", "registries_file: " + node.path("/srv/mine.yaml") + "\n");
  const auto refused = node.session(node.options("containerd"));
  CHECK(message_of(refused).find("config.yaml:1: registries_file is " + node.path("/srv/mine.yaml") +
                                 " already") != std::string::npos);
  CHECK(node.read(kHub).find("127.0.0.1") == std::string::npos);
}

TEST_CASE("a registries.yaml that layerd reads itself is not copied") {
  Node node;
  const std::string path = node.path("/etc/rancher/k3s/registries.yaml");
  node.write("/etc/rancher/k3s/registries.yaml",
             "mirrors:\n  docker.io:\n    endpoint: [\"https://m.corp\"]\n");
  node.write("/etc/layerd/config.yaml", "registries_file: " + path + "\n");
  const std::string config = node.read("/etc/layerd/config.yaml");
  REQUIRE(message_of(node.session(node.options("k3s"))) == "");
  CHECK(node.read("/etc/layerd/config.yaml") == config);
  CHECK(node.said.find("layerd reads " + path + " itself") != std::string::npos);
}

TEST_CASE("a registries.yaml with rewrites must not be read by layerd as well: they would count twice") {
  Node node;
  const std::string path = node.path("/etc/rancher/k3s/registries.yaml");
  node.write(
      "/etc/rancher/k3s/registries.yaml",
      "mirrors:\n  docker.io:\n    endpoint: [\"https://m.corp\"]\n    rewrite: {\"^(.*)$\": \"hub/$1\"}\n");
  node.write("/etc/layerd/config.yaml", "registries_file: " + path + "\n");
  CHECK(message_of(node.session(node.options("k3s"))).find("config.yaml:1: registries_file is " + path) !=
        std::string::npos);
  CHECK(node.read("/etc/rancher/k3s/registries.yaml").find("127.0.0.1") == std::string::npos);
}

TEST_CASE("what config.yaml says already is not copied a second time") {
  ContainerdNode node;
  node.write("/etc/layerd/config.yaml",
             "mirrors:\n  docker.io: {endpoint: [\"https://other.corp\"]}\nconfigs:\n  harbor.corp: {auth: "
             "{username: a, password: b}}\n");
  REQUIRE(message_of(node.session(node.options("containerd"))) == "");
  CHECK(node.said.find("has mirrors.\"docker.io\" already and wins") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(node.path("/etc/layerd/runtimes.yaml")));
}

TEST_CASE("a runtime that is not there is said to be missing") {
  Node node;
  CHECK(message_of(node.session(node.options("k3s"))).find("no k3s was found below " + node.dir.path()) == 0);
}
