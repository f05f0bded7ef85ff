// What the files of container runtimes say about whom they ask, and what `layerd check` makes of it.
#include "daemon/runtime_files.h"

#include "daemon/check_command.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::daemon;
using Way = RuntimeView::Way;

namespace {

constexpr const char* kHostsToml = "[host.\"http://127.0.0.1:5151\"]\n  capabilities = [\"pull\"]\n";
constexpr const char* kPlugin = "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n";
const std::string kConfig =
    std::string("version = 2\n") + kPlugin + "  config_path = \"/etc/containerd/certs.d\"\n";

struct Node {
  test::TempDir root{"layerd-runtime"};
  void file(const std::string& path, const std::string& text) { test::write_text(root.path() + path, text); }
  std::vector<RuntimeView> look(const std::string& registry = "ghcr.io") const {
    return look_at_runtimes(root.path(), registry, {{"127.0.0.1", 5151}});
  }
  Json judged(Json report) const {
    Settings settings;
    judge_runtimes(report, settings, root.path());
    return report;
  }
};

Json report_of(Json asked) {
  return {{"registry", "ghcr.io"},
          {"ok", true},
          {"steps", Json::array()},
          {"diagnosis", nullptr},
          {"daemon", true},
          {"uptime_seconds", 9},
          {"asked_seconds", std::move(asked)}};
}

}  // namespace

TEST_CASE("a node without a runtime shows none") { CHECK(Node().look().empty()); }

TEST_CASE("containerd asks layerd when the hosts.toml that counts names it") {
  Node node;
  node.file("/etc/containerd/config.toml", kConfig);
  REQUIRE(node.look().size() == 1);
  CHECK(node.look()[0].way == Way::bypasses);
  node.file("/etc/containerd/certs.d/_default/hosts.toml", kHostsToml);
  CHECK(node.look()[0].way == Way::asks);
  // The registry's own file counts alone.
  node.file("/etc/containerd/certs.d/ghcr.io/hosts.toml",
            "server = \"https://ghcr.io\"\n# http://127.0.0.1:5151\n");
  CHECK(node.look()[0].way == Way::bypasses);
  CHECK(node.look("quay.io")[0].way == Way::asks);
  node.file("/etc/containerd/certs.d/nexus_5000_/hosts.toml", "server = \"x\"\n");
  CHECK(node.look("nexus:5000")[0].way == Way::bypasses);
}

TEST_CASE("containerd that reads no hosts.toml goes past layerd, and the reason is said") {
  Node node;
  node.file("/etc/containerd/certs.d/_default/hosts.toml", kHostsToml);
  node.file("/etc/containerd/config.toml", "version = 2\n# config_path = \"/etc/containerd/certs.d\"\n");
  CHECK(node.look()[0].way == Way::bypasses);
  CHECK(node.look()[0].said.find("no config_path") != std::string::npos);
  node.file("/etc/containerd/config.toml",
            std::string("version = 2\n") + kPlugin +
                "config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'\n");
  CHECK(node.look()[0].said.find("containerd 2.2 ignores") != std::string::npos);
}

// rules: broken-hosts-toml, folder-hides-default
TEST_CASE("a hosts.toml that containerd leaves out, and one that stops every pull, is no way to layerd") {
  Node node;
  node.file("/etc/containerd/config.toml", kConfig);
  node.file("/etc/containerd/certs.d/_default/hosts.toml", kHostsToml);
  const std::string hosts = "/etc/containerd/certs.d/ghcr.io/hosts.toml";
  const auto says = [&](const std::string& text, const std::string& what) {
    node.file(hosts, text);
    const auto view = node.look().at(0);
    INFO(view.said);
    CHECK(view.way == Way::bypasses);
    CHECK(view.said.find(what) != std::string::npos);
  };
  says(std::string(kHostsToml) + "server = https://ghcr.io\n", hosts + ":3:10: ");
  says("[host.\"http://127.0.0.1:5151\"]\n  capabilities = [\"pulls\"]\n", "\"pulls\" is no capability");
  says(std::string(kHostsToml) + "  ca = \"ca.crt\"\n", "names ca.crt, which is not there");
  says("[host.\"http://127.0.0.1:5151\"]\n  capabilities = [\"push\"]\n", "does not name layerd");
  says("[host.\"http://127.0.0.1:51510\"]\n", "does not name layerd");
  node.file("/etc/containerd/certs.d/ghcr.io/ca.crt", "PEM");
  node.file(hosts, std::string(kHostsToml) + "  ca = \"ca.crt\"\n");
  CHECK(node.look()[0].way == Way::asks);
  node.file(hosts, "server = \"http://127.0.0.1:5151\"\n");
  CHECK(node.look()[0].way == Way::asks);
  // A folder with certificates alone: `_default` does not count for its registry.
  node.file("/etc/containerd/certs.d/reg.corp_5000_/ca.crt", "PEM");
  CHECK(node.look("reg.corp:5000")[0].way == Way::bypasses);
  CHECK(node.look("reg.corp:5000")[0].said.find("has no hosts.toml in it") != std::string::npos);
  CHECK(node.look("reg.corp")[0].way == Way::asks);
}

TEST_CASE("containerd is read with the files its config.toml imports, and with its old mirrors") {
  Node node;
  node.file("/etc/containerd/config.toml", "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
  node.file("/etc/containerd/conf.d/mirrors.toml",
            std::string("version = 2\n") + kPlugin + "config_path = \"/srv/certs.d\"\n");
  node.file("/srv/certs.d/_default/hosts.toml", kHostsToml);
  CHECK(node.look().at(0).way == Way::asks);
  node.file("/etc/containerd/conf.d/mirrors.toml",
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"*\"]\n"
            "  endpoint = [\"http://127.0.0.1:5151\"]\n");
  CHECK(node.look().at(0).way == Way::asks);
  node.file("/etc/containerd/config.toml", "version 2\n");
  CHECK(node.look().at(0).way == Way::bypasses);
  CHECK(node.look().at(0).said.find("/etc/containerd/config.toml:1:") != std::string::npos);
}

TEST_CASE("k3s counts by what it generated, else by its registries.yaml") {
  Node node;
  node.file("/etc/rancher/k3s/registries.yaml",
            "mirrors:\n  \"*\":\n    endpoint: [\"http://localhost:5151\"]\n");
  CHECK(node.look()[0].runtime == "k3s");
  CHECK(node.look()[0].way == Way::asks);
  // Written and not taken yet: k3s reads it at its start.
  node.file("/var/lib/rancher/k3s/agent/etc/containerd/certs.d/docker.io/hosts.toml", "server = \"x\"\n");
  CHECK(node.look()[0].way == Way::bypasses);
}

TEST_CASE("k3s is looked for where its flags say, and a template without config_path reads no hosts.toml") {
  Node node;
  node.file("/etc/rancher/k3s/config.yaml", "data-dir: /srv/k3s\nprivate-registry: /srv/registries.yaml\n");
  node.file("/srv/registries.yaml", "mirrors:\n  \"*\":\n    endpoint: [\"http://localhost:5151\"]\n");
  CHECK(node.look().at(0).way == Way::asks);
  const std::string agent = "/srv/k3s/agent/etc/containerd";
  node.file(agent + "/certs.d/_default/hosts.toml", kHostsToml);
  node.file(agent + "/config.toml", kConfig);
  CHECK(node.look().at(0).way == Way::asks);
  node.file(agent + "/config.toml", "version = 2\n");
  CHECK(node.look().at(0).way == Way::bypasses);
  CHECK(node.look().at(0).said.find(agent + "/config.toml sets no config_path") == 0);
}

TEST_CASE("docker asks for Docker Hub alone, podman for the registries it names") {
  Node node;
  node.file("/etc/docker/daemon.json", R"({"registry-mirrors": ["http://127.0.0.1:5151"]})");
  CHECK(node.look("docker.io")[0].way == Way::asks);
  CHECK(node.look("ghcr.io")[0].way == Way::bypasses);
  Node other;
  other.file("/etc/containers/registries.conf", "unqualified-search-registries = [\"docker.io\"]\n");
  other.file("/etc/containers/registries.conf.d/50-layerd.conf", "location = \"127.0.0.1:5151/ghcr.io\"\n");
  CHECK(other.look("ghcr.io")[0].way == Way::asks);
  CHECK(other.look("quay.io")[0].way == Way::bypasses);
}

TEST_CASE("a runtime that does not ask layerd at all is the diagnosis of a pull that is well otherwise") {
  Node node;
  node.file("/etc/containerd/config.toml", "version = 2\n");
  const Json report = node.judged(report_of(nullptr));
  CHECK(report["ok"] == false);
  CHECK(report["diagnosis"]["code"] == "runtime_bypass");
  CHECK(json_string(report["diagnosis"], "cause").find("does not ask layerd for ghcr.io") !=
        std::string::npos);
  CHECK(json_string(report["diagnosis"], "remedy").find("layerd setup") != std::string::npos);
  // Something asked lately: by files we do not know of.
  CHECK(node.judged(report_of(30))["ok"] == true);
  // A failure on the way is told first.
  Json failed = report_of(nullptr);
  failed["ok"] = false;
  failed["diagnosis"] = {{"code", "tls_expired"}};
  CHECK(node.judged(failed)["diagnosis"]["code"] == "tls_expired");
  CHECK(Node().judged(report_of(nullptr))["ok"] == true);
}

TEST_CASE("a report for people has a line a step, with letters where marks may not arrive") {
  Json report = report_of(nullptr);
  report["steps"] = {
      {{"step", "dns"}, {"ok", true}, {"said", "ghcr.io is 1.2.3.4"}, {"details", {"asked x"}}},
      {{"step", "tls"}, {"ok", false}, {"said", "wrong name"}, {"details", Json::array()}},
      {{"step", "api"}, {"ok", nullptr}, {"said", "401"}, {"details", Json::array()}}};
  report["diagnosis"] = {{"code", "tls_expired"}, {"cause", "because"}, {"remedy", "renew"}};
  const auto marks = check_text(report, false), letters = check_text(report, true);
  CHECK(marks.find("✓ dns          ghcr.io is 1.2.3.4\n") == 0);
  CHECK(marks.find("✗ tls          wrong name\n") != std::string::npos);
  CHECK(letters.find("ok   dns") == 0);
  CHECK(letters.find("FAIL tls") != std::string::npos);
  CHECK(letters.find("✓") == std::string::npos);
  CHECK(letters.find("asked x\n") != std::string::npos);
  CHECK(letters.find(
            "cause:  because.\nremedy: renew.\ncode:   tls_expired (docs/diagnoses.md#tls_expired)\n") !=
        std::string::npos);
}
