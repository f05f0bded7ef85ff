// Registries that sites run themselves (protocol.md §3.4, users.md 1, 2 and 5): Harbor, Nexus, GitLab, Gitea,
// zot; with a private authority, most of them behind nginx as ingress.
#include <filesystem>

#include "tests/profiles/site.h"

using namespace layerd::test;

namespace {

std::string site_tls() { return fmt::format("tls: {{ca_file: {}}}", World::get().site_ca()); }

// One entry of `configs`: an account, and the site's authority.
std::string login(const std::string& host, const std::string& user, const std::string& password) {
  return fmt::format("  \"{}\": {{auth: {{username: \"{}\", password: \"{}\"}}, {}}}\n", host, user, password,
                     site_tls());
}

const std::string kRobot = "robot$bootcamp+puller", kRobotSecret = "s3cret$!@";
const std::string kService = "nexus-nexus-repository-manager.platform.svc.cluster.local:5000";

}  // namespace

TEST_CASE("Harbor over HTTP at an address, with a robot whose name has $ and +", "[profiles]") {
  const Image image = World::get().publish("bootcamp/app");
  Node node(
      fmt::format("mirrors: {{\"10.0.24.28:30002\": {{endpoint: [\"http://10.0.24.28:30002\"]}}}}\n"
                  "configs: {{\"10.0.24.28:30002\": {{auth: {{username: \"{}\", password: \"{}\"}}}}}}\n",
                  kRobot, kRobotSecret));
  node.must_pull("10.0.24.28:30002/bootcamp/app:1", image);
  const Asked token = node.token_request();
  CHECK(token.origin == "http://10.0.24.28:30002");
  CHECK(token.credential == "Basic " + kRobot + ":" + kRobotSecret);
  CHECK(token.target.find("account=robot%24bootcamp%2Bpuller") != std::string::npos);
  CHECK(token.target.find("service=harbor-registry&") != std::string::npos);
}

TEST_CASE("Harbor over HTTPS behind nginx: a realm with http:// at its own host is asked with TLS",
          "[profiles]") {
  const Image image = World::get().publish("bootcamp/app");
  Node node("configs:\n" + login("harbor-tls.corp.example", kRobot, kRobotSecret));
  node.must_pull("harbor-tls.corp.example/bootcamp/app:1", image);
  CHECK(node.token_request().credential == "Basic " + kRobot + ":" + kRobotSecret);
}

// rules: realm-at-home
TEST_CASE("Harbor whose realm is a host inside the cluster, without TLS: Harbor itself is asked instead",
          "[profiles]") {
  const Image image = World::get().publish("bootcamp/app");
  Node node("configs:\n" + login("harbor.corp.example", kRobot, kRobotSecret));
  node.must_pull("harbor.corp.example/bootcamp/app:1", image);
  const Asked token = node.token_request();
  CHECK(token.origin == "http://harbor.corp.example");  // as seen behind nginx
  CHECK(token.target.find("/service/token?service=harbor-registry&") == 0);
  CHECK(token.credential == "Basic " + kRobot + ":" + kRobotSecret);
  CHECK(node.asked("http://harbor-harbor-core.default.svc.cluster.local").empty());
}

TEST_CASE("Harbor's proxy cache as a mirror of Docker Hub: the project stands in the endpoint's path",
          "[profiles]") {
  const Image image = World::get().publish("dockerhub-proxy/library/redis");
  Node node(
      fmt::format("mirrors:\n  docker.io:\n    endpoint: "
                  "[\"https://harbor-tls.corp.example/v2/dockerhub-proxy\"]\n"
                  "configs: {{harbor-tls.corp.example: {{{}}}}}\n",
                  site_tls()));
  node.must_pull("docker.io/library/redis:1", image);
  const Asked token = node.token_request();
  CHECK(token.target.find("scope=repository%3Adockerhub-proxy%2Flibrary%2Fredis%3Apull") !=
        std::string::npos);
  CHECK(node.asked("https://registry-1.docker.io").empty());
}

TEST_CASE("Harbor without the project in the path answers with a web page, which is told as such",
          "[profiles]") {
  World::get().publish("dockerhub-proxy/library/redis");
  Node node(
      fmt::format("mirrors: {{quay.io: {{endpoint: [\"https://harbor-tls.corp.example/redis\"], "
                  "default_endpoint: false}}}}\nconfigs: {{harbor-tls.corp.example: {{{}}}}}\n",
                  site_tls()));
  const ProbeReply reply = node.get("/v2/library/redis/manifests/1?ns=quay.io");
  INFO(reply.status << " " << reply.body);
  CHECK(reply.status == 502);
  CHECK(reply.body.find("not a registry") != std::string::npos);
}

TEST_CASE("Nexus by its short name nexus/…, at a service that the cluster's DNS knows, with Basic",
          "[profiles]") {
  const Image image = World::get().publish("admin-server");
  Node node(
      fmt::format("aliases: [{{from: \"docker.io/nexus/**\", to: \"docker.nexus.local/**\"}}]\n"
                  "mirrors: {{docker.nexus.local: {{endpoint: [\"http://{0}\"], default_endpoint: "
                  "false}}}}\n"
                  "configs: {{\"{0}\": {{auth: {{username: puller, password: \"n3xus$!\"}}}}}}\n",
                  kService));
  node.must_pull("docker.io/nexus/admin-server:1", image);
  for (const auto& each : node.asked()) {
    CHECK(each.origin == "http://" + kService);
    CHECK(each.target.find("/v2/admin-server/") == 0);
    if (each.status == 200) CHECK(each.credential == "Basic puller:n3xus$!");
  }
}

TEST_CASE("Nexus behind nginx as docker.nexus.local, self-signed, as a k3s registries.yaml has it",
          "[profiles]") {
  const Image image = World::get().publish("admin-server");
  const auto file = World::get().path("registries.yaml");
  write_text(file,
             "mirrors:\n  docker.nexus.local:\n    endpoint:\n      - \"https://docker.nexus.local\"\n"
             "configs:\n  \"docker.nexus.local\":\n    auth:\n      username: puller\n      password: "
             "n3xus$!\n    tls:\n      insecure_skip_verify: true\n");
  Node node("registries_file: " + file + "\n");
  node.must_pull("docker.nexus.local/admin-server:1", image);
  CHECK(node.asked().back().credential == "Basic puller:n3xus$!");
  CHECK(node.asked().back().origin == "http://docker.nexus.local");
}

TEST_CASE("Nexus by the path of a repository", "[profiles]") {
  const Image image = World::get().publish("admin-server");
  Node node(
      "mirrors: {docker-group.nexus: {endpoint: "
      "[\"https://nexus.corp.example:8443/repository/docker-group/v2\"]}}\nconfigs:\n" +
      login("nexus.corp.example:8443", "puller", "n3xus$!"));
  node.must_pull("docker-group.nexus/admin-server:1", image);
  CHECK(node.asked().back().target.find("/repository/docker-group/v2/admin-server/") == 0);
}

// rules: realm-at-home
TEST_CASE("Nexus with a realm null:// is asked for tokens at its own address", "[profiles]") {
  const Image open = World::get().publish("open/app"), closed = World::get().publish("team/app");
  SECTION("anonymous") {
    Node node(fmt::format("configs: {{\"nexus.corp.example:8082\": {{{}}}}}\n", site_tls()));
    node.must_pull("nexus.corp.example:8082/open/app:1", open);
    CHECK(node.token_request().target.find("/v2/token?scope=repository%3Aopen%2Fapp%3Apull") == 0);
  }
  SECTION("with an account") {
    Node node("configs:\n" + login("nexus.corp.example:8082", "puller", "n3xus$!"));
    node.must_pull("nexus.corp.example:8082/team/app:1", closed);
    CHECK(node.token_request().credential == "Basic puller:n3xus$!");
  }
}

TEST_CASE("Nexus asked at the port of its web pages is told to be no registry", "[profiles]") {
  Node node(fmt::format("configs: {{nexus.corp.example: {{{}}}}}\n", site_tls()));
  const ProbeReply reply = node.get("/v2/admin-server/manifests/1?ns=nexus.corp.example");
  INFO(reply.status << " " << reply.body);
  CHECK(reply.status == 502);
  CHECK(reply.body.find("https://nexus.corp.example answered 200 with a web page: it is not a registry") !=
        std::string::npos);
}

TEST_CASE("GitLab: the realm on another host, and its dependency proxy at that host", "[profiles]") {
  const Image image = World::get().publish("group/project/app");
  const Image cached = World::get().publish("group/dependency_proxy/containers/alpine");
  Node node("configs:\n" + login("registry.gitlab.corp.example", "gitlab+deploy-token-7", "gldt-s3cret") +
            login("gitlab.corp.example", "gitlab+deploy-token-7", "gldt-s3cret"));
  node.must_pull("registry.gitlab.corp.example/group/project/app:1", image);
  const Asked token = node.token_request();
  CHECK(token.origin == "https://gitlab.corp.example");
  CHECK(token.target.find("/jwt/auth?service=container_registry&") == 0);
  CHECK(token.credential == "Basic gitlab+deploy-token-7:gldt-s3cret");
  node.must_pull("gitlab.corp.example/group/dependency_proxy/containers/alpine:1", cached);
  CHECK(node.asked("https://gitlab.corp.example").back().status == 200);
}

TEST_CASE("Gitea: two challenges, tokens without expiry or service, no ranges", "[profiles]") {
  const Image open = World::get().publish("open/app"), closed = World::get().publish("jenkins/app");
  // The second one's ROOT_URL is wrong: its realm is http.
  const std::string host = GENERATE("git.corp.example", "gitea.corp.example");
  SECTION("anonymous") {
    Node node(fmt::format("configs: {{{}: {{{}}}}}\n", host, site_tls()));
    const ProbeReply part = node.get(fmt::format("/v2/open/app/blobs/{}?ns={}", open.layers[0], host),
                                     {{"Range", "bytes=70000-"}});
    CHECK(part.status == 206);
    CHECK((part.body == open.blobs.at(open.layers[0]).substr(70000)));
    node.must_pull(host + "/open/app:1", open);
    CHECK(node.token_request().target == "/v2/token?scope=repository%3Aopen%2Fapp%3Apull");
  }
  SECTION("with an account") {
    Node node("configs:\n" + login(host, "jenkins", "gitea s3cret"));
    node.must_pull(host + "/jenkins/app:1", closed);
    CHECK(node.token_request().credential == "Basic jenkins:gitea s3cret");
  }
}

// rules: ingress-without-route
TEST_CASE("a registry behind Traefik: a lost route is no word of the registry, what is cached goes on",
          "[profiles]") {
  const Image image = World::get().publish("team/app");
  const auto route = World::get().path("traefik.route");
  write_text(route, "");
  Node node(fmt::format("tags: {{fresh_for: 0s}}\nconfigs: {{traefik.corp.example: {{{}}}}}\n", site_tls()));
  node.must_pull("traefik.corp.example/team/app:1", image);
  std::filesystem::remove(route);
  const ProbeReply known = node.get("/v2/team/app/manifests/1?ns=traefik.corp.example");
  INFO(known.status << " " << known.body);
  CHECK(known.status == 200);
  CHECK(known.header("layerd-source") == "stale");
  const ProbeReply unknown = node.get("/v2/team/app/manifests/none?ns=traefik.corp.example");
  INFO(unknown.status << " " << unknown.body);
  CHECK(unknown.status == 502);
  CHECK(unknown.body.find("an ingress does that has no route for this host") != std::string::npos);
  // The registry's own 404 is one.
  write_text(route, "");
  CHECK(node.get("/v2/team/app/manifests/none?ns=traefik.corp.example").status == 404);
}

TEST_CASE("zot with Basic", "[profiles]") {
  const Image image = World::get().publish("team/app");
  Node node("configs:\n" + login("zot.corp.example:5000", "reader", "z0t"));
  node.must_pull("zot.corp.example:5000/team/app:1", image);
  CHECK(node.asked().back().credential == "Basic reader:z0t");
}
