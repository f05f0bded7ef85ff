// Small parts of setup: YAML edits, diffs, masks, podman's and docker's files.
#include "daemon/setup/containers.h"
#include "daemon/setup/diff.h"
#include "daemon/setup/docker.h"
#include "daemon/setup/toml.h"
#include "daemon/setup/yaml_edit.h"
#include "tests/unit/setup/node.h"

using namespace layerd::test;
using namespace layerd::daemon::setup;

TEST_CASE("a YAML place that cannot be edited is refused and never spoilt") {
  for (const std::string text :
       {"mirrors: &m\n  a.b: {}\nother: *m\n", "- a\n- b\n", "mirrors: text\n", "mirrors: [a]\n"}) {
    INFO(text);
    const auto edited = with_first_item("r.yaml", text, {"mirrors", "docker.io", "endpoint"}, "http://x");
    if (edited) {
      const auto root = good(read_yaml("r.yaml", *edited));
      CHECK(root.find("mirrors")->find("docker.io") != nullptr);
      CHECK((root.find("other") == nullptr || root.find("other")->find("docker.io") == nullptr));
    } else {
      CHECK(edited.error().message.find("r.yaml:") == 0);
    }
  }
}

TEST_CASE("items go in front and behind, and out again") {
  const std::string text =
      "mirrors:\n    a.b:\n        endpoint:\n            - one # 1\n            - two\nx: 1\n";
  const std::string first = good(with_first_item("f", text, {"mirrors", "a.b", "endpoint"}, "zero"));
  CHECK(first ==
        "mirrors:\n    a.b:\n        endpoint:\n            - \"zero\"\n            - one # 1\n            - "
        "two\nx: 1\n");
  CHECK(good(without_item("f", first, "mirrors", "endpoint", "zero")) == text);
  CHECK(good(with_last_item("f", text, {"mirrors", "a.b", "endpoint"}, "three")) ==
        "mirrors:\n    a.b:\n        endpoint:\n            - one # 1\n            - two\n            - "
        "\"three\"\nx: 1\n");
  CHECK(good(with_last_item("f", "mirrors: {a.b: {endpoint: [one]}}", {"mirrors", "a.b", "endpoint"},
                            "two")) == "mirrors: {a.b: {endpoint: [one, \"two\"]}}");
  CHECK(good(with_top_key("f", "---\n# c\na: 1\n", "k", "v")) == "---\n# c\nk: v\na: 1\n");
  CHECK_FALSE(with_top_key("f", "{a: 1}\n", "k", "v"));
  CHECK_FALSE(with_top_key("f", "k: 1\n", "k", "v"));
}

TEST_CASE("a diff is one that patch takes") {
  FileChange change;
  change.path = "/x";
  change.before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
  change.after = "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n11\n12\n";
  CHECK(unified_diff(change, {}) ==
        "--- /x\n+++ /x\n@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -7,6 +8,5 @@\n 7\n 8\n 9\n-10\n 11\n 12\n");
  change.before.reset();
  change.after = "a\n";
  CHECK(unified_diff(change, {}) == "--- /dev/null\n+++ /x\n@@ -0,0 +1,1 @@\n+a\n");
}

TEST_CASE("a diff shows no private key and no password of a URL") {
  FileChange key;
  key.path = "/etc/layerd/from-k3s/a.key";
  key.after = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n";
  CHECK(unified_diff(key, {}).find("MIIEvQ") == std::string::npos);
  CHECK(unified_diff(key, {}).find("is not shown") != std::string::npos);
  const auto shown = masked("http-proxy: \"http://me:p@ss1@proxy:3128\", then https://a.test/x@y", {});
  CHECK(shown.find("ss1") == std::string::npos);
  CHECK(shown.find("@proxy:3128\"") != std::string::npos);
}

TEST_CASE("secrets are masked by their key in YAML, TOML and JSON, and by their text") {
  CHECK(masked("auth: {username: u, password: p4ss}\n", {}) == "auth: {username: u, password: ****}\n");
  CHECK(masked("  password: 'it''s'\n", {}).find("it") == std::string::npos);
  CHECK(masked("\"auth\": \"dTpw\", \"identitytoken\": \"t\\\"k\"", {}) ==
        "\"auth\": \"****\", \"identitytoken\": \"****\"");
  CHECK(masked("Authorization = \"Basic abc\"\n", {}) == "Authorization = \"****\"\n");
  CHECK(masked("x: hunter2 y\n", {"hunter2"}) == "x: **** y\n");
  CHECK(masked("password_file: /etc/x\n", {}) == "password_file: /etc/x\n");
}

TEST_CASE("podman and CRI-O: the registry stands in the path of the mirror, what was there comes behind it") {
  TextFiles files(
      Texts{{"/etc/containers/registries.conf",
             "unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nprefix = "
             "\"docker.io\"\nlocation = \"docker.io\"\n"
             "[[registry.mirror]]\nlocation = \"cache.corp/hub\"\npull-from-mirror = \"digest-only\"\n"
             "[[registry]]\nlocation = \"harbor.corp:30002\"\ninsecure = true\n[[registry]]\nprefix = "
             "\"*.evil.org\"\nblocked = true\n"}});
  Input input;
  input.image_hosts = {"ghcr.io"};
  input.closed_hosts = {"hub.local"};
  const Plan plan = good(plan_containers(files, input));
  const std::string path = "/etc/containers/registries.conf.d/zz-layerd.conf";
  const auto root = good(parse_toml(path, after(plan, path)));
  std::map<std::string, const TomlValue*> tables;
  for (const auto& table : root.find("registry")->items) tables[table.text_at("prefix")] = &table;
  CHECK(tables.size() == 3);
  const auto* hub = tables.at("docker.io");
  REQUIRE(hub->find("mirror")->items.size() == 2);
  CHECK(hub->find("mirror")->items[0].text_at("location") == "127.0.0.1:5151/docker.io");
  CHECK(hub->find("mirror")->items[0].true_at("insecure"));
  CHECK(hub->find("mirror")->items[1].text_at("pull-from-mirror") == "digest-only");
  CHECK(tables.at("ghcr.io")->text_at("location") == "ghcr.io");
  CHECK(tables.at("hub.local")->text_at("location") == "127.0.0.1:5151/hub.local");
  CHECK(tables.at("hub.local")->find("mirror") == nullptr);
  CHECK(plan.copied.mirrors.at("docker.io").endpoints ==
        std::vector<std::string>{"https://cache.corp/v2/hub"});
  CHECK(all_notes(plan).find("harbor.corp:30002 has a port") != std::string::npos);
  CHECK(all_notes(plan).find("challenge_ping") != std::string::npos);
  files.take(plan);
  CHECK(good(plan_containers(files, input)).changes.empty());
}

TEST_CASE("podman: logins of auth.json are copied, parts of registries and helpers are told") {
  TextFiles files(Texts{{"/root/.config/containers/auth.json",
                         "{\"auths\": {\"ghcr.io\": {\"auth\": \"dTpw\"}, \"quay.io/org\": {\"auth\": "
                         "\"dTpw\"}}, \"credHelpers\": {\"x.y\": \"z\"}}"},
                        {"/etc/containers/certs.d/reg.corp/ca.crt", "PEM"}});
  const Plan plan = good(plan_containers(files, {}));
  CHECK(plan.copied.configs.at("ghcr.io").username == "u");
  CHECK_FALSE(plan.copied.configs.contains("quay.io"));
  CHECK(plan.copied.configs.at("reg.corp").ca_file == "/etc/containers/certs.d/reg.corp/ca.crt");
  CHECK(all_notes(plan).find("quay.io/org is not copied") != std::string::npos);
  CHECK(all_notes(plan).find("credential helpers") != std::string::npos);
}

TEST_CASE("docker: daemon.json keeps all it has, layerd is the first mirror") {
  const std::string url = "http://127.0.0.1:5151";
  CHECK(good(with_docker_mirror("d", std::nullopt, url)) ==
        "{\n  \"registry-mirrors\": [\"http://127.0.0.1:5151\"]\n}\n");
  CHECK(good(with_docker_mirror("d", "{}", url)) ==
        "{\n  \"registry-mirrors\": [\"http://127.0.0.1:5151\"]\n}");
  const std::string text =
      "{\n  \"log-opts\": {\"registry-mirrors\": \"no\"},\n  \"registry-mirrors\" : [ \"https://m.corp\" "
      "]\n}\n";
  const std::string with = good(with_docker_mirror("d", text, url));
  CHECK(with ==
        "{\n  \"log-opts\": {\"registry-mirrors\": \"no\"},\n  \"registry-mirrors\" : "
        "[\"http://127.0.0.1:5151\",  \"https://m.corp\" ]\n}\n");
  CHECK(good(with_docker_mirror("d", with, url)) == with);
  CHECK(good(without_docker_mirror("d", with, url)).find("5151") == std::string::npos);
  CHECK_FALSE(with_docker_mirror("/etc/docker/daemon.json", "{\"registry-mirrors\": 1}", url));
  CHECK(with_docker_mirror("/etc/docker/daemon.json", "{,}", url)
            .error()
            .message.find("/etc/docker/daemon.json: ") == 0);
  TextFiles files(Texts{{"/etc/docker/daemon.json", text}});
  const Plan plan = good(plan_docker(files, {}));
  CHECK(plan.copied.mirrors.at("docker.io").endpoints == std::vector<std::string>{"https://m.corp"});
  CHECK(all_notes(plan).find("systemctl reload docker") != std::string::npos);
  CHECK(all_notes(plan).find("Docker Hub only") != std::string::npos);
}

TEST_CASE("docker: a mirror by dockerd's flag is refused, since dockerd would not start with both") {
  const std::string unit = "/etc/systemd/system/docker.service.d/mirror.conf";
  TextFiles files(
      Texts{{unit, "[Service]\nExecStart=\nExecStart=dockerd --registry-mirror=https://m.corp\n"}});
  const auto refused = plan_docker(files, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find(unit + " starts dockerd with --registry-mirror") == 0);
  TextFiles comment(Texts{{"/etc/default/docker", "  # DOCKER_OPTS=\"--registry-mirror=https://m.corp\"\n"}});
  CHECK(plan_docker(comment, {}));
}

TEST_CASE("docker with the containerd image store gets hosts.toml files as well") {
  TextFiles files(Texts{{"/etc/docker/daemon.json", "{\"features\": {\"containerd-snapshotter\": true}}"}});
  Input input;
  input.image_hosts = {"ghcr.io"};
  const Plan plan = good(plan_docker(files, input));
  CHECK(after(plan, "/etc/docker/certs.d/ghcr.io/hosts.toml").find("127.0.0.1:5151") != std::string::npos);
}
