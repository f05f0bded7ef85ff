// Registries of the clouds and of the code hosts (protocol.md §3.4): GHCR, quay, Artifact Registry,
// registry.k8s.io, ECR, Azure ACR. Most need no line of configuration, or an account alone.
#include "tests/profiles/site.h"

using namespace layerd::test;

namespace {

constexpr const char* kEcr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const std::string kEcrSecret = "eyJwYXlsb2FkIjoi-s3cret";

// Every request that `origin` got came without a credential, and there were some.
void check_nothing_was_told(const Node& node, const std::string& origin) {
  CHECK_FALSE(node.asked(origin).empty());
  for (const auto& each : node.asked(origin)) CHECK(each.credential.empty());
}

// A docker credential helper that notes each run and knows one account.
std::string helper(const std::string& name, const std::string& user, const std::string& secret_path) {
  return secret_file("docker-credential-" + name,
                     fmt::format("#!/bin/sh\nread server\necho \"$1 $server\" >> {0}.runs\n"
                                 "printf '{{\"ServerURL\":\"%s\",\"Username\":\"{1}\",\"Secret\":\"%s\"}}' "
                                 "\"$server\" \"$(cat {2})\"\n",
                                 World::get().path(name), user, secret_path),
                     true);
}

}  // namespace

TEST_CASE("GHCR: public packages without an account, the others with a token", "[profiles]") {
  const Image open = World::get().publish("acme/open"), closed = World::get().publish("acme/private");
  SECTION("anonymous") {
    Node node;
    node.must_pull("ghcr.io/acme/open:1", open);
    const Asked token = node.token_request();
    CHECK(token.target == "/token?service=ghcr.io&scope=repository%3Aacme%2Fopen%3Apull");
    CHECK(token.credential.empty());
    check_nothing_was_told(node, "https://pkg-containers.githubusercontent.com");
    // Its token server answers 403 for what one may not see.
    const ProbeReply refused = node.get("/v2/acme/private/manifests/1?ns=ghcr.io");
    INFO(refused.body);
    CHECK(is_refusal(refused));
    CHECK(refused.body.find("no credentials are configured for ghcr.io") != std::string::npos);
  }
  SECTION("with an account") {
    Node node("configs: {ghcr.io: {auth: {username: octocat, password: ghp_s3cret}}}\n");
    node.must_pull("ghcr.io/acme/private:1", closed);
    CHECK(node.token_request().credential == "Basic octocat:ghp_s3cret");
    check_nothing_was_told(node, "https://pkg-containers.githubusercontent.com");
  }
}

TEST_CASE("GHCR: a client that accepts no index still gets it, since layerd asks for every type",
          "[profiles]") {
  World::get().publish("acme/open");
  Node node;
  const ProbeReply reply = node.get("/v2/acme/open/manifests/1?ns=ghcr.io",
                                    {{"Accept", "application/vnd.docker.distribution.manifest.v2+json"}});
  CHECK(reply.status == 200);
}

TEST_CASE("quay: a robot account; its web page for 404 is not mistaken for the registry's word",
          "[profiles]") {
  const Image open = World::get().publish("acme/open"), closed = World::get().publish("acme/private");
  Node node("configs: {quay.io: {auth: {username: acme+puller, password: s3cret$quay}}}\n");
  node.must_pull("quay.io/acme/private:1", closed);
  const Asked token = node.token_request();
  CHECK(token.credential == "Basic acme+puller:s3cret$quay");
  CHECK(token.target.find("account=acme%2Bpuller") != std::string::npos);
  check_nothing_was_told(node, "https://cdn01.quay.io");
  const ProbeReply missing = node.get("/v2/acme/private/manifests/none?ns=quay.io");
  INFO(missing.status << " " << missing.body);
  CHECK(missing.status == 502);
}

TEST_CASE("Artifact Registry: the challenge on /v2/ alone, relative redirects that want the token",
          "[profiles]") {
  const Image image = World::get().publish("acme/prod/app");
  const std::string host = "europe-docker.pkg.dev";
  const std::string key =
      "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN PRIVATE KEY-----\\nMIIE$\"\n}";
  SECTION("_json_key, the key file as it was downloaded") {
    Node node(fmt::format("configs: {{{}: {{auth: {{username: _json_key, password_file: {}}}}}}}\n", host,
                          secret_file("key.json", key)));
    // Several ranges at once are 400 there; a client gets them all the same.
    const ProbeReply ranges = node.get(fmt::format("/v2/acme/prod/app/blobs/{}?ns={}", image.layers[0], host),
                                       {{"Range", "bytes=0-9,1000-1009"}});
    CHECK(ranges.status == 206);
    CHECK(ranges.header("content-type").find("multipart/byteranges") == 0);
    node.must_pull(host + "/acme/prod/app:1", image);
    CHECK(node.token_request().credential.find("Basic _json_key:{\\n  \"type\"") == 0);
    bool was_redirected = false;
    for (const auto& each : node.asked("https://" + host)) {
      if (each.target.find("/artifacts-downloads/") != 0) continue;
      was_redirected = true;
      CHECK(each.credential.find("Bearer ") == 0);
      CHECK(each.status == 200);
    }
    CHECK(was_redirected);
  }
  SECTION("oauth2accesstoken from a helper") {
    const auto secret = secret_file("gcr.token", "ya29.s3cret");
    Node node(fmt::format("credentials: {{helpers: [{{match: \"*-docker.pkg.dev\", helper: {}}}]}}\n",
                          helper("gcr", "oauth2accesstoken", secret)));
    node.must_pull(host + "/acme/prod/app:1", image);
    CHECK(node.token_request().credential == "Basic oauth2accesstoken:ya29.s3cret");
    CHECK(read_text(World::get().path("gcr.runs")) == "get " + host + "\n");
  }
}

TEST_CASE("gcr.io: public images without an account", "[profiles]") {
  const Image image = World::get().publish("acme/open");
  Node node;
  node.must_pull("gcr.io/acme/open:1", image);
  CHECK(node.token_request().target == "/v2/token?service=gcr.io&scope=repository%3Aacme%2Fopen%3Apull");
}

TEST_CASE("registry.k8s.io: manifests from one host, blobs from another, credentials to none", "[profiles]") {
  const Image image = World::get().publish("k8s-artifacts-prod/images/pause", "3.10");
  Node node;
  node.must_pull("registry.k8s.io/pause:3.10", image);
  check_nothing_was_told(node, "https://europe-west4-docker.pkg.dev");
  check_nothing_was_told(node,
                         "https://prod-registry-k8s-io-eu-central-1.s3.dualstack.eu-central-1.amazonaws.com");
  // What is answered under registry.k8s.io is kept under that name.
  CHECK(node.head("/v2/pause/manifests/3.10?ns=registry.k8s.io").header("docker-content-digest") ==
        image.top);
}

TEST_CASE("ECR: AWS and a password that a helper gets, not told to S3; a new one once the old has run out",
          "[profiles]") {
  const Image first = World::get().publish("team/app"), second = World::get().publish("team/app", "2");
  const auto secret = secret_file("ecr.password", kEcrSecret);
  const auto runs = World::get().path("ecr-login.runs");
  Node node(fmt::format("credentials: {{helpers: [{{match: \"*.dkr.ecr.*.amazonaws.com\", helper: {}}}]}}\n",
                        helper("ecr-login", "AWS", secret)));
  node.must_pull(fmt::format("{}/team/app:1", kEcr), first);
  for (const auto& each : node.asked(fmt::format("https://{}", kEcr)))
    if (each.status != 401) CHECK(each.credential == "Basic AWS:" + kEcrSecret);
  check_nothing_was_told(node, "https://prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com");
  CHECK(read_text(runs) == fmt::format("get {}\n", kEcr));
  // What was given within 5 s is not asked for again (docs/credentials.md).
  std::this_thread::sleep_for(std::chrono::milliseconds(5200));
  secret_file("ecr.password", kEcrSecret + "-next");
  node.must_pull(fmt::format("{}/team/app:2", kEcr), second);
  CHECK(read_text(runs) == fmt::format("get {0}\nget {0}\n", kEcr));
  CHECK(node.asked(fmt::format("https://{}", kEcr)).back().credential == "Basic AWS:" + kEcrSecret + "-next");
}

TEST_CASE("ECR by the kubelet's credential provider, which says how long its answer counts", "[profiles]") {
  const Image image = World::get().publish("team/app"), other = World::get().publish("team/other");
  secret_file("ecr.password", kEcrSecret);
  const auto plugin = secret_file(
      "ecr-credential-provider",
      fmt::format("#!/bin/sh\ncat >> {0}\necho >> {0}\n"
                  "echo '{{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":"
                  "\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"Registry\",\"cacheDuration\":"
                  "\"12h0m0s\",\"auth\":{{\"*.dkr.ecr.*.amazonaws.com\":{{\"username\":\"AWS\",\"password\":"
                  "\"{1}\"}}}}}}'\n",
                  World::get().path("plugin.stdin"), kEcrSecret),
      true);
  Node node(
      fmt::format("credentials: {{helpers: [{{match: \"*.dkr.ecr.*.amazonaws.com\", helper: {}, kind: "
                  "kubelet}}]}}\n",
                  plugin));
  node.must_pull(fmt::format("{}/team/app:1", kEcr), image);
  node.must_pull(fmt::format("{}/team/other:1", kEcr), other);
  const auto told = read_text(World::get().path("plugin.stdin"));
  INFO(told);
  CHECK(told.find("CredentialProviderRequest") == told.rfind("CredentialProviderRequest"));
  CHECK(told.find(fmt::format("{}/team/app", kEcr)) != std::string::npos);
}

TEST_CASE("public.ecr.aws without an account, its objects from CloudFront", "[profiles]") {
  const Image image = World::get().publish("acme/tool");
  Node node;
  node.must_pull("public.ecr.aws/acme/tool:1", image);
  CHECK(node.token_request().target ==
        "/token/?service=public.ecr.aws&scope=repository%3Aacme%2Ftool%3Apull");
  check_nothing_was_told(node, "https://d2glxqk2uabbnd.cloudfront.net");
}

TEST_CASE("Azure ACR: a refresh token goes by POST, a password by GET, and neither to the blob storage",
          "[profiles]") {
  const Image image = World::get().publish("team/app");
  const std::string host = "contoso.azurecr.io";
  SECTION("the refresh token that `az acr login` leaves in the docker config") {
    const auto file = secret_file(
        "acr.json",
        fmt::format(R"({{"auths": {{"{}": {{"auth": "{}", "identitytoken": "{}"}}}}}})", host,
                    base64("00000000-0000-0000-0000-000000000000:"), "eyJhbGciOiJSUzI1NiJ9.s3cret"));
    Node node(fmt::format("credentials: {{docker_config: [{}]}}\n", file));
    node.must_pull(host + "/team/app:1", image);
    const Asked token = node.token_request();
    CHECK(token.method == "POST");
    CHECK(token.credential.empty());
    CHECK(token.body.find("grant_type=refresh_token") == 0);
    CHECK(token.body.find("service=contoso.azurecr.io") != std::string::npos);
    CHECK(token.body.find("scope=repository%3Ateam%2Fapp%3Apull") != std::string::npos);
  }
  SECTION("the admin account's password") {
    Node node("configs: {contoso.azurecr.io: {auth: {username: contoso, password: \"s3cret+/==\"}}}\n");
    node.must_pull(host + "/team/app:1", image);
    const Asked token = node.token_request();
    CHECK(token.method == "GET");
    CHECK(token.credential == "Basic contoso:s3cret+/==");
    check_nothing_was_told(node, "https://contosoweu.blob.core.windows.net");
  }
}
