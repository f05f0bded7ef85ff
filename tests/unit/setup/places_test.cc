// Odd files, links and modes that setup meets; what a terminal must not show; a daemon that does not answer.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/setup/diff.h"
#include "tests/unit/setup/node.h"

using namespace layerd::test;
using namespace layerd::daemon::setup;
using layerd::Errc;

namespace {

unsigned mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777u : 0u;
}

// A socket that takes connections and never answers.
struct Silent {
  Silent() : fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd, 8) == 0);
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    listen = fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
  }
  ~Silent() { ::close(fd); }
  int fd;
  std::string listen;
};

}  // namespace

// rules: setup-writes-in-its-place
TEST_CASE("setup refuses places that it must not write to, in a dry run as well") {
  ContainerdNode node;
  namespace fs = std::filesystem;
  const std::string hub = node.path(kHub);
  const TempDir elsewhere;
  std::string reason;
  bool is_reading = false;
  SECTION("a link that leads nowhere") {
    fs::remove(hub);
    fs::create_symlink(node.path("/gone"), hub);
    reason = hub + " is a link to something that is not there";
  }
  SECTION("a link that leads out of the node's root") {
    write_text(elsewhere / "hosts.toml", "[host.\"https://m.corp\"]\n");
    fs::remove(hub);
    fs::create_symlink(elsewhere / "hosts.toml", hub);
    reason = hub + " leads to " + (elsewhere / "hosts.toml");
  }
  SECTION("a folder of the path that leads out of it") {
    fs::create_symlink(elsewhere.path(), node.path("/etc/containerd/certs.d/ghcr.io"));
    reason = node.path("/etc/containerd/certs.d/ghcr.io/hosts.toml") + " leads to";
  }
  SECTION("a file of layerd's own that is a link") {
    node.write("/etc/passwd", "root\n");
    fs::create_symlink(node.path("/etc/passwd"), node.path("/etc/layerd/runtimes.yaml"));
    reason = node.path("/etc/layerd/runtimes.yaml") + " is layerd's own file and must not be a link";
  }
  SECTION("a pipe, which would be read for ever") {
    fs::remove(hub);
    REQUIRE(::mkfifo(hub.c_str(), 0600) == 0);
    reason = hub + " is no plain file";
    is_reading = true;
  }
  auto dry = node.options("containerd");
  dry.dry_run = true;
  CHECK(message_of(node.session(dry)).find(reason) == 0);
  CHECK(message_of(node.session(node.options("containerd"))).find(reason) == 0);
  CHECK(node.reloads == 0);
  CHECK(node.records().empty());
  if (!is_reading) CHECK(node.read("/etc/layerd/config.yaml").find("registries_file") == std::string::npos);
}

TEST_CASE("a link within the node stays a link, a masked unit is an empty one") {
  ContainerdNode node;
  namespace fs = std::filesystem;
  const std::string hub = node.read(kHub);
  fs::rename(node.path(kHub), node.path("/etc/hub.toml"));
  fs::create_symlink("../../../hub.toml", node.path(kHub));
  fs::create_directories(node.path("/etc/systemd/system"));
  fs::create_symlink("/dev/null", node.path("/etc/systemd/system/k3s.service"));
  REQUIRE(message_of(node.session(node.options("containerd"))) == "");
  CHECK(fs::is_symlink(node.path(kHub)));
  CHECK(node.read("/etc/hub.toml").find("127.0.0.1:5151") != std::string::npos);
  CHECK(RootFiles(node.dir.path()).read("/etc/systemd/system/k3s.service") == "");
  auto undo = node.options("containerd");
  undo.undo = true;
  REQUIRE(message_of(node.session(undo)) == "");
  CHECK(fs::is_symlink(node.path(kHub)));
  CHECK(node.read("/etc/hub.toml") == hub);
}

TEST_CASE("new files have their modes whatever the umask is, old files and folders keep theirs") {
  ContainerdNode node;
  REQUIRE(::chmod(node.path(kHub).c_str(), 0640) == 0);
  REQUIRE(::chmod(node.path("/etc/containerd/certs.d").c_str(), 0711) == 0);
  const mode_t umask = ::umask(0077);
  const auto done = node.session(node.options("containerd"));
  ::umask(umask);
  CHECK(message_of(done) == "");
  CHECK(mode_of(node.path(kHub)) == 0640);
  CHECK(mode_of(node.path("/etc/containerd/certs.d")) == 0711);
  CHECK(mode_of(node.path("/etc/containerd/certs.d/ghcr.io")) == 0755);
  CHECK(mode_of(node.path("/etc/containerd/certs.d/ghcr.io/hosts.toml")) == 0644);
  CHECK(mode_of(node.path("/etc/layerd/runtimes.yaml")) == 0600);
  CHECK(mode_of(node.path("/var/lib/layerd-setup/containerd/record.json")) == 0600);
}

TEST_CASE("the flag that setup gave k3s goes with the undo of a config.yaml that somebody changed since") {
  Node node;
  node.write("/etc/rancher/k3s/config.yaml", "# server\n");
  node.write("/etc/layerd/config.yaml", "# ours\nlisten: 127.0.0.1:5151\n");
  auto close = node.options("k3s");
  close.no_fallback = true;
  REQUIRE(message_of(node.session(close)) == "");
  const std::string flag = "disable-default-registry-endpoint: true\n";
  CHECK(node.read("/etc/rancher/k3s/config.yaml").find(flag) != std::string::npos);
  node.write("/etc/rancher/k3s/config.yaml", node.read("/etc/rancher/k3s/config.yaml") + "debug: true\n");
  auto undo = node.options("k3s");
  undo.undo = true;
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.read("/etc/rancher/k3s/config.yaml") == "# server\ndebug: true\n");
}

TEST_CASE("layerd is taken out of a registries.yaml of another name as well") {
  Node node;
  node.write("/etc/rancher/k3s/config.yaml", "private-registry: /srv/reg.yaml\n");
  REQUIRE(message_of(node.session(node.options("k3s"))) == "");
  node.write("/srv/reg.yaml", node.read("/srv/reg.yaml") + "# mine\n");
  auto undo = node.options("k3s");
  undo.undo = true;
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.read("/srv/reg.yaml").find("127.0.0.1") == std::string::npos);
  CHECK(node.read("/srv/reg.yaml").find("# mine\n") != std::string::npos);
}

TEST_CASE("a registries.conf.d file that somebody put in the place of layerd's stays at the undo") {
  Node node;
  const std::string path = "/etc/containers/registries.conf.d/zz-layerd.conf";
  node.write("/etc/containers/registries.conf", "");
  REQUIRE(message_of(node.session(node.options("podman"))) == "");
  node.write(path, "[[registry]]\nlocation = \"mine.corp\"\n");
  auto undo = node.options("podman");
  undo.undo = true;
  CHECK(message_of(node.session(undo)) == "");
  CHECK(node.read(path) == "[[registry]]\nlocation = \"mine.corp\"\n");
}

TEST_CASE("values over several lines are masked; what is no text, and what steers a terminal, is not shown") {
  CHECK(masked("a:\n  password: |\n    hunter2\n\n    more\n  user: u\n", {}) ==
        "a:\n  password: |\n    ****\n  user: u\n");
  CHECK(masked("password: >-\n  hunter2", {}) == "password: >-\n  ****\n");
  CHECK(masked("password = '''hunter2\nmore'''\nx = 1\n", {}) == "password = '''****'''\nx = 1\n");
  CHECK(masked("password = \"\"\"hunter2", {}) == "password = \"\"\"****");
  FileChange change;
  change.path = "/etc/layerd/from-k3s/a-client.key";
  change.after = std::string("\x30\x82\x04\0hidden", 10);
  CHECK(unified_diff(change, {}).find("hidden") == std::string::npos);
  CHECK(unified_diff(change, {}).find("10 bytes that are no text") != std::string::npos);
  change.after = "a\tb \x1b[2J\x7f\r\n";
  CHECK(unified_diff(change, {}).find("+a\tb ?[2J?\r\n") != std::string::npos);
}

// rules: setup-probe-is-interrupted
TEST_CASE("a probe that waits for an answer ends when it is interrupted") {
  const Silent layerd;
  const auto begun = std::chrono::steady_clock::now();
  int asked = 0;
  const auto pulled = pull_through(layerd.listen, "docker.io/library/busybox:1", std::chrono::seconds(30),
                                   [&] { return ++asked > 1; });
  REQUIRE_FALSE(pulled);
  CHECK(pulled.error().code == Errc::canceled);
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(15));
}

TEST_CASE("a program that runs on ends when setup is interrupted") {
  int asked = 0;
  RealPrograms programs([&] { return ++asked > 3; });
  const auto ran = programs.run({"sleep", "30"}, std::chrono::seconds(20));
  REQUIRE_FALSE(ran);
  CHECK(ran.error().code == Errc::canceled);
}
