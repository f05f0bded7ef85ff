// The planner of `layerd setup k3s|rke2`, with texts alone; what it writes is read by k3s's own rules as
// protocol.md §2.2 and §2.3 give them. k3s itself was never run.
#include "daemon/setup/k3s.h"

#include "daemon/setup/hosts_toml.h"
#include "daemon/setup/yaml_edit.h"
#include "tests/unit/setup/node.h"

using namespace layerd::test;
using namespace layerd::daemon;
using namespace layerd::daemon::setup;

namespace {
const std::string kRegistries = "/etc/rancher/k3s/registries.yaml", kConfig = "/etc/rancher/k3s/config.yaml";
const std::string kHosts = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d";

// What k3s asks for a registry, in order: endpoints of its mirror, then its own address ("" for "*").
std::vector<std::string> asked_by_k3s(const std::string& yaml, const std::string& host, bool flag = false) {
  std::vector<std::string> urls, notes;
  const YamlNode root = good(read_yaml("registries.yaml", yaml));
  const Copied parsed = read_copied("registries.yaml", root, notes);
  const bool has_config = parsed.configs.contains(host);
  auto mirror = parsed.mirrors.find(host);
  if (mirror == parsed.mirrors.end() && !has_config) mirror = parsed.mirrors.find("*");
  if (mirror != parsed.mirrors.end()) urls = mirror->second.endpoints;
  const std::string own = host == "docker.io" ? "https://registry-1.docker.io" : "https://" + host;
  const bool cleared = flag && mirror != parsed.mirrors.end() && !has_config;
  if (!cleared && (urls.empty() || !same_endpoint(urls.back(), own))) urls.push_back(own);
  return urls;
}
const std::string kLayerd = "http://127.0.0.1:5151";
using Urls = std::vector<std::string>;

// The first report of users.md.
const std::string kNexus =
    "# written by ops\nmirrors:\n  docker.nexus.local:\n    endpoint:\n      - \"http://docker.nexus.local\" "
    " # Ingress\n"
    "  \"docker-push.nexus.local\":\n    endpoint: [\"http://docker-push.nexus.local\"]\n"
    "configs:\n  docker.nexus.local:\n    auth:\n      username: admin\n      password: 'p@ss$!'\n    tls:\n"
    "      insecure_skip_verify: true\n";
}  // namespace

TEST_CASE(
    "registries.yaml: layerd is first for every mirror, config, docker.io, the images' registries and the "
    "default") {
  TextFiles files(Texts{{kRegistries, kNexus}});
  Input input;
  input.image_hosts = {"ghcr.io", "registry.corp:5000"};
  const Plan plan = good(plan_k3s(files, input, {"k3s"}));
  const std::string text = after(plan, kRegistries);
  CHECK(asked_by_k3s(text, "docker.nexus.local") ==
        Urls{kLayerd, "http://docker.nexus.local", "https://docker.nexus.local"});
  CHECK(asked_by_k3s(text, "docker-push.nexus.local")[0] == kLayerd);
  CHECK(asked_by_k3s(text, "docker.io") == Urls{kLayerd, "https://registry-1.docker.io"});
  CHECK(asked_by_k3s(text, "ghcr.io") == Urls{kLayerd, "https://ghcr.io"});
  CHECK(asked_by_k3s(text, "registry.corp:5000") == Urls{kLayerd, "https://registry.corp:5000"});
  CHECK(asked_by_k3s(text, "quay.io") == Urls{kLayerd, "https://quay.io"});
  // Everything that was there is still there, comments as well.
  for (const char* kept :
       {"# written by ops\n", "      - \"http://docker.nexus.local\"  # Ingress\n", "password: 'p@ss$!'\n"})
    CHECK(text.find(kept) != std::string::npos);
  CHECK(all_notes(plan).find("todo: k3s reads registries.yaml only when it starts") != std::string::npos);
  files.take(plan);
  CHECK(good(plan_k3s(files, input, {"k3s"})).changes.empty());
  CHECK(good(without_item("x", text, "mirrors", "endpoint", kLayerd)).find(kLayerd) == std::string::npos);
}

TEST_CASE("registries.yaml: mirrors, logins and TLS are copied for layerd") {
  TextFiles files(Texts{{kRegistries, kNexus}});
  const Plan plan = good(plan_k3s(files, {}, {"k3s"}));
  CHECK(plan.copied.mirrors.at("docker.nexus.local").endpoints == Urls{"http://docker.nexus.local"});
  CHECK(plan.copied.configs.at("docker.nexus.local").password == "p@ss$!");
  CHECK(plan.copied.configs.at("docker.nexus.local").skip_verify);
  CHECK_FALSE(plan.copied.mirrors.contains("*"));
}

TEST_CASE("registries.yaml in other shapes: none, empty, only configs, braces, a mirror for all") {
  for (const std::string text :
       {"", "# nothing\n", "mirrors:\n", "mirrors: {}\n",
        "configs:\n  reg.corp:\n    auth: {username: u, password: p}\n",
        "mirrors: {\"*\": {endpoint: [\"https://cache.corp\"]}}\n",
        "mirrors:\n  docker.io:\n  \"*\":\n    endpoint:\n    - https://c.corp\n",
        "mirrors:\n  docker.io: {}\n", "mirrors:\n  docker.io:\n    endpoint: []\n", "configs: {}"}) {
    INFO(text);
    TextFiles files(text.empty() ? std::map<std::string, std::string>{}
                                 : std::map<std::string, std::string>{{kRegistries, text}});
    const Plan plan = good(plan_k3s(files, {}, {"k3s"}));
    const std::string out = after(plan, kRegistries);
    INFO(out);
    CHECK(asked_by_k3s(out, "docker.io")[0] == kLayerd);
    CHECK(asked_by_k3s(out, "quay.io")[0] == kLayerd);
    if (text.find("reg.corp") != std::string::npos) CHECK(asked_by_k3s(out, "reg.corp")[0] == kLayerd);
    files.take(plan);
    CHECK(good(plan_k3s(files, {}, {"k3s"})).changes.empty());
  }
}

TEST_CASE("rewrites stay with k3s: layerd is told the rewritten names and rewrites nothing again") {
  TextFiles files(Texts{{kRegistries,
                         "mirrors:\n  docker.io:\n    endpoint: [\"https://harbor.corp\"]\n    rewrite:\n    "
                         "  \"^(.*)$\": \"hub/$1\"\n"
                         "  quay.io:\n    rewrite: {\"^a/\": \"b/\"}\n"}});
  const Plan plan = good(plan_k3s(files, {}, {"k3s"}));
  const auto& mirror = plan.copied.mirrors.at("docker.io");
  CHECK(mirror.endpoints == Urls{"https://harbor.corp"});
  CHECK(mirror.rewrite.empty());
  CHECK_FALSE(mirror.default_endpoint);
  CHECK(all_notes(plan).find("rewrites names of \"docker.io\" itself") != std::string::npos);
  CHECK(asked_by_k3s(after(plan, kRegistries), "quay.io")[0] != kLayerd);
  CHECK(all_notes(plan).find("\"quay.io\" has a rewrite and no endpoint") != std::string::npos);
}

TEST_CASE("where k3s has made hosts.toml files they are changed as well, so that nothing restarts") {
  const std::string generated =
      "# File generated by k3s. DO NOT EDIT.\n\nserver = \"https://registry-1.docker.io/v2\"\ncapabilities = "
      "[\"pull\", \"resolve\", "
      "\"push\"]\n\n[host]\n[host.\"https://harbor.corp/v2\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
      "  [host.\"https://harbor.corp/v2\".rewrite]\n    \"^(.*)$\" = \"hub/$1\"\n";
  TextFiles files(
      Texts{{kRegistries,
             "mirrors:\n  docker.io:\n    endpoint: [https://harbor.corp]\n    rewrite: {\"^(.*)$\": "
             "\"hub/$1\"}\n"},
            {"/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "config_path = \"" + kHosts + "\"\n"},
            {kHosts + "/docker.io/hosts.toml", generated}});
  Input input;
  input.image_hosts = {"ghcr.io"};
  const Plan plan = good(plan_k3s(files, input, {"k3s"}));
  const auto hosts = good(read_hosts("x", after(plan, kHosts + "/docker.io/hosts.toml")));
  REQUIRE(hosts.hosts.size() == 2);
  CHECK(hosts.hosts[0].url == kLayerd);
  CHECK(hosts.hosts[0].rewrite == hosts.hosts[1].rewrite);  // as k3s will write it at its next start
  CHECK(after(plan, kHosts + "/ghcr.io/hosts.toml").find(kLayerd) != std::string::npos);
  CHECK(after(plan, kHosts + "/_default/hosts.toml").find(kLayerd) != std::string::npos);
  CHECK(plan.todo.empty());
  files.take(plan);
  CHECK(good(plan_k3s(files, input, {"k3s"})).changes.empty());
}

TEST_CASE(
    "embedded-registry is found in config.yaml, its folder and units, and explained; layerd comes behind "
    "it") {
  for (const std::string& path :
       {kConfig, kConfig + ".d/10.yaml", std::string("/etc/systemd/system/k3s.service")}) {
    const bool unit = path.ends_with(".service");
    TextFiles files(
        Texts{{path, unit ? "ExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--embedded-registry' \\\n"
                          : "embedded-registry: true\n"},
              {"/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "config_path = \"x\"\n"},
              {kHosts + "/docker.io/hosts.toml",
               "[host.\"https://127.0.0.1:6443/v2\"]\n[host.\"https://m.corp/v2\"]\n"}});
    const Plan plan = good(plan_k3s(files, {}, {"k3s"}));
    INFO(path);
    CHECK(all_notes(plan).find("embedded-registry on (Spegel)") != std::string::npos);
    const auto hosts = good(read_hosts("x", after(plan, kHosts + "/docker.io/hosts.toml")));
    REQUIRE(hosts.hosts.size() == 3);
    CHECK(hosts.hosts[1].url == kLayerd);
  }
}

TEST_CASE(
    "a registry that an alias renames is closed by the flag; the exception is told, the others stay open") {
  TextFiles files(Texts{{kRegistries, "configs:\n  nexus.local:\n    auth: {username: u, password: p}\n"},
                        {kConfig, "# server\nwrite-kubeconfig-mode: \"0644\"\n"}});
  Input input;
  input.closed_hosts = {"hub.local", "nexus.local"};
  const Plan plan = good(plan_k3s(files, input, {"k3s"}));
  CHECK(after(plan, kConfig) ==
        "# server\ndisable-default-registry-endpoint: true\nwrite-kubeconfig-mode: \"0644\"\n");
  const std::string text = after(plan, kRegistries);
  CHECK(asked_by_k3s(text, "hub.local", true) == Urls{kLayerd});
  CHECK(asked_by_k3s(text, "nexus.local", true) == Urls{kLayerd, "https://nexus.local"});
  CHECK(all_notes(plan).find("k3s keeps asking nexus.local itself") != std::string::npos);
  CHECK(asked_by_k3s(text, "docker.io", true) == Urls{kLayerd, "https://registry-1.docker.io"});
  // Under the flag "*" would close everything: the default entry is written beside k3s's files instead.
  CHECK(asked_by_k3s(text, "quay.io", true) == Urls{"https://quay.io"});
  CHECK(after(plan, kHosts + "/_default/hosts.toml").find("server") == std::string::npos);
  CHECK(all_notes(plan).find("todo: k3s reads its flags when it starts") != std::string::npos);
  files.take(plan);
  CHECK(good(plan_k3s(files, input, {"k3s"})).changes.empty());
}

TEST_CASE("--no-fallback closes every registry and the default") {
  TextFiles files(Texts{});
  Input input;
  input.keep_fallback = false;
  const Plan plan = good(plan_k3s(files, input, {"k3s"}));
  CHECK(asked_by_k3s(after(plan, kRegistries), "docker.io", true) == Urls{kLayerd});
  CHECK(asked_by_k3s(after(plan, kRegistries), "quay.io", true) == Urls{kLayerd});
  CHECK(after(plan, kConfig) == "disable-default-registry-endpoint: true\n");
}

TEST_CASE("other places: rke2, private-registry, data-dir") {
  TextFiles rke2(Texts{});
  CHECK(after(good(plan_k3s(rke2, {}, {"rke2"})), "/etc/rancher/rke2/registries.yaml") != "(unchanged)");
  TextFiles moved(Texts{{kConfig, "private-registry: /srv/reg.yaml\ndata-dir: /srv/k3s\n"},
                        {"/srv/k3s/agent/etc/containerd/config.toml", "config_path='x'\n"}});
  const Plan plan = good(plan_k3s(moved, {}, {"k3s"}));
  CHECK(after(plan, "/srv/reg.yaml") != "(unchanged)");
  CHECK(after(plan, "/srv/k3s/agent/etc/containerd/certs.d/_default/hosts.toml") != "(unchanged)");
}

TEST_CASE("a template of containerd's configuration that leaves config_path out is told") {
  const std::string path = "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl";
  const auto notes = [&](const std::string& text) {
    TextFiles files(Texts{{path, text}});
    return all_notes(good(plan_k3s(files, {}, {"k3s"})));
  };
  CHECK(notes("version = 3\n").find(path + " takes the place of k3s's own template") != std::string::npos);
  CHECK(notes("version = 3\n").find("{{ template \"base\" . }}") != std::string::npos);
  for (const char* fine : {"{{ template \"base\" . }}\n[debug]\n", "config_path = \"x\"\n"})
    CHECK(notes(fine).find("takes the place") == std::string::npos);
}

TEST_CASE("a certificate that registries.yaml names and that is not there is told") {
  TextFiles files(
      Texts{{kRegistries,
             "configs:\n  reg.corp:\n    tls: {ca_file: /etc/ssl/corp.crt, cert_file: /etc/ssl/me.crt, "
             "key_file: /etc/ssl/me.key}\n"},
            {"/etc/ssl/me.crt", "PEM"},
            {"/etc/ssl/me.key", "PEM"}});
  const std::string notes = all_notes(good(plan_k3s(files, {}, {"k3s"})));
  CHECK(notes.find("configs.\"reg.corp\" names /etc/ssl/corp.crt, which is not there") != std::string::npos);
  CHECK(notes.find("me.crt") == std::string::npos);
}

TEST_CASE("a broken registries.yaml is refused with file, line and column") {
  TextFiles files(Texts{{kRegistries, "mirrors:\n  a.b: {endpoint: [x]\n"}});
  const auto refused = plan_k3s(files, {}, {"k3s"});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find(kRegistries + ":") == 0);
  TextFiles twice(Texts{{kRegistries, "mirrors:\n  a.b: {}\n  a.b: {}\n"}});
  CHECK(plan_k3s(twice, {}, {"k3s"})
            .error()
            .message.find(kRegistries + ":3:3: the key \"a.b\" is there twice") == 0);
}
