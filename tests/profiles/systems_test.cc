// The systems of users.md (its last section), one pull each with real clients, as one site has them all: by a
// short name, over TLS, with credentials. Requests reach layerd by containerd's hosts.toml, and by skopeo's
// path.
#include <thread>

#include "tests/profiles/site.h"

using namespace layerd::test;

namespace {

struct System {
  const char* name;
  const char* short_name;  // pods say docker.io/<short_name>/…
  const char* registry;    // what it stands for; a path may follow
  const char* repository;  // below it
  const char* credential;  // that its registry or token server saw
};

const std::vector<System> kSystems = {
    {"Nexus behind nginx, self-signed, from registries.yaml", "nexus", "docker.nexus.local", "admin-server",
     "Basic puller:n3xus$!"},
    {"Nexus with tokens and a broken realm", "hosted", "nexus.corp.example:8082", "team/app",
     "Basic puller:n3xus$!"},
    {"GHCR", "gh", "ghcr.io/acme", "private", "Basic octocat:ghp_s3cret"},
    {"Harbor, a robot account", "harbor", "harbor-tls.corp.example/bootcamp", "app",
     "Basic robot$bootcamp+puller:s3cret$!@"},
    {"Harbor, a proxy-cache project", "hub", "harbor-tls.corp.example/dockerhub-proxy/library", "nginx",
     "Basic robot$bootcamp+puller:s3cret$!@"},
    {"Aliyun ACR, personal, from a dockerconfigjson", "aliyun",
     "crpi-abc123.cn-hangzhou.personal.cr.aliyuncs.com/jane", "app", "Basic jane@aliyun.com:p$w!@:#%"},
    {"Aliyun ACR, enterprise", "acr", "acme-registry.cn-hangzhou.cr.aliyuncs.com/prod", "app",
     "Basic jane@aliyun.com:p$w!@:#%"},
    {"Tencent TCR", "tcr", "acme.tencentcloudcr.com/team", "app", "Basic tcr$puller:eyJhb.s3cret"},
    {"AWS ECR, its helper", "ecr", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team", "app",
     "Basic AWS:s3cret-of-12-hours"},
    {"GCR and Artifact Registry", "gar", "europe-docker.pkg.dev/acme/prod", "app",
     "Basic oauth2accesstoken:ya29.s3cret"},
    {"Docker Hub, a private repository", "private", "docker.io/alice", "private",
     "Basic alice:dckr_pat_s3cret"},
    {"Gitea", "git", "git.corp.example/jenkins", "app", "Basic jenkins:gitea s3cret"},
    {"the platform's private registry inside, the authority of cert-manager", "platform",
     "registry.platform.example", "team/app", "Basic platform:s3cret"},
};

std::string account(const std::string& host, const std::string& user, const std::string& password) {
  return fmt::format(
      "  \"{}\":\n    auth: {{username: \"{}\", password: \"{}\"}}\n    tls: {{ca_file: {}}}\n", host, user,
      password, World::get().site_ca());
}

std::string public_account(const std::string& host, const std::string& user, const std::string& password) {
  return fmt::format("  \"{}\": {{auth: {{username: \"{}\", password: \"{}\"}}}}\n", host, user, password);
}

// What came with k3s and is left there.
std::string registries_file() {
  const auto file = World::get().path("k3s-registries.yaml");
  write_text(file,
             "mirrors:\n  docker.nexus.local: {endpoint: [\"https://docker.nexus.local\"]}\n"
             "configs:\n  docker.nexus.local:\n    auth: {username: puller, password: n3xus$!}\n"
             "    tls: {insecure_skip_verify: true}\n");
  return "registries_file: " + file + "\n";
}

std::string credentials() {
  const auto config = secret_file(
      "systems.dockerconfigjson",
      fmt::format(R"({{"auths": {{"crpi-abc123.cn-hangzhou.personal.cr.aliyuncs.com": {{"username":)"
                  R"( "jane@aliyun.com", "password": "p$w!@:#%"}}, "https://index.docker.io/v1/": {{"auth":)"
                  R"( "{}"}}}}}})",
                  base64("alice:dckr_pat_s3cret")));
  secret_file("ecr.password", "s3cret-of-12-hours");
  const auto helper =
      secret_file("docker-credential-ecr",
                  "#!/bin/sh\nread server\n"
                  "echo '{\"ServerURL\":\"\",\"Username\":\"AWS\",\"Secret\":\"s3cret-of-12-hours\"}'\n",
                  true);
  return fmt::format(
      "credentials:\n  docker_config: [{}]\n"
      "  helpers: [{{match: \"*.dkr.ecr.*.amazonaws.com\", helper: {}}}]\n",
      config, helper);
}

std::string whole_site() {
  std::string text = registries_file() + credentials() + "aliases:\n";
  for (const auto& each : kSystems)
    text += fmt::format("  - {{from: \"docker.io/{}/**\", to: \"{}/**\"}}\n", each.short_name, each.registry);
  return text + "configs:\n" + account("nexus.corp.example:8082", "puller", "n3xus$!") +
         public_account("ghcr.io", "octocat", "ghp_s3cret") +
         account("harbor-tls.corp.example", "robot$bootcamp+puller", "s3cret$!@") +
         public_account("acme-registry.cn-hangzhou.cr.aliyuncs.com", "jane@aliyun.com", "p$w!@:#%") +
         public_account("acme.tencentcloudcr.com", "tcr$puller", "eyJhb.s3cret") +
         public_account("europe-docker.pkg.dev", "oauth2accesstoken", "ya29.s3cret") +
         account("git.corp.example", "jenkins", "gitea s3cret") +
         account("registry.platform.example", "platform", "s3cret");
}

// The repository as the registry has it: what stands behind its host.
std::string path_at_registry(const System& system) {
  const std::string whole = fmt::format("{}/{}", system.registry, system.repository);
  return whole.substr(whole.find('/') + 1);
}

bool was_authenticated(const Node& node, const System& system) {
  for (const auto& each : node.asked()) {
    if (each.credential == system.credential && each.status == 200) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a short name, TLS and credentials: each system of the sites, with ctr and with skopeo",
          "[profiles][systems]") {
  for (const auto& system : kSystems) {
    DYNAMIC_SECTION(system.name) {
      const Image image = World::get().publish(path_at_registry(system), "v1");
      Node node(whole_site());
      const std::string name = fmt::format("docker.io/{}/{}:v1", system.short_name, system.repository);
      node.must_pull(name, image);
      CHECK(was_authenticated(node, system));
      const auto before = node.asked().size();
      const TempDir folder;
      const Finished copied = run({"skopeo", "--insecure-policy", "copy", "--src-tls-verify=false",
                                   fmt::format("docker://127.0.0.1:{}/{}", node.port(), name),
                                   "oci:" + folder.path() + "/image:v1"});
      INFO(copied.output);
      CHECK(copied.status == 0);
      CHECK((read_text(folder / "image/blobs/sha256/" + image.layers[0].substr(7)) ==
             image.blobs.at(image.layers[0])));
      // At most the tag is looked at again.
      CHECK(node.asked().size() <= before + 1);
    }
  }
}

TEST_CASE("a regional cache with the site's authority in front of Docker Hub; without it Hub itself",
          "[profiles][systems]") {
  const Image image = World::get().publish("library/cached"), other = World::get().publish("library/direct");
  const auto through = [](const char* cache) {
    return fmt::format(
        "mirrors: {{docker.io: {{endpoint: [\"https://{0}\"]}}}}\nconfigs: {{\"{0}\": {{tls: {{ca_file: "
        "{1}}}}}}}\n",
        cache, World::get().site_ca());
  };
  {
    // A real docker-registry as a pull-through cache.
    Node node(through("cache.corp.example:5443"));
    node.must_pull("docker.io/library/cached:1", image);
    CHECK(node.asked("https://registry-1.docker.io").empty());
  }
  Node node(through("cache.corp.example:5999"));  // nobody listens there
  node.must_pull("docker.io/library/direct:1", other);
  CHECK_FALSE(node.asked("https://registry-1.docker.io").empty());
}

TEST_CASE("as kaniko asks: the ping, the registry in the path, HEAD before GET", "[profiles][systems]") {
  const Image image = World::get().publish("jenkins/base");
  Node node(whole_site());
  // go-containerregistry, which kaniko is built on (protocol.md §1.10); kaniko itself is not run here.
  CHECK(node.get("/v2/").status == 200);
  const std::string base = "/v2/docker.io/git/base/";
  const ProbeReply head = node.head(base + "manifests/1");
  CHECK(head.status == 200);
  CHECK(head.header("docker-content-digest") == image.top);
  CHECK_FALSE(head.header("content-length").empty());
  CHECK_FALSE(head.header("content-type").empty());
  const ProbeReply layer = node.get(base + "blobs/" + image.layers[0]);
  CHECK((layer.body == image.blobs.at(image.layers[0])));
  CHECK(layer.header("content-length") == std::to_string(layer.body.size()));
}
