// Docker Hub (protocol.md §3.4): library/, tokens from auth.docker.io, a CDN, limits, and the registries of
// distribution itself, which Hub runs.
#include "tests/profiles/site.h"

using namespace layerd::test;

namespace {

constexpr const char* kHub = "https://registry-1.docker.io";
constexpr const char* kCdn = "https://production.cloudflare.docker.com";

std::string docker_config(const std::string& key, const std::string& user, const std::string& password) {
  return fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", key, base64(user + ":" + password));
}

std::string with_hub_account(const std::string& user) {
  const auto file = secret_file("hub-" + user + ".json",
                                docker_config("https://index.docker.io/v1/", user, "dckr_pat_s3cret"));
  return fmt::format("credentials: {{docker_config: [{}]}}\n", file);
}

// GET of manifests is what Hub counts.
std::size_t counted_by_hub(const Node& node) {
  std::size_t found = 0;
  for (const auto& each : node.asked(kHub))
    found +=
        each.method == "GET" && each.target.find("/manifests/") != std::string::npos && each.status != 401;
  return found;
}

}  // namespace

// rules: pull-limits-shown
TEST_CASE("Docker Hub: an official image, without an account and without a line of configuration",
          "[profiles]") {
  const Image image = World::get().publish("library/nginx", "1");
  Node node;
  node.must_pull("docker.io/library/nginx:1", image);
  const Asked token = node.token_request();
  CHECK(token.origin == "https://auth.docker.io");
  CHECK(token.target == "/token?service=registry.docker.io&scope=repository%3Alibrary%2Fnginx%3Apull");
  CHECK(token.credential.empty());
  // The CDN gets no token, and each object once.
  CHECK(node.asked(kCdn).size() == image.blobs.size());
  for (const auto& each : node.asked(kCdn)) {
    CHECK(each.credential.empty());
    CHECK(each.status == 200);
  }
  // One for it, however often it is pulled.
  node.must_pull("docker.io/library/nginx:1", image);
  CHECK(counted_by_hub(node) == 1);

  const Finished check = node.command({"check", "docker.io/library/nginx:1"});
  INFO(check.output);
  CHECK(check.status == 0);

  // What is left is shown, and read again from each answer.
  const auto hub = fmt::format("{{endpoint=\"{}\"}}", kHub);
  CHECK(node.metric("layerd_upstream_pull_limit" + hub) == 100);
  const double left = node.metric("layerd_upstream_pulls_left" + hub);
  CHECK(left < 100);
  const Finished status = node.command({"status", "--json"});
  INFO(status.output);
  CHECK(status.output.find("\"window_seconds\": 21600") != std::string::npos);
  CHECK(node.command({"status"}).output.find(fmt::format("{} of 100", left)) != std::string::npos);
}

TEST_CASE("Docker Hub: a personal account from a docker config, its key https://index.docker.io/v1/",
          "[profiles]") {
  const Image image = World::get().publish("alice/private");
  Node node(with_hub_account("alice"));
  node.must_pull("docker.io/alice/private:1", image);
  const Asked token = node.token_request();
  CHECK(token.origin == "https://auth.docker.io");
  CHECK(token.credential == "Basic alice:dckr_pat_s3cret");
  for (const auto& each : node.asked(kCdn)) CHECK(each.credential.empty());
  CHECK(node.metric(fmt::format("layerd_upstream_pull_limit{{endpoint=\"{}\"}}", kHub)) == 200);
}

TEST_CASE("Docker Hub: a paid account has no limit, and none is shown", "[profiles]") {
  const Image image = World::get().publish("acme/app");
  Node node(with_hub_account("paying"));
  node.must_pull("docker.io/acme/app:1", image);
  CHECK(node.metric(fmt::format("layerd_upstream_pull_limit{{endpoint=\"{}\"}}", kHub)) == -1);
  CHECK(node.command({"status", "--json"}).output.find("\"pull_limit\": null") != std::string::npos);
}

// rules: pulls-used-up
TEST_CASE("Docker Hub: a limit that is used up is told and absorbed, never passed on as 429", "[profiles]") {
  World::get().publish("library/limited");
  Node node;
  const ProbeReply reply = node.get("/v2/library/limited/manifests/1?ns=docker.io");
  INFO(reply.status << " " << reply.reason << " " << reply.body);
  CHECK(reply.status >= 502);
  CHECK(reply.body.find("You have reached your pull rate limit") != std::string::npos);
  CHECK(reply.body.find("0 of 100 pulls in 6 h are left") != std::string::npos);
  const Finished check = node.command({"check", "docker.io/library/limited:1"});
  INFO(check.output);
  CHECK(check.status == 1);
  CHECK(check.output.find("rate_limited") != std::string::npos);
  // containerd would ask five times at once if it saw the 429 (protocol.md §1.3); Hub hears of none of it.
  const Finished pulled = node.pull("docker.io/library/limited:1");
  INFO(pulled.output);
  CHECK(pulled.status != 0);
  CHECK(counted_by_hub(node) == 1);
}

TEST_CASE("Docker Hub: what is not there and what is private is one 401, told as a refusal", "[profiles]") {
  World::get().publish("alice/secret");
  Node node;
  for (const char* repository : {"alice/secret", "acme/open-but-missing"}) {
    const ProbeReply reply = node.get(fmt::format("/v2/{}/manifests/1?ns=docker.io", repository));
    INFO(repository << " " << reply.status << " " << reply.body);
    CHECK(is_refusal(reply));
    CHECK(reply.body.find("no credentials are configured for registry-1.docker.io") != std::string::npos);
  }
}

TEST_CASE("distribution with htpasswd behind nginx, the authority of cert-manager in ca_file", "[profiles]") {
  const Image image = World::get().publish("team/app");
  Node node(
      fmt::format("configs: {{registry.platform.example: {{auth: {{username: platform, password: "
                  "s3cret}}, tls: {{ca_file: {}}}}}}}\n",
                  World::get().site_ca()));
  node.must_pull("registry.platform.example/team/app:1", image);
  for (const auto& each : node.asked()) {
    CHECK(each.origin == "http://registry.platform.example");
    if (each.status == 200) CHECK(each.credential == "Basic platform:s3cret");
  }
}
