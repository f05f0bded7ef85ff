// `layerd check` against real servers: what docker-registry and nginx say for what is wrong.
#include "tests/real/real.h"
#include "tests/support/checked.h"

using namespace layerd::test;

TEST_CASE("check of a real registry: an image, no such tag, no such repository", "[real][check]") {
  TempDir dir;
  const Image image = make_image({{1 << 20, 2000}, {"amd64", "arm64"}});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  const Checked good = check(layerd, "registry.test/team/app:1", {"--platform", "linux/arm64"});
  INFO(good.output);
  CHECK(good.status == 0);
  CHECK(good.text("platform") == "linux/arm64 (of linux/amd64, linux/arm64)");
  CHECK(good.text("storage") == "blobs come from the registry itself");
  const Checked no_tag = check(layerd, "registry.test/team/app:2");
  INFO(no_tag.output);
  CHECK(no_tag.code() == "tag_unknown");
  CHECK(no_tag.text("tags") == "team/app is there, with the tags 1");
  const Checked no_repository = check(layerd, "registry.test/team/other:1");
  INFO(no_repository.output);
  CHECK(no_repository.code() == "repository_unknown");
  // A registry says the same for both when it is asked for a manifest.
  CHECK(code_in(layerd.get("/v2/team/other/manifests/1?ns=registry.test")) == "tag_unknown");
}

TEST_CASE("check of a real registry with htpasswd: none, wrong and right credentials", "[real][check]") {
  TempDir dir;
  place_in_storage(make_image({{2000}}), dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry",
                          {.storage = dir / "storage", .user = "robot$a+b", .password = "p$!@"});
  std::filesystem::create_directories(dir / "layerd");
  Layerd layerd(dir / "layerd", mirror_of(registry.url()));
  const auto checked = [&](const std::string& auth) {
    layerd.stop();
    layerd.configure(mirror_of(registry.url(), auth));
    layerd.start();
    return check(layerd, "registry.test/team/app:1");
  };
  CHECK(checked("").code() == "credentials_missing");
  const Checked wrong = checked("auth: {username: \"robot$a+b\", password: wr0ng}");
  INFO(wrong.output);
  CHECK(wrong.code() == "credentials_refused");
  CHECK(wrong.output.find("wr0ng") == std::string::npos);
  const Checked right = checked("auth: {username: \"robot$a+b\", password: \"p$!@\"}");
  INFO(right.output);
  CHECK(right.status == 0);
  CHECK(check(layerd, "registry.test").text("login").find("answers 200") != std::string::npos);
}

TEST_CASE("check through a real nginx: an unknown authority, the known one, and plain HTTP",
          "[real][check]") {
  TempDir dir;
  place_in_storage(make_image({{2000}}), dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  PrivateCa ca(dir / "ca");
  Nginx nginx(dir / "nginx", ca.issue("nexus", "IP:127.0.0.1"), registry.url());
  std::filesystem::create_directories(dir / "layerd");
  const auto url = "https://" + nginx.address();
  Layerd layerd(dir / "layerd", mirror_of(url));
  const Checked unknown = check(layerd, "registry.test/team/app:1");
  INFO(unknown.output);
  CHECK(unknown.code() == "tls_unknown_ca");
  CHECK(unknown.cause().find("layerd test CA") != std::string::npos);
  layerd.stop();
  layerd.configure(mirror_of(url, "tls: {ca_file: " + ca.ca_file() + "}"));
  layerd.start();
  const Checked good = check(layerd, "registry.test/team/app:1");
  INFO(good.output);
  CHECK(good.status == 0);
  CHECK(good.text("tls").find("trusted by \"layerd test CA\" of " + ca.ca_file()) != std::string::npos);
  layerd.stop();
  layerd.configure(mirror_of("http://" + nginx.address()));
  layerd.start();
  CHECK(check(layerd, "registry.test/team/app:1").code() == "scheme_mismatch");
}
