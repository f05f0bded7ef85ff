// Real registries behind every kind of door: a private certificate authority, htpasswd, tokens, an ingress.
#include "tests/real/real.h"

using namespace layerd::test;

namespace {

// Pulls through layerd with a real containerd, and once more with the registry gone.
void pull_twice(const std::string& folder, const Image& image, DockerRegistry& registry,
                const std::string& more) {
  std::filesystem::create_directories(folder + "/layerd");
  Layerd layerd(folder + "/layerd", more);
  Containerd containerd(folder + "/containerd");
  containerd.mirror("registry.test", layerd.url());
  const Finished first = containerd.pull("registry.test/team/app:1");
  INFO(first.output << layerd.log() << registry.log());
  REQUIRE(first.status == 0);
  CHECK(containerd.has_content(image.layers.back()));
  CHECK(containerd.remove("registry.test/team/app:1").status == 0);
  registry.stop();
  const Finished second = containerd.pull("registry.test/team/app:1");
  INFO(second.output);
  CHECK(second.status == 0);
}

struct Setup {
  Setup() : ca(dir / "ca"), image(make_image({{3 << 20, 1000, 200 * 1024}})) {
    place_in_storage(image, dir / "storage", "team/app", "1");
  }
  TempDir dir;
  PrivateCa ca;
  Image image;
};

}  // namespace

TEST_CASE("a registry with a certificate of a private authority", "[real]") {
  Setup setup;
  RegistrySettings settings{setup.dir / "storage"};
  settings.certificate = setup.ca.issue("registry", "IP:127.0.0.1");
  DockerRegistry registry(setup.dir / "registry", settings);
  pull_twice(setup.dir.path(), setup.image, registry,
             mirror_of(registry.url(), "tls: {ca_file: " + setup.ca.ca_file() + "}"));
}

TEST_CASE("a registry with htpasswd", "[real]") {
  Setup setup;
  RegistrySettings settings{setup.dir / "storage"};
  settings.user = "robot$shop", settings.password = "p:w@$!";
  DockerRegistry registry(setup.dir / "registry", settings);
  pull_twice(setup.dir.path(), setup.image, registry,
             mirror_of(registry.url(), "auth: {username: \"robot$shop\", password: \"p:w@$!\"}"));
}

TEST_CASE("a registry with signed tokens", "[real]") {
  Setup setup;
  const std::string user = GENERATE("", "robot");
  TokenServer tokens(setup.ca.issue("signer", "DNS:signer.test"), "registry.test", user,
                     user.empty() ? "" : "secret");
  RegistrySettings settings{setup.dir / "storage"};
  settings.token_realm = tokens.realm();
  settings.token_service = "registry.test";
  settings.token_issuer = TokenServer::kIssuer;
  settings.token_roots = setup.ca.ca_file();
  DockerRegistry registry(setup.dir / "registry", settings);
  pull_twice(setup.dir.path(), setup.image, registry,
             mirror_of(registry.url(), user.empty() ? "" : "auth: {username: robot, password: secret}"));
  CHECK(tokens.requests() <= 2);
}

TEST_CASE("registries with htpasswd and with signed tokens, the credentials only in a docker config",
          "[real]") {
  Setup setup;
  const bool has_tokens = GENERATE(false, true);
  TokenServer tokens(setup.ca.issue("signer", "DNS:signer.test"), "registry.test", "robot", "s3cret:$!@");
  RegistrySettings settings{setup.dir / "storage"};
  if (has_tokens) {
    settings.token_realm = tokens.realm();
    settings.token_service = "registry.test";
    settings.token_issuer = TokenServer::kIssuer;
    settings.token_roots = setup.ca.ca_file();
  } else {
    settings.user = "robot", settings.password = "s3cret:$!@";
  }
  DockerRegistry registry(setup.dir / "registry", settings);
  // Without the field `auth`, as many a tool writes it.
  write_text(setup.dir / "d.json",
             fmt::format(R"({{"auths": {{"http://{}": {{"username": "robot", "password": "s3cret:$!@"}}}}}})",
                         registry.address()));
  pull_twice(setup.dir.path(), setup.image, registry,
             mirror_of(registry.url()) +
                 fmt::format("credentials: {{docker_config: [{}]}}\n", setup.dir / "d.json"));
}

TEST_CASE("a registry behind nginx that ends TLS", "[real]") {
  Setup setup;
  DockerRegistry registry(setup.dir / "registry", {setup.dir / "storage"});
  Nginx nginx(setup.dir / "nginx", setup.ca.issue("ingress", "DNS:ingress.test,IP:127.0.0.1"),
              registry.url());
  pull_twice(setup.dir.path(), setup.image, registry,
             mirror_of("https://" + nginx.address(), "tls: {ca_file: " + setup.ca.ca_file() + "}"));
}

TEST_CASE("a registry whose certificate nobody knows is refused in words", "[real]") {
  Setup setup;
  RegistrySettings settings{setup.dir / "storage"};
  settings.certificate = setup.ca.issue("registry", "IP:127.0.0.1");
  DockerRegistry registry(setup.dir / "registry", settings);
  std::filesystem::create_directories(setup.dir / "layerd");
  Layerd layerd(setup.dir / "layerd", mirror_of(registry.url()));
  const ProbeReply reply = layerd.get("/v2/team/app/manifests/1?ns=registry.test");
  CHECK(reply.status == 502);
  CHECK(reply.body.find("certificate") != std::string::npos);
}

TEST_CASE("an image pushed to the registry by skopeo is pulled with the same bytes", "[real]") {
  Setup setup;
  DockerRegistry registry(setup.dir / "registry", {setup.dir / "storage"});
  const Finished pushed = run({"skopeo", "--insecure-policy", "copy", "--src-tls-verify=false",
                               "--dest-tls-verify=false", "docker://" + registry.address() + "/team/app:1",
                               "docker://" + registry.address() + "/copied/app:2"});
  INFO(pushed.output);
  REQUIRE(pushed.status == 0);
  std::filesystem::create_directories(setup.dir / "layerd");
  Layerd layerd(setup.dir / "layerd", mirror_of(registry.url()));
  const ProbeReply manifest = layerd.get("/v2/copied/app/manifests/2?ns=registry.test");
  CHECK(manifest.status == 200);
  CHECK(sha256_digest(manifest.body) == manifest.header("docker-content-digest"));
  const ProbeReply layer = layerd.get("/v2/copied/app/blobs/" + setup.image.layers[0] + "?ns=registry.test");
  CHECK(layer.body == setup.image.blobs.at(setup.image.layers[0]));
}
