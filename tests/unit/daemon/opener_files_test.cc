// TLS files that only root may read, as a daemon without rights comes by them: through the root helper. The
// helper runs on a thread with root's rights to files, the test on one without (setfsuid).
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "daemon/opener_command.h"
#include "proxy/net/certs_folder.h"
#include "proxy/net/peer_secret.h"
#include "proxy/net/tls_context.h"
#include "runtime/guarded_file.h"
#include "systemd/opener.h"
#include "tests/support/catch.h"
#include "tests/support/private_ca.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::test;
namespace fs = std::filesystem;

namespace {

constexpr uid_t kNobody = 65534;

// This thread's rights to files are those of nobody.
struct AsNobody {
  AsNobody() { ::setfsuid(kNobody); }
  ~AsNobody() { ::setfsuid(0); }
};

void put(const std::string& path, const std::string& text, mode_t mode) {
  write_text(path, text);
  REQUIRE(::chmod(path.c_str(), mode) == 0);
}

struct HelpedSite {
  HelpedSite() {
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    for (const char* name : {"hidden", "cas", "certs.d", "certs.d/reg.test"})
      fs::create_directory(dir / name);
    REQUIRE(::chmod((dir / "hidden").c_str(), 0700) == 0);
    put(dir / "hidden/ca.crt", read_text(ca.ca_file()), 0600);
    for (const char* name : {"hidden/peer.key", "hidden/other.key"})
      put(dir / name, net::PeerSecret::make() + "\n", 0600);
    put(dir / "cas/one.pem", read_text(ca.ca_file()), 0600);
    put(dir / "certs.d/reg.test/ca.crt", read_text(ca.ca_file()), 0600);
    put(dir / "certs.d/reg.test/notes.txt", "none of its business", 0600);
    put(config,
        "configs: {reg.test: {tls: {ca_file: " + (dir / "hidden/ca.crt") + ", ca_dir: " + (dir / "cas") +
            "}}}\ncerts_dirs: [" + (dir / "certs.d") +
            "]\npeers: {listen: '[::]:5152', members: [10.0.0.2], secret_file: " + (dir / "hidden/peer.key") +
            "}\n",
        0644);
    REQUIRE(::setenv(kOpenerVariable, socket.c_str(), 1) == 0);
    listener = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(socket.size() < sizeof address.sun_path);
    socket.copy(address.sun_path, socket.size());
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener, 8) == 0);
    REQUIRE(::chmod(socket.c_str(), 0777) == 0);
    helper = std::thread([this] {
      static_cast<void>(
          systemd::serve_opener(listener, [this] { return daemon::files_for_opener(config, true); }, {}));
    });
  }
  ~HelpedSite() {
    ::shutdown(listener, SHUT_RDWR);  // ends the wait of the helper
    helper.join();
    ::close(listener);
    ::unsetenv(kOpenerVariable);
  }
  Result<net::TlsContextPtr> build(net::TlsSettings settings) {
    const AsNobody nobody;
    complaint.clear();
    return net::TlsContext::build(settings, complaint);
  }

  TempDir dir{"layerd-opener"};
  PrivateCa ca{dir / "ca"};
  const std::string config = dir / "config.yaml", socket = dir / "opener.sock";
  int listener = -1;
  std::string complaint;
  std::thread helper;
};

}  // namespace

TEST_CASE("the root helper's list has the certificates and keys of the folders that are configured") {
  if (::geteuid() != 0) return;
  HelpedSite site;
  const auto files = daemon::files_for_opener(site.config, true);
  REQUIRE(files);
  const auto has = [&](const std::string& name) {
    return std::find(files->begin(), files->end(), site.dir / name) != files->end();
  };
  CHECK(has("hidden/ca.crt"));
  CHECK(has("cas/one.pem"));
  CHECK(has("certs.d/reg.test/ca.crt"));
  CHECK_FALSE(has("certs.d/reg.test/notes.txt"));
}

// As README has it: `layerd peers secret -o` by root, and a daemon that is not root.
TEST_CASE("the secret of a site that only root may read comes through the root helper") {
  if (::geteuid() != 0) return;
  HelpedSite site;
  const AsNobody nobody;
  const auto secrets = net::PeerSecret::read(site.dir / "hidden/peer.key");
  INFO((secrets ? "" : secrets.error().message));
  REQUIRE(secrets.ok());
  CHECK(secrets->size() == 1);
  CHECK_FALSE(net::PeerSecret::read(site.dir / "hidden/other.key").ok());  // no configuration names it
}

// rules: foreign-files-name-nothing
TEST_CASE("what layerd's own files name does not come through the root helper, and what root names does") {
  if (::geteuid() != 0) return;
  HelpedSite site;
  const std::string runtimes = site.dir / "runtimes.yaml", kube = site.dir / "kube";
  put(runtimes, "configs: {far.test: {tls: {ca_file: " + (site.dir / "hidden/far.crt") + "}}}\n", 0600);
  put(kube,
      "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\nclusters: [{name: c, "
      "cluster: {server: \"https://10.0.0.1:6443\"}}]\nusers: [{name: u, user: {tokenFile: " +
          (site.dir / "hidden/token") + "}}]\n",
      0600);
  put(site.config,
      "registries_file: " + runtimes + "\npeers: {listen: '[::]:5152', kubernetes: {kubeconfig: " + kube +
          "}, secret_file: " + (site.dir / "hidden/peer.key") + "}\n",
      0644);
  const auto has = [&](const std::string& name) {
    const auto files = daemon::files_for_opener(site.config, true);
    REQUIRE(files);
    return std::find(files->begin(), files->end(), site.dir / name) != files->end();
  };
  CHECK(has("hidden/far.crt"));
  CHECK(has("hidden/token"));
  CHECK(has("hidden/peer.key"));
  // As `layerd setup` leaves it.
  REQUIRE(::chown(runtimes.c_str(), kNobody, kNobody) == 0);
  CHECK_FALSE(has("hidden/far.crt"));
  CHECK(has("hidden/token"));
  CHECK(has("hidden/peer.key"));
  REQUIRE(::chown(kube.c_str(), kNobody, kNobody) == 0);
  CHECK_FALSE(has("hidden/token"));
  CHECK(has("hidden/peer.key"));
  put(runtimes, "nonsense: [", 0600);
  CHECK(has("hidden/peer.key"));
  const AsNobody nobody;
  CHECK(net::PeerSecret::read(site.dir / "hidden/peer.key").ok());
}

TEST_CASE("CAs below folders that only root may read come through the root helper") {
  if (::geteuid() != 0) return;
  HelpedSite site;
  net::TlsSettings settings;
  SECTION("ca_dir") { settings.ca_dir = site.dir / "cas"; }
  SECTION("certs_dirs") {
    settings.certs_dirs = {site.dir / "certs.d"};
    settings.certs_host = "reg.test";
    settings.certs_port = 443;
  }
  const auto built = site.build(settings);
  INFO((built ? std::string() : built.error().message) << site.complaint);
  REQUIRE(built);
  CHECK(*built != nullptr);
  CHECK(site.complaint == "");
}

// rules: helper-hosts-toml
TEST_CASE("what root's hosts.toml names outside of its folder comes through the root helper") {
  if (::geteuid() != 0) return;
  HelpedSite site;
  fs::create_directory(site.dir / "certs.d/far.test");
  PrivateCa other(site.dir / "other");
  const auto client = other.issue("client", "DNS:client");
  put(site.dir / "hidden/far.crt", read_text(other.ca_file()), 0600);
  put(site.dir / "hidden/me.crt", read_text(client.cert_file), 0600);
  put(site.dir / "hidden/me.key", read_text(client.key_file), 0600);
  const std::string hosts = site.dir / "certs.d/far.test/hosts.toml";
  put(hosts,
      "ca = \"../../hidden/far.crt\"\n[host.\"https://far.test\"]\nclient = [[\"" +
          (site.dir / "hidden/me.crt") + "\", \"" + (site.dir / "hidden/me.key") + "\"]]\n",
      0600);
  net::TlsSettings settings;
  settings.certs_dirs = {site.dir / "certs.d"};
  settings.certs_host = "far.test";
  settings.certs_port = 443;
  const auto built = site.build(settings);
  INFO((built ? std::string() : built.error().message) << site.complaint);
  REQUIRE(built);
  CHECK(site.complaint == "");
  // One that others may write names nothing for root.
  const auto is_listed = [&] {
    const auto files = daemon::files_for_opener(site.config, true);
    REQUIRE(files);
    return std::find(files->begin(), files->end(), site.dir / "hidden/me.key") != files->end();
  };
  CHECK(is_listed());
  REQUIRE(::chmod(hosts.c_str(), 0666) == 0);
  CHECK_FALSE(is_listed());
  REQUIRE(::chmod(hosts.c_str(), 0644) == 0);
  REQUIRE(::chown(hosts.c_str(), kNobody, kNobody) == 0);
  CHECK_FALSE(is_listed());
}

// rules: hidden-tls-files-reread
TEST_CASE("a TLS file in a folder that only root may enter is noticed when it changes") {
  if (::geteuid() != 0) return;
  HelpedSite site;
  net::TlsSettings settings;
  settings.ca_file = site.dir / "hidden/ca.crt";
  const auto built = site.build(settings);
  INFO((built ? std::string() : built.error().message));
  REQUIRE(built);
  const auto is_current = [&] {
    const AsNobody nobody;
    return (*built)->is_current();
  };
  CHECK(is_current());
  PrivateCa other(site.dir / "other");
  put(site.dir / "hidden/new", read_text(other.ca_file()), 0600);
  fs::rename(site.dir / "hidden/new", site.dir / "hidden/ca.crt");
  CHECK_FALSE(is_current());
}

TEST_CASE("folders of certificates that layerd may not list are named with their owner") {
  if (::geteuid() != 0) return;
  HelpedSite site;
  for (const char* name : {"cas", "certs.d"}) REQUIRE(::chmod((site.dir / name).c_str(), 0700) == 0);
  net::TlsSettings settings;
  SECTION("ca_dir") {
    settings.ca_dir = site.dir / "cas";
    const auto built = site.build(settings);
    REQUIRE_FALSE(built);
    CHECK(built.error().message.find(site.dir / "cas") != std::string::npos);
    CHECK(built.error().message.find("it belongs to root and has mode 0700") != std::string::npos);
  }
  SECTION("certs_dirs") {
    settings.certs_dirs = {site.dir / "certs.d"};
    settings.certs_host = "reg.test";
    settings.certs_port = 443;
    const auto built = site.build(settings);
    REQUIRE(built);
    CHECK(site.complaint.find(site.dir / "certs.d") != std::string::npos);
    CHECK(site.complaint.find("it belongs to root and has mode 0700") != std::string::npos);
  }
}
