// What `layerd check` must get right about what a registry answers: credentials, rights, names, limits,
// storage, platforms; and about the node: the configuration, the container runtime.
#include "tests/flow/check_case.h"
#include "tests/support/fake_dns.h"
#include "tests/support/free_port.h"

using namespace layerd::test;
TEST_CASE("check: a registry that wants credentials and none are there", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  const bool is_bearer = GENERATE(true, false);
  is_bearer ? registry.require_bearer("robot", "s3cret") : registry.require_basic("robot", "s3cret");
  it.start_at(registry.url());
  const Checked walked = it.expect("credentials_missing");
  CHECK(walked.cause().find("no credentials are configured for " + registry.address()) != std::string::npos);
}

TEST_CASE("check: a secret without `auth` works, and one with nothing in it is named", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  registry.require_basic("name@aliyun.com", "p$!@");
  const auto path = it.file(
      "d.json", fmt::format(R"({{"auths": {{"{}": {{"username": "name@aliyun.com", "password": "p$!@"}}}}}})",
                            registry.address()));
  it.start_at(registry.url(), fmt::format("credentials: {{docker_config: [{}]}}\n", path));
  const Checked good = check(*it.layerd, kImage);
  INFO(good.output);
  CHECK(good.status == 0);
  CHECK(good.text("credentials").find(path) == 0);
  CHECK(good.output.find("p$!@") == std::string::npos);
  it.layerd->stop();
  it.file("d.json", fmt::format(R"({{"auths": {{"{}": {{"email": "x@y.z"}}}}}})", registry.address()));
  it.layerd->start();
  const Checked bad = it.expect("credentials_unusable");
  CHECK(bad.cause().find("neither `auth` nor `username` and `password`") != std::string::npos);
  CHECK(bad.cause().find(path) != std::string::npos);
}

TEST_CASE("check: a password file that is not there", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.require_basic("robot", "s3cret");
  const auto path = it.file("pw", "s3cret");
  it.start_at(registry.url(),
              fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password_file: {}}}}}}}\n",
                          registry.address(), path));
  ::unlink(path.c_str());
  const Checked walked = it.expect("credentials_unusable");
  CHECK(walked.cause().find("cannot read the password file " + path) != std::string::npos);
}

TEST_CASE("check: a password with a stray newline", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  registry.require_basic("robot", "s3cret");
  const auto config = [&](const std::string& secret) {
    return it.file("d.json", fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", registry.address(),
                                         base64("robot:" + secret)));
  };
  // At its end, as `echo | base64` leaves it: left out, and said so.
  it.start_at(registry.url(), fmt::format("credentials: {{docker_config: [{}]}}\n", config("s3cret\n")));
  const Checked good = check(*it.layerd, kImage);
  INFO(good.output);
  CHECK(good.status == 0);
  CHECK(good.text("credentials").find("the secret ended with a line break, which is left out") !=
        std::string::npos);
  // In the middle of it nobody can say what was meant: it is sent, refused and told.
  it.layerd->stop();
  config("s3\ncret");
  it.layerd->start();
  const Checked bad = it.expect("credentials_refused");
  CHECK(bad.cause().find("there is a line break in it") != std::string::npos);
  CHECK(bad.remedy().find("without that") != std::string::npos);
  CHECK(bad.output.find("cret\"") == std::string::npos);
  CHECK(bad.output.find(base64("robot:s3\ncret")) == std::string::npos);
}

TEST_CASE("check: the right account at the wrong domain", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "ns/app", "1");
  registry.require_basic("name@aliyun.com", "s3cret");
  // The personal edition: the account's own domain, and the general one that many examples name.
  std::string own = "crpi-1x2y.cn-hangzhou.personal.cr.aliyuncs.com",
              other = "registry.cn-hangzhou.aliyuncs.com";
  if (GENERATE(false, true)) std::swap(own, other);
  const auto path = it.file("config.json", fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", other,
                                                       base64("name@aliyun.com:s3cret")));
  // The port stands for 443, which tests cannot have.
  it.start(
      fmt::format("mirrors: {{\"{0}\": {{endpoint: [\"http://{0}:{1}\"], default_endpoint: false}}}}\n"
                  "dns: {{hosts: {{{0}: 127.0.0.1}}}}\ncredentials: {{docker_config: [{2}]}}\n",
                  own, registry.port(), path));
  const Checked walked = it.expect("credentials_other_host", own + "/ns/app:1",
                                   fmt::format("/v2/ns/app/manifests/1?ns={}", own));
  CHECK(walked.cause().find(path + " has an entry for " + other + ", but not for " + own) !=
        std::string::npos);
  CHECK(walked.text("credentials").find("but not for " + own) != std::string::npos);
}

TEST_CASE("check: no right to this repository, and no such repository", "[check][cases]") {
  Case it;
  // Gives everybody with the password a token, and then denies one repository and does not know the other.
  std::string url;
  BlockingServer registry([&](const ServerRequest& request, ServerConnection& connection) {
    const auto answer = [&](int status, const std::string& headers, const std::string& body) {
      return connection.write(
          fmt::format("HTTP/1.1 {} X\r\nContent-Type: application/json\r\n{}"
                      "Docker-Distribution-Api-Version: registry/2.0\r\nContent-Length: "
                      "{}\r\n\r\n{}",
                      status, headers, body.size(), request.method == "HEAD" ? "" : body));
    };
    const auto error = [&](int status, const char* code, const char* words) {
      return answer(status, "", fmt::format(R"({{"errors":[{{"code":"{}","message":"{}"}}]}})", code, words));
    };
    if (request.path() == "/token") return answer(200, "", R"({"token":"T","expires_in":300})");
    if (request.header("authorization").empty())
      return answer(401, fmt::format("WWW-Authenticate: Bearer realm=\"{}/token\",service=\"s\"\r\n", url),
                    "{}");
    if (request.path().find("/secret/") != std::string::npos)
      return error(403, "DENIED", "requested access to the resource is denied");
    return error(404, "NAME_UNKNOWN", "repository name not known to registry");
  });
  url = fmt::format("http://127.0.0.1:{}", registry.port());
  it.start_at(url,
              fmt::format("configs: {{\"127.0.0.1:{}\": {{auth: {{username: robot, password: s3cret}}}}}}\n",
                          registry.port()));
  const Checked no_right =
      it.expect("repository_denied", "registry.test/secret/app:1", Flow::manifest("1", "secret/app"));
  CHECK(no_right.text("token").find("repository:secret/app:pull") != std::string::npos);
  CHECK(no_right.cause().find("requested access to the resource is denied") != std::string::npos);
  CHECK(no_right.remedy().find("the right to pull secret/app") != std::string::npos);
  it.expect("repository_unknown", "registry.test/nothing/app:1", Flow::manifest("1", "nothing/app"));
}

TEST_CASE("check: a tag that CI has not pushed yet", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  const Image image = make_image({{300}});
  registry.add(image, "team/rrr", "v1");
  Fault tags;
  tags.status = 200;
  tags.body = R"({"name":"team/rrr","tags":["v1"]})";
  registry.fault("/tags/list", tags);
  it.start_at(registry.url());
  const Checked walked =
      it.expect("tag_unknown", "registry.test/team/rrr:latest", Flow::manifest("latest", "team/rrr"));
  CHECK(walked.remedy().find("push it") == 0);
  CHECK(walked.text("tags") == "team/rrr is there, with the tags v1");
  registry.add(image, "team/rrr", "latest");
  CHECK(check(*it.layerd, "registry.test/team/rrr:latest").status == 0);
}

TEST_CASE("check: the rate limit", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  Fault limited;
  limited.status = 429;
  limited.headers = {{"Retry-After", "60"}};
  limited.body =
      R"({"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]})";
  registry.fault("/manifests/", limited);
  it.start_at(registry.url());
  const Checked walked = it.expect("rate_limited");
  CHECK(walked.cause().find("You have reached your pull rate limit") != std::string::npos);
}

// rules: storage-by-name
TEST_CASE("check: the registry answers and its blob store is blocked", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  const Image image = make_image({{300}});
  registry.add(image, "team/app", "1");
  Fault away;
  away.status = 307;
  away.headers = {
      {"Location", fmt::format("http://127.0.0.1:{}/bucket/object?signature=s3cret", free_port())}};
  std::optional<BlackHole> hole;
  const bool is_dropped = GENERATE(false, true);
  if (is_dropped) {
    hole.emplace();
    away.headers = {{"Location", hole->url() + "/bucket/object?signature=s3cret"}};
  }
  registry.fault("/blobs/", away);
  it.start_at(registry.url(), "timeouts: {connect: 300ms}\nallow: [\"*\", \"127.0.0.1:*\"]\n");
  const Checked walked = check(*it.layerd, kImage);
  INFO(walked.output);
  CHECK(walked.status == 1);
  CHECK(walked.code() == "storage_unreachable");
  CHECK(walked.remedy().find("firewall") != std::string::npos);
  // A pull tries for longer; once is enough.
  if (!is_dropped) CHECK(code_in(it.layerd->get(Flow::blob(image.layers[0]))) == "storage_unreachable");
  CHECK(walked.cause().find("where " + registry.url() + " redirects to") != std::string::npos);
  CHECK(walked.step("manifest") != nullptr);
  CHECK(walked.output.find("s3cret") == std::string::npos);
}

TEST_CASE("check: the image is not there for this platform", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  ImageShape shape;
  shape.platforms = {"arm64", "s390x"};
  registry.add(make_image(shape), "team/app", "1");
  it.start_at(registry.url());
  const Checked walked = check(*it.layerd, kImage, {"--platform", "linux/amd64"});
  INFO(walked.output);
  CHECK(walked.status == 1);
  CHECK(walked.code() == "platform_missing");
  CHECK(walked.cause() == "the image is there for linux/arm64, linux/s390x and not for linux/amd64");
  CHECK(check(*it.layerd, kImage, {"--platform", "linux/arm64"}).status == 0);
}

TEST_CASE("check: an image of one platform says which in its configuration", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}, {"arm64"}}), "team/app", "1");
  Fault counted;
  counted.headers = {{"RateLimit-Limit", "100;w=21600"}, {"RateLimit-Remaining", "73;w=21600"}};
  registry.fault("/manifests/", counted);
  it.start_at(registry.url());
  const Checked other = check(*it.layerd, kImage, {"--platform", "linux/amd64"});
  INFO(other.output);
  CHECK(other.code() == "platform_missing");
  CHECK(other.cause() == "the image is there for linux/arm64 and not for linux/amd64");
  const Checked own = check(*it.layerd, kImage, {"--platform", "linux/arm64/v8"});
  INFO(own.output);
  CHECK(own.status == 0);
  CHECK(own.text("platform") == "linux/arm64 (the only one)");
  CHECK(own.text("manifest").find("rate limit: 73 of 100 requests left") != std::string::npos);
}

TEST_CASE("check: a name that nobody configured and that is private", "[check][cases]") {
  Case it;
  FakeDns dns;
  dns.set("harbor.corp", {{"10.1.2.3"}});
  it.start(fmt::format("dns: {{zones: {{\".\": \"{}\"}}}}\n", dns.address()));
  const Checked walked =
      it.expect("not_configured", "harbor.corp/team/app:1", "/v2/team/app/manifests/1?ns=harbor.corp");
  CHECK(walked.cause().find(
            "harbor.corp resolves to 10.1.2.3 and is not configured; add configs: {harbor.corp: {}}") !=
        std::string::npos);
}

TEST_CASE("check: rules that allow no such name, and no upstream at all", "[check][cases]") {
  Case it;
  const bool is_offline = GENERATE(false, true);
  it.start(is_offline ? "offline: true\n" : "allow: [\"ghcr.io\"]\n");
  it.expect("not_configured", "quay.io/team/app:1", "/v2/team/app/manifests/1?ns=quay.io");
}

TEST_CASE("check: a portal answers in the registry's place, and a registry that is broken",
          "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  Fault broken;
  broken.status = 500;
  const bool is_portal = GENERATE(true, false);
  registry.add(make_image({{300}}), "team/app", "1");
  registry.fault("/v2/", is_portal ? html_page() : broken);
  it.start_at(registry.url());
  const Checked walked = it.expect("upstream_error");
  CHECK(walked.cause().find(is_portal ? "web page" : "500") != std::string::npos);
}

TEST_CASE("check: a runtime that does not ask layerd at all", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  it.start_at(registry.url());
  write_text(it.dir / "root/etc/containerd/config.toml", "version = 2\n");
  const Checked walked = check(*it.layerd, kImage, {}, it.dir / "root");
  INFO(walked.output);
  CHECK(walked.status == 1);
  CHECK(walked.code() == "runtime_bypass");
  CHECK(walked.cause().find("config.toml sets no config_path") != std::string::npos);
  CHECK(walked.text("runtime").find("was not asked for it") != std::string::npos);
  // It does after all.
  CHECK(it.layerd->get(Flow::manifest("1")).status == 200);
  const Checked again = check(*it.layerd, kImage, {}, it.dir / "root");
  INFO(again.output);
  CHECK(again.status == 0);
  CHECK(again.text("runtime").find("layerd was asked for it") != std::string::npos);
}

TEST_CASE("check: what layerd keeps is told when the registry is gone", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  it.start_at(registry.url());
  REQUIRE(it.layerd->get(Flow::manifest("1")).status == 200);
  registry.server().go_away();
  const Checked walked = check(*it.layerd, kImage);
  INFO(walked.output);
  CHECK(walked.code() == "connect_refused");
  CHECK(walked.text("cache").find("serves it nevertheless") != std::string::npos);
}
