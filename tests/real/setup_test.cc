// `layerd setup` with a real containerd, skopeo, registry and daemon: points them at layerd, shows that
// requests arrive, and gives every file back.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "tests/real/real.h"
#include "tests/support/free_port.h"

using namespace layerd::test;
namespace fs = std::filesystem;

namespace {

std::map<std::string, std::string> files_below(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    files[entry.path()] = entry.is_directory() ? "(folder)" : read_text(entry.path());
  return files;
}

// layerd's own configuration in `folder`, and what setup may have left beside it.
std::map<std::string, std::string> config_of(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name == "config.yaml" || name == "runtimes.yaml" || name.starts_with("from-") ||
        name.starts_with("."))
      files[name] = entry.is_directory() ? "(folder)" : read_text(entry.path());
  }
  return files;
}

// A registry that takes connections and never answers.
class SilentRegistry {
 public:
  SilentRegistry() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address_;
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address_), size) == 0);
    REQUIRE(::listen(fd_, 64) == 0);
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &size) == 0);
  }
  ~SilentRegistry() { ::close(fd_); }
  SilentRegistry(const SilentRegistry&) = delete;
  SilentRegistry& operator=(const SilentRegistry&) = delete;
  std::string url() const { return fmt::format("http://127.0.0.1:{}", ntohs(address_.sin_port)); }

 private:
  sockaddr_in address_{};
  int fd_;
};

// Runs `layerd setup …` on the node in `root` with the daemon's own configuration.
Finished set_up(const Layerd& layerd, std::vector<std::string> arguments, const std::string& root) {
  std::vector<std::string> all = {"setup", "--root", root};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return layerd.command(std::move(all));
}

}  // namespace

TEST_CASE("setup containerd: probe, point, pull through layerd, verify, undo to the byte", "[real][setup]") {
  TempDir dir;
  const std::string root = dir / "node";
  const Image image = make_image({{100 * 1024}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  fs::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", "");
  Containerd containerd(root + "/containerd");
  const std::string hosts = root + "/etc/containerd/certs.d";
  write_text(
      root + "/etc/containerd/config.toml",
      fmt::format("version = 2\n# of the node\n[grpc]\n  address = \"{0}/containerd/containerd.sock\"\n"
                  "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = "
                  "\"{0}/etc/containerd/certs.d\"\n",
                  root));
  write_text(hosts + "/registry.test/hosts.toml",
             fmt::format("# ours: registry.test lives elsewhere\nserver = \"{0}\"\n[host.\"{0}\"]\n",
                         registry.url()));
  const auto pull = [&](const std::string& reference) {
    return containerd.ctr({"images", "pull", "--hosts-dir", hosts, "--snapshotter", "native", reference});
  };
  const Finished before_setup = pull("registry.test/team/app:1");
  INFO(before_setup.output);
  REQUIRE(before_setup.status == 0);
  const auto before = files_below(root + "/etc"), config = files_below(dir / "layerd");

  const Finished dry = set_up(layerd, {"containerd", "--dry-run"}, root);
  INFO(dry.output);
  REQUIRE(dry.status == 0);
  CHECK(dry.output.find("+[host.\"" + layerd.url() + "\"]") != std::string::npos);
  CHECK(files_below(root + "/etc") == before);

  const Finished done = set_up(layerd, {"containerd"}, root);
  INFO(done.output << layerd.log());
  REQUIRE(done.status == 0);
  CHECK(done.output.find("probe: registry.test/team/app:1 came through layerd") != std::string::npos);
  CHECK(done.output.find("containerd: registry.test/team/app:1 is asked for at layerd") != std::string::npos);
  CHECK(read_text(hosts + "/registry.test/hosts.toml").find("# ours: registry.test lives elsewhere") == 0);
  CHECK(set_up(layerd, {"containerd"}, root).output.find("nothing to do") != std::string::npos);

  // The registry goes; containerd, in a store as good as new, pulls what layerd has.
  registry.stop();
  CHECK(containerd.remove("registry.test/team/app:1").status == 0);
  const Finished cached = pull("registry.test/team/app:1");
  INFO(cached.output);
  CHECK(cached.status == 0);
  CHECK(containerd.has_content(image.layers[0]));

  const Finished verified = set_up(layerd, {"containerd", "--verify"}, root);
  INFO(verified.output);
  CHECK(verified.status == 0);
  CHECK(verified.output.find("ok registry.test: ") != std::string::npos);
  CHECK(verified.output.find("-  docker.io: the node has no image of it") != std::string::npos);

  const Finished undone = set_up(layerd, {"containerd", "--undo"}, root);
  INFO(undone.output);
  CHECK(undone.status == 0);
  CHECK(files_below(root + "/etc") == before);
  CHECK(read_text(dir / "layerd/config.yaml") == config.at(dir / "layerd/config.yaml"));
  CHECK_FALSE(fs::exists(dir / "layerd/runtimes.yaml"));
  const Finished silent = set_up(layerd, {"containerd", "--verify"}, root);
  CHECK(silent.status == 1);
  CHECK(silent.output.find("containerd does not ask layerd for registry.test") != std::string::npos);
}

TEST_CASE("setup containerd: no image comes through, nothing is changed", "[real][setup]") {
  TempDir dir;
  const std::string root = dir / "node";
  fs::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd",
                fmt::format("mirrors: {{registry.test: {{endpoint: [\"http://127.0.0.1:{}\"], "
                            "default_endpoint: false}}}}\n",
                            free_port()));
  write_text(root + "/etc/containerd/config.toml", "version = 2\n");
  const auto before = files_below(root + "/etc");
  const Finished failed = set_up(layerd, {"containerd", "--image", "registry.test/team/app:1"}, root);
  INFO(failed.output);
  CHECK(failed.status == 1);
  CHECK(failed.output.find("no image came through layerd") != std::string::npos);
  CHECK(failed.output.find("registry.test/team/app:1: layerd answers 502: ") != std::string::npos);
  CHECK(files_below(root + "/etc") == before);
}

TEST_CASE("setup podman: skopeo goes by registries.conf.d through layerd and back", "[real][setup]") {
  TempDir dir;
  const std::string root = dir / "node";
  const Image image = make_image({{10 * 1024}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  fs::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  write_text(root + "/etc/containers/policy.json",
             "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n");
  write_text(root + "/etc/containers/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n");
  const auto before = files_below(root + "/etc");
  // skopeo knows one /etc/containers alone: it gets the node's in a mount namespace of its own.
  const auto inside = [&](const std::string& more) {
    return run(
        {"unshare", "-m", "sh", "-c",
         fmt::format("mount --make-rprivate / && mount --bind {0}/etc/containers /etc/containers && {1}",
                     root, more)});
  };
  const std::string command =
      fmt::format("{}/layerd --config {} setup podman --root {} --image registry.test/team/app:1 ",
                  LAYERD_BINARY_DIR, layerd.config_file(), root);
  const Finished done = inside(command);
  INFO(done.output << layerd.log());
  REQUIRE(done.status == 0);
  CHECK(done.output.find("podman: registry.test/team/app:1 is asked for at layerd") != std::string::npos);
  const Finished copied = inside("skopeo copy docker://registry.test/team/app:1 dir:" + (dir / "copy"));
  INFO(copied.output);
  CHECK(copied.status == 0);
  const Finished verified = inside(command + "--verify");
  INFO(verified.output);
  CHECK(verified.status == 0);
  CHECK(verified.output.find("ok registry.test: ") != std::string::npos);
  CHECK(inside(command).output.find("nothing to do") != std::string::npos);
  CHECK(inside(command + "--undo").status == 0);
  CHECK(files_below(root + "/etc") == before);
}

TEST_CASE("setup killed with -9 while it writes is put right by the next one", "[real][setup]") {
  TempDir dir;
  const std::string root = dir / "node";
  const Image image = make_image({{10 * 1024}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  fs::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  write_text(root + "/etc/containerd/config.toml",
             fmt::format("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = "
                         "\"{}/etc/containerd/certs.d\"\n",
                         root));
  const auto before = files_below(root + "/etc");
  const std::vector<std::string> arguments = {LAYERD_BINARY_DIR "/layerd",
                                              "--config",
                                              layerd.config_file(),
                                              "setup",
                                              "containerd",
                                              "--root",
                                              root,
                                              "--image",
                                              "registry.test/team/app:1"};
  const auto config = config_of(dir / "layerd");
  const std::string records = root + "/var/lib/layerd-setup", record = records + "/containerd/record.json";
  // The record is there, but the run is not done: that is the moment.
  for (const int delay_ms : {0, 1, 3, 6, 10, 20}) {
    INFO("killed " << delay_ms << " ms after its record was there");
    Process setup({arguments, {}, dir / "killed.log"});
    for (int tries = 0; tries < 20000 && setup.running() && !fs::exists(record); ++tries)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    setup.stop(SIGKILL);
    Finished again = run(arguments);
    INFO(again.output);
    CHECK(again.status == 0);
    again = set_up(layerd, {"containerd", "--undo"}, root);
    INFO(again.output);
    CHECK(again.status == 0);
    CHECK(files_below(root + "/etc") == before);
    CHECK(config_of(dir / "layerd") == config);
    for (const auto& [path, text] : files_below(records))
      CHECK((text == "(folder)" || path == records + "/lock"));
  }
}

TEST_CASE("setup interrupted while it probes puts everything back", "[real][setup]") {
  TempDir dir;
  const std::string root = dir / "node";
  const SilentRegistry registry;
  fs::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  write_text(root + "/etc/containerd/config.toml", "version = 2\n");
  write_text(root + "/etc/containerd/certs.d/docker.io/hosts.toml", "[host.\"https://m.corp\"]\n");
  const auto before = files_below(root + "/etc");
  const auto config = config_of(dir / "layerd");
  Process setup({{LAYERD_BINARY_DIR "/layerd", "--config", layerd.config_file(), "setup", "containerd",
                  "--root", root, "--image", "registry.test/team/app:1"},
                 {},
                 dir / "interrupted.log"});
  // It writes layerd's configuration, says so to the daemon, and waits for the registry.
  for (int tries = 0; tries < 20000 && setup.running() && !fs::exists(dir / "layerd/runtimes.yaml"); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  setup.send(SIGINT);
  const auto status = setup.wait(std::chrono::seconds(20));
  INFO(setup.output());
  CHECK(status == 1);
  CHECK(setup.output().find("setup was interrupted; every file is as it was before") != std::string::npos);
  CHECK(files_below(root + "/etc") == before);
  CHECK(config_of(dir / "layerd") == config);
}
