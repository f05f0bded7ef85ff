// What only root may read: the daemon without rights gets it from the root helper, which gives away nothing
// that root's configuration does not name.
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "tests/real/real.h"
#include "tests/support/free_port.h"

using namespace layerd::test;
using std::chrono::seconds;
namespace fs = std::filesystem;

namespace {

constexpr uid_t kNobody = 65534;
constexpr const char* kBinary = LAYERD_BINARY_DIR "/layerd";

void put(const std::string& path, const std::string& text, mode_t mode) {
  write_text(path, text);
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

std::vector<std::string> as_nobody(std::vector<std::string> arguments) {
  std::vector<std::string> all = {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

struct Site {
  Site() {
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    fs::create_directory(dir / "state");
    REQUIRE(::chown((dir / "state").c_str(), kNobody, kNobody) == 0);
    fs::create_directory(dir / "hidden");
    REQUIRE(::chmod((dir / "hidden").c_str(), 0700) == 0);
    put(config,
        fmt::format("listen: 127.0.0.1:{}\nadmin: {{socket: {}}}\n"
                    "cache: {{path: {}, max_size: 1GiB, min_free: 1MiB}}\nregistries_file: {}\n",
                    port, dir / "state/admin.sock", dir / "state/cache", registries),
        0644);
  }
  // systemd's part: the socket, and the helper behind it at the first question.
  void start_helper() {
    helper.emplace(Command{
        {"systemd-socket-activate", "--seqpacket", "-l", socket, kBinary, "--config", config, "root-helper"},
        {},
        dir / "helper.log"});
    for (int i = 0; i < 500 && !fs::exists(socket); ++i) ::usleep(20'000);
    REQUIRE(::chown(socket.c_str(), kNobody, kNobody) == 0);
  }
  Finished check(const std::string& file) const {
    return run(as_nobody({kBinary, "--config", file, "config", "--check"}), seconds(60),
               {{"LAYERD_OPENER", socket}});
  }

  TempDir dir{"layerd-opener"};
  const std::uint16_t port = free_port();
  const std::string config = dir / "config.yaml", registries = dir / "registries.yaml";
  const std::string socket = dir / "opener.sock";
  std::optional<Process> helper;
};

// A root helper that takes the question and never answers it.
class MuteHelper {
 public:
  explicit MuteHelper(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_, 8) == 0);
    REQUIRE(::chown(path.c_str(), kNobody, kNobody) == 0);
  }
  MuteHelper(const MuteHelper&) = delete;
  ~MuteHelper() {
    ::close(asked_);
    ::close(listener_);
  }
  // Waits for the first question.
  void wait() {
    pollfd waiting{listener_, POLLIN, 0};
    REQUIRE(::poll(&waiting, 1, 30'000) == 1);
    asked_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  }
  // Whether who asked still waits for the answer.
  bool is_waited_for() const {
    char question[512];
    while (true) {
      const auto size = ::recv(asked_, question, sizeof question, MSG_DONTWAIT);
      if (size <= 0) return size < 0;
    }
  }

 private:
  int listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  int asked_ = -1;
};

}  // namespace

TEST_CASE("registries.yaml and a password that only root may read reach the daemon through the root helper",
          "[opener]") {
  Site site;
  TempDir registry_dir("layerd-registry");
  place_in_storage(make_image({{3000}}), registry_dir / "storage", "team/app", "1");
  RegistrySettings settings{registry_dir / "storage"};
  settings.user = "me", settings.password = "s3cret";
  DockerRegistry registry(registry_dir / "registry", settings);
  put(site.dir / "hidden/password", "s3cret\n", 0600);
  put(site.registries,
      fmt::format("mirrors: {{site.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n"
                  "configs: {{\"{}\": {{auth: {{username: me, password_file: {}}}}}}}\n",
                  registry.url(), registry.address(), site.dir / "hidden/password"),
      0600);
  SECTION("without it the check names the owner") {
    const Finished checked = site.check(site.config);
    CHECK(checked.status == 2);
    CHECK(checked.output.find("it belongs to root and has mode 0600") != std::string::npos);
    CHECK(checked.output.find("the root helper: it does not answer at") != std::string::npos);
  }
  SECTION("with it a pull works") {
    site.start_helper();
    Process daemon({as_nobody({kBinary, "--config", site.config, "serve"}),
                    {{"LAYERD_OPENER", site.socket}},
                    site.dir / "layerd.log"});
    REQUIRE(wait_for_port(site.port, seconds(30)));
    const auto pulled = probe({site.port, "/v2/team/app/manifests/1?ns=site.test"});
    INFO(daemon.output() << site.helper->output());
    CHECK(pulled.status == 200);
    CHECK(daemon.output().find("s3cret") == std::string::npos);
    CHECK(site.helper->output().find("s3cret") == std::string::npos);
  }
}

TEST_CASE("the root helper opens nothing that root's configuration does not name", "[opener]") {
  Site site;
  put(site.registries, "mirrors: {}\n", 0600);
  site.start_helper();
  CHECK(site.check(site.config).status == 0);
  put(site.dir / "other.yaml", "registries_file: /etc/shadow\n", 0644);
  const Finished other = site.check(site.dir / "other.yaml");
  CHECK(other.status == 2);
  CHECK(other.output.find("root's configuration does not name this file") != std::string::npos);
  // What others may write could lead anywhere.
  put(site.registries, "mirrors: {}\n", 0600);
  REQUIRE(::chown(site.registries.c_str(), kNobody, kNobody) == 0);
  REQUIRE(::chmod(site.registries.c_str(), 0000) == 0);
  const Finished foreign = site.check(site.config);
  CHECK(foreign.status == 2);
  CHECK(foreign.output.find("belongs to user 65534 and not to root") != std::string::npos);
}

// rules: reload-off-the-loop
TEST_CASE("requests are answered while a reload waits for a root helper that is mute", "[opener]") {
  Site site;
  put(site.registries, "mirrors: {}\n", 0644);
  MuteHelper helper(site.socket);
  Process daemon({as_nobody({kBinary, "--config", site.config, "serve"}),
                  {{"LAYERD_OPENER", site.socket}},
                  site.dir / "layerd.log"});
  REQUIRE(daemon.wait_for_output("event=serving", seconds(30)));  // from here on SIGHUP is heard
  REQUIRE(::chmod(site.registries.c_str(), 0600) == 0);
  daemon.send(SIGHUP);
  helper.wait();
  CHECK(probe({site.port, "/healthz"}).status == 200);
  CHECK(helper.is_waited_for());
  // What cannot be read is named, and nothing changes.
  CHECK(daemon.wait_for_output("event=config_refused", seconds(20)));
  CHECK(probe({site.port, "/healthz"}).status == 200);
}
