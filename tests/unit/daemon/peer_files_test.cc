// Files that `peers` names and that are missing or bad: what a configuration with them comes to, and how it
// is found that they are right.
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "daemon/config.h"
#include "daemon/kubeconfig_keeper.h"
#include "proxy/net/peer_trust.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_server.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace layerd::test;

namespace {

constexpr const char* kNothing = "peers: nothing is shared: ";
constexpr const char* kGoesOn = "layerd takes it by itself once it is right";
constexpr unsigned kNobody = 65534;

std::string all(const std::vector<Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.str() + "\n";
  return text;
}

std::string kubeconfig_with(const std::string& user) {
  return "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: \"https://10.0.0.1:6443\"}}]\nusers: [{name: u, user: {" +
         user + "}}]\n";
}

struct Node {
  TempDir folder;
  const std::string secret = net::PeerSecret::make() + "\n";

  std::string path(const std::string& name) const { return folder / name; }
  std::string put(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    write_text(path(name), text);
    REQUIRE(::chmod(path(name).c_str(), mode) == 0);
    return path(name);
  }
  // A configuration whose section `peers` has these lines behind `listen`.
  LoadedConfig load(const std::string& lines, bool is_daemon = false, const std::string& more = "") const {
    put("config.yaml", "peers:\n  listen: \"[::]:5152\"\n  " + lines + "\n" + more, 0644);
    return load_config(path("config.yaml"), {.is_daemon = is_daemon, .environment = nullptr});
  }
  std::string by_secret() const { return "secret_file: " + path("peer.key") + "\n  members: [n2]"; }
  std::string by_certificates() const {
    return "members: [n2]\n  tls: {cert_file: " + path("n.crt") + ", key_file: " + path("n.key") +
           ", ca_file: " + path("ca.crt") + ", names: [\"**\"]}";
  }
  std::string with_source(const std::string& source) const {
    put("peer.key", secret);
    return "secret_file: " + path("peer.key") + "\n  " + source;
  }
};

// The configuration counts, and one warning says what the file costs.
void check_warned(const Node& node, const std::string& lines, const std::string& cost,
                  const std::string& words) {
  const auto loaded = node.load(lines, false, "tags: {fresh_for: 7s}\n");
  INFO(lines << "\n" << all(loaded.errors) << all(loaded.warnings));
  REQUIRE(loaded.ok());
  CHECK(loaded.settings->peers.is_on());
  CHECK(loaded.settings->tags_fresh_for == std::chrono::seconds(7));
  REQUIRE(loaded.warnings.size() == 1);
  CHECK_THAT(all(loaded.warnings),
             Catch::Contains(cost) && Catch::Contains(words) && Catch::Contains(kGoesOn));
}

}  // namespace

// rules: peers-file-costs-the-sharing
TEST_CASE("a secret that is missing or bad is warned of, and the rest of the configuration counts") {
  const Node node;
  const std::string lines = node.by_secret(), file = node.path("peer.key");
  SECTION("not there") {
    check_warned(node, lines, kNothing,
                 "peers.secret_file: cannot open " + file +
                     ": No such file or directory; copy it from another node, or for a new site: layerd "
                     "peers secret -o " +
                     file);
  }
  SECTION("a folder") {
    REQUIRE(std::filesystem::create_directory(file));
    REQUIRE(::chmod(file.c_str(), 0700) == 0);
    check_warned(node, lines, kNothing, file);
  }
  SECTION("too short") {
    node.put("peer.key", "c2hvcnQ=\n");
    check_warned(node, lines, kNothing, file + ": line 1: it has 5 bytes and 32 are the least");
  }
  SECTION("too many lines") {
    node.put("peer.key", node.secret + net::PeerSecret::make() + "\n" + net::PeerSecret::make() + "\n");
    check_warned(node, lines, kNothing, file + ": line 3: more than 2 secrets");
  }
  SECTION("readable by others") {
    node.put("peer.key", node.secret, 0644);
    check_warned(node, lines, kNothing, file + " may be read or written by everybody (mode 0644): chmod o=");
  }
  // What the daemon itself says of it: the same words.
  const auto loaded = node.load(lines);
  net::PeerIdentitySettings settings;
  settings.secret_file = file;
  const auto trust = net::PeerTrust::build(settings);
  REQUIRE_FALSE(trust.ok());
  CHECK_THAT(all(loaded.warnings), Catch::Contains(kNothing + trust.error().message));

  std::filesystem::remove(file);
  node.put("peer.key", node.secret);
  CHECK(node.load(lines).warnings.empty());
}

// rules: peers-file-costs-the-sharing
TEST_CASE("certificates that are missing or bad are warned of, and the rest of the configuration counts") {
  const Node node;
  const auto identity = Identity::make({.common_name = "n1"}), other = Identity::make({.common_name = "n2"});
  const auto put_all = [&] {
    node.put("n.crt", identity.certificate);
    node.put("n.key", identity.key);
    node.put("ca.crt", identity.certificate);
  };
  put_all();
  const std::string lines = node.by_certificates();
  CHECK(node.load(lines).warnings.empty());
  for (const char* name : {"n.crt", "n.key", "ca.crt"}) {
    REQUIRE(std::filesystem::remove(node.path(name)));
    check_warned(node, lines, std::string(kNothing) + "peers.tls",
                 "cannot open " + node.path(name) + ": No such file or directory");
    put_all();
  }
  node.put("n.key", other.key);
  check_warned(node, lines, kNothing, "the key in " + node.path("n.key") + " does not belong to");
  put_all();
  node.put("ca.crt", "hi");
  check_warned(node, lines, kNothing, "peers.tls.ca_file: " + node.path("ca.crt") + " holds no PEM block");
  put_all();
  node.put("n.key", identity.key, 0644);
  CHECK_THAT(all(node.load(lines).warnings), Catch::Contains("every user can read " + node.path("n.key")));
}

// rules: peers-file-costs-the-sharing
TEST_CASE("a list of members whose file is missing is warned of, and the rest of the configuration counts") {
  const Node node;
  const std::string by_kubeconfig = node.with_source("kubernetes: {kubeconfig: " + node.path("kube") + "}"),
                    by_server = node.with_source(
                        "kubernetes: {server: \"https://10.0.0.1:6443\", token_file: " + node.path("token") +
                        ", ca_file: " + node.path("api.crt") + "}");
  const std::string cluster = "peers: the list of peers.kubernetes is not read: ";
  check_warned(node, node.with_source("members_file: " + node.path("members")),
               "peers: the list of peers.members_file is not read: ", "cannot open " + node.path("members"));
  node.put("members", "10.0.0.2\n");
  CHECK(node.load(node.with_source("members_file: " + node.path("members"))).warnings.empty());

  check_warned(node, by_kubeconfig, cluster, "cannot open " + node.path("kube"));
  CHECK_THAT(node.load(by_kubeconfig).settings->peers.kubeconfig_fault, Catch::Contains(node.path("kube")));
  node.put("kube", "clusters: {");
  check_warned(node, by_kubeconfig, cluster, node.path("kube"));
  node.put("kube", kubeconfig_with("token: t0ken"));
  CHECK(node.load(by_kubeconfig).warnings.empty());
  check_warned(node, node.with_source("kubernetes: {kubeconfig: " + node.path("kube") + ", context: b}"),
               cluster, "there is no context \"b\" in it");
  node.put("kube", kubeconfig_with("tokenFile: tok"));
  check_warned(node, by_kubeconfig, cluster, "cannot open " + node.path("tok"));

  const auto ca = Identity::make({.common_name = "api"});
  node.put("token", "t0ken");
  check_warned(node, by_server, cluster, "cannot open " + node.path("api.crt"));
  node.put("api.crt", "hi");
  check_warned(node, by_server, cluster, node.path("api.crt") + " holds no PEM block");
  node.put("api.crt", ca.certificate);
  CHECK(node.load(by_server).warnings.empty());
  REQUIRE(std::filesystem::remove(node.path("token")));
  check_warned(node, by_server, cluster, "cannot open " + node.path("token"));
  CHECK(node.load(by_server).settings->peers.members.kubernetes);  // it is asked once the token is there
}

TEST_CASE("a reload with a missing secret takes the rest") {
  const Node node;
  node.put("peer.key", node.secret);
  REQUIRE(node.load(node.by_secret(), true).ok());
  REQUIRE(std::filesystem::remove(node.path("peer.key")));
  const auto loaded = node.load(node.by_secret() + "\n  share: [{match: a.example, with: none}]", true,
                                "mirrors: {a.example: {endpoint: [\"https://b.example\"]}}\n");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  CHECK(loaded.settings->rules.mirrors.size() == 1);
  CHECK_FALSE(loaded.settings->peers.share.is_shared("a.example/app"));
  CHECK(loaded.settings->peers.secret_file == node.path("peer.key"));
  CHECK_THAT(all(loaded.warnings), Catch::Contains(kNothing));
}

// rules: shut-is-not-bad
TEST_CASE("what this user may not read is not called missing or bad") {
  if (::geteuid() != 0) return;
  const Node node;
  REQUIRE(::chmod(node.folder.path().c_str(), 0755) == 0);
  node.put("peer.key", "c2hvcnQ=\n");
  const auto load_as_nobody = [&node](bool is_daemon) {
    const auto lines = node.by_secret();
    REQUIRE_FALSE(node.load(lines).warnings.empty());
    ::setfsuid(kNobody);
    auto loaded = load_config(node.path("config.yaml"), {.is_daemon = is_daemon, .environment = nullptr});
    ::setfsuid(0);
    REQUIRE(loaded.ok());
    return all(loaded.warnings);
  };
  const std::string said = load_as_nobody(false);
  CHECK_THAT(said,
             Catch::Contains("peers: not checked: peers.secret_file: cannot open " + node.path("peer.key") +
                             ": Permission denied: it belongs to root and has "
                             "mode 0600") &&
                 Catch::Contains("ask again as root") && !Catch::Contains("nothing is shared"));
  // The daemon need not guess: what it cannot open it has not got.
  CHECK_THAT(load_as_nobody(true), Catch::Contains(kNothing));
}

// rules: kubeconfig-read-again, kubeconfig-kept
TEST_CASE(
    "a kubeconfig that was missing is read as soon as it is there, and what it said counts while it is "
    "away") {
  const Node node;
  NetLoop real;
  int changes = 0;
  KubeconfigKeeper keeper(real.loop, real.workers(), [&] { ++changes; });
  const std::string lines = node.with_source("kubernetes: {kubeconfig: " + node.path("kube") + "}");
  keeper.take(node.load(lines).settings);
  CHECK_FALSE(keeper.found());
  CHECK_THAT(keeper.complaint(), Catch::Contains("cannot open " + node.path("kube")));
  node.put("kube", kubeconfig_with("token: t0ken"));
  REQUIRE(real.until([&] { return changes == 1; }));
  CHECK(keeper.complaint().empty());
  CHECK(keeper.found()->token == "t0ken");

  REQUIRE(std::filesystem::remove(node.path("kube")));
  keeper.take(node.load(lines).settings);
  REQUIRE(keeper.found());
  CHECK(keeper.found()->token == "t0ken");
  CHECK_THAT(keeper.complaint(), Catch::Contains("what it said before counts"));
  node.put("kube", kubeconfig_with("token: fresh"));
  REQUIRE(real.until([&] { return changes == 2; }));
  CHECK(keeper.found()->token == "fresh");

  // It is another one, and nobody tells.
  node.put("kube", kubeconfig_with("token: fresher"));
  REQUIRE(real.until([&] { return changes == 3; }, std::chrono::seconds(30)));
  CHECK(keeper.found()->token == "fresher");

  // Another one is another cluster.
  keeper.take(node.load(node.with_source("kubernetes: {kubeconfig: " + node.path("other") + "}")).settings);
  CHECK_FALSE(keeper.found());
  keeper.take(node.load(node.with_source("members: [n2]")).settings);
  CHECK_FALSE(keeper.found());
  CHECK(keeper.complaint().empty());
  keeper.stop();
}
