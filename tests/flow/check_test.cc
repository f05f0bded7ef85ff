// `layerd check`: the walk of a pull that is well, with and without the daemon, and what it leaves alone.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <memory>

#include "tests/flow/flow.h"
#include "tests/support/checked.h"
#include "tests/support/fake_dns.h"

using namespace layerd::test;
using layerd::Json;

namespace {

// A request on the admin socket, its answer left to come; closing it hangs up.
class AdminCall {
 public:
  AdminCall(const std::string& path, const std::string& target) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof to.sun_path);
    path.copy(to.sun_path, path.size());
    REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    const std::string text = "GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n";
    REQUIRE(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  }
  AdminCall(const AdminCall&) = delete;
  ~AdminCall() { ::close(fd_); }
  // The first bytes of the answer, waited for.
  std::string first() const {
    char buffer[64];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
  }

 private:
  int fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
};

}  // namespace

TEST_CASE("check walks a pull that is well and says every step", "[check]") {
  Flow flow;
  ImageShape shape;
  shape.layers = {5000, 300};
  shape.platforms = {"amd64", "arm64", "s390x"};
  const Image image = make_image(shape);
  flow.upstream.add(image, "team/app", "1");
  flow.upstream.require_bearer("robot", "s3cret");
  flow.layerd.configure(flow.mirrors() +
                        fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password: s3cret}}}}}}\n",
                                    flow.upstream.address()));
  flow.layerd.stop();
  flow.layerd.start();
  const Checked walked = check(flow.layerd, "registry.test/team/app:1", {"--platform", "linux/amd64"});
  INFO(walked.output);
  REQUIRE(walked.status == 0);
  CHECK(walked.report["ok"] == true);
  CHECK(walked.report["diagnosis"].is_null());
  CHECK(walked.report["daemon"] == true);
  CHECK(walked.text("name") == "registry registry.test, repository team/app, tag 1");
  CHECK(walked.text("rules").find("mirrors.\"registry.test\" counts") == 0);
  CHECK(walked.text("endpoint").find(flow.upstream.url() + "/v2, repository team/app") == 0);
  CHECK(walked.text("connect").find(flow.upstream.address()) == 0);
  CHECK(walked.text("tls").find("http://") != std::string::npos);
  CHECK(walked.text("api").find("401 Unauthorized\nit wants bearer, realm ") != std::string::npos);
  CHECK(walked.text("credentials").find(flow.upstream.address()) != std::string::npos);
  CHECK(walked.text("token").find("for repository:team/app:pull, good for 300 s") != std::string::npos);
  CHECK(walked.text("tag") == "1 is " + image.top);
  CHECK(walked.text("platform") == "linux/amd64 (of linux/amd64, linux/arm64, linux/s390x)");
  CHECK(walked.text("manifest").find(image.top) == 0);
  CHECK(walked.text("blobs").find("3 blobs, ") == 0);
  CHECK(walked.text("blobs").find("cached: 0 of them") != std::string::npos);
  CHECK(walked.text("storage") == "blobs come from the registry itself");
  CHECK(walked.output.find("s3cret") == std::string::npos);
  // It has pulled nothing and kept nothing.
  for (const auto& [digest, bytes] : image.blobs) {
    CHECK_FALSE(flow.layerd.has_blob(digest));
    CHECK(flow.upstream.body_bytes("/blobs/" + digest) <= 1);
  }
  CHECK_FALSE(flow.layerd.has_blob(image.top));
  CHECK(flow.layerd.metric("layerd_downloads_running") <= 0);
}

TEST_CASE("check counts what is cached, and asks for no manifest that is", "[check]") {
  Flow flow;
  const Image image = make_image({{5000, 300}});
  flow.upstream.add(image, "team/app", "1");
  REQUIRE(flow.layerd.get(Flow::manifest("1")).status == 200);
  REQUIRE(flow.layerd.get(Flow::blob(image.layers[0])).status == 200);
  flow.upstream.forget();
  const Checked walked = check(flow.layerd, "registry.test/team/app:1");
  INFO(walked.output);
  CHECK(walked.status == 0);
  CHECK(walked.text("blobs").find("cached: 1 of them") != std::string::npos);
  CHECK(walked.text("manifest").find("kept by layerd") != std::string::npos);
  CHECK(flow.upstream.count("GET", "/manifests/") == 0);
  CHECK(flow.upstream.count("HEAD", "/manifests/1") == 1);
}

TEST_CASE("check works without the daemon, with what the configuration says", "[check]") {
  Flow flow;
  const Image image = make_image({{5000, 300}});
  flow.upstream.add(image, "team/app", "1");
  flow.layerd.stop();
  const Checked walked = check(flow.layerd, "registry.test/team/app:1");
  INFO(walked.output);
  CHECK(walked.status == 0);
  CHECK(walked.report["daemon"] == false);
  CHECK(walked.text("blobs").find("cached") == std::string::npos);
  CHECK(walked.text("storage") == "blobs come from the registry itself");
  flow.upstream.untag("team/app", "1");
  const Checked failed = check(flow.layerd, "registry.test/team/app:1");
  INFO(failed.output);
  CHECK(failed.status == 1);
  CHECK(failed.code() == "tag_unknown");
}

TEST_CASE("check tells people a line a step, and leaves with 2 for what is no name", "[check]") {
  Flow flow;
  const Image image = make_image({{300}});
  flow.upstream.add(image, "team/app", "1");
  const Finished well = flow.layerd.command({"check", "registry.test/team/app:1", "--root", flow.dir.path()});
  INFO(well.output);
  CHECK(well.status == 0);
  CHECK(well.output.find("ok   name         registry registry.test, repository team/app, tag 1\n") !=
        std::string::npos);
  CHECK(well.output.find("All is well.") != std::string::npos);
  const Finished missing =
      flow.layerd.command({"check", "registry.test/team/app:2", "--root", flow.dir.path()});
  INFO(missing.output);
  CHECK(missing.status == 1);
  CHECK(missing.output.find("FAIL manifest") != std::string::npos);
  CHECK(missing.output.find("\ncause:  ") != std::string::npos);
  CHECK(missing.output.find("\nremedy: ") != std::string::npos);
  CHECK(missing.output.find("\ncode:   tag_unknown (docs/diagnoses.md#tag_unknown)\n") != std::string::npos);
  CHECK(flow.layerd.command({"check"}).status == 2);
  CHECK(flow.layerd.command({"check", "Not An Image"}).status == 2);
  const Finished platform = flow.layerd.command({"check", "registry.test/a", "--platform", "lin ux/amd64"});
  INFO(platform.output);
  CHECK(platform.status == 2);
  CHECK(platform.output.find("linux/arm64") != std::string::npos);
}

TEST_CASE("check goes on to the next endpoint as a pull does, and opens no breaker", "[check]") {
  Flow flow;
  FaultyUpstream first;
  first.server().go_away();
  const Image image = make_image({{300}});
  flow.upstream.add(image, "team/app", "1");
  flow.layerd.stop();
  flow.layerd.configure(
      fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\", \"{}\"], default_endpoint: false}}}}\n",
                  first.url(), flow.upstream.url()));
  flow.layerd.start();
  for (int i = 0; i < 4; ++i) {
    const Checked walked = check(flow.layerd, "registry.test/team/app:1");
    INFO(walked.output);
    CHECK(walked.status == 0);
    CHECK(walked.text("endpoint").find("1 of 2: " + first.url()) == 0);
    CHECK(walked.text("connect").find("refused the connection") != std::string::npos);
  }
  const auto status = flow.layerd.command({"status", "--json"}).output;
  INFO(status);
  CHECK(status.find("\"open\"") == std::string::npos);
  CHECK(status.find(first.address()) == std::string::npos);
}

TEST_CASE("check names the alias, the mirror, the rewrite, and the rules that nearly fitted", "[check]") {
  Flow flow;
  const Image image = make_image({{300}});
  flow.upstream.add(image, "group/admin-server", "1");
  flow.layerd.stop();
  flow.layerd.configure(
      fmt::format("aliases:\n  - {{from: \"docker.io/nexus/**\", to: \"docker.nexus.local/**\"}}\n"
                  "  - {{from: \"docker.io/nexus/admin-server\", to: \"other.test/x\"}}\n"
                  "mirrors:\n  docker.nexus.local: {{endpoint: [\"{}\"], default_endpoint: false, rewrite: "
                  "{{\"^(.*)$\": \"group/$1\"}}}}\n  \"docker.nexus.local:5000\": {{endpoint: [\"{}\"]}}\n",
                  flow.upstream.url(), flow.upstream.url()));
  flow.layerd.start();
  const Checked walked = check(flow.layerd, "nexus/admin-server:1");
  INFO(walked.output);
  CHECK(walked.status == 0);
  CHECK(walked.text("name") == "registry docker.io, repository nexus/admin-server, tag 1");
  CHECK(walked.text("rules").find("docker.nexus.local/admin-server") != std::string::npos);
  CHECK(walked.text("rules").find("stands before it and decides alone") != std::string::npos);
  CHECK(walked.text("rules").find("is about another port than docker.nexus.local") != std::string::npos);
  CHECK(walked.text("endpoint").find("repository group/admin-server") != std::string::npos);
  CHECK(walked.text("endpoint").find("rewritten by \"^(.*)$\"") != std::string::npos);
  CHECK(walked.text("runtime").find("docker.io may answer for nexus/**") != std::string::npos);
}

TEST_CASE("check of a registry walks the login", "[check]") {
  Flow flow;
  const bool is_bearer = GENERATE(true, false);
  is_bearer ? flow.upstream.require_bearer("robot", "s3cret")
            : flow.upstream.require_basic("robot", "s3cret");
  const auto with = [&](const std::string& password) {
    flow.layerd.stop();
    flow.layerd.configure(flow.mirrors() +
                          fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password: {}}}}}}}\n",
                                      flow.upstream.address(), password));
    flow.layerd.start();
    return check(flow.layerd, "registry.test");
  };
  const Checked good = with("s3cret");
  INFO(good.output);
  CHECK(good.status == 0);
  CHECK(good.text("name").find("its login is walked") != std::string::npos);
  CHECK(good.text("login").find("answers 200") != std::string::npos);
  const Checked bad = with("wr0ng");
  INFO(bad.output);
  CHECK(bad.status == 1);
  CHECK(bad.code() == "credentials_refused");
  CHECK(bad.remedy().find("configs.") != std::string::npos);
  CHECK(bad.output.find("wr0ng") == std::string::npos);
}

// rules: check-keeps-accounts
TEST_CASE("refused credentials are not tried again by a check that follows", "[check]") {
  Flow flow;
  flow.upstream.require_basic("robot", "s3cret");
  flow.layerd.stop();
  flow.layerd.configure(flow.mirrors() +
                        fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password: no}}}}}}\n",
                                    flow.upstream.address()));
  flow.layerd.start();
  const auto tried = [&] {
    int count = 0;
    for (const auto& request : flow.upstream.seen()) count += request.authorization.empty() ? 0 : 1;
    return count;
  };
  CHECK(check(flow.layerd, "registry.test/team/app:1").code() == "credentials_refused");
  const int first = tried();
  CHECK(first >= 1);
  CHECK(check(flow.layerd, "registry.test/team/app:1").code() == "credentials_refused");
  CHECK(code_in(flow.layerd.get(Flow::manifest("1"))) == "credentials_refused");
  CHECK(tried() == first);
}

// rules: check-login-keeps-accounts
TEST_CASE("a login that was refused is tried again neither by a check nor by a pull", "[check]") {
  Flow flow;
  flow.upstream.require_basic("robot", "s3cret");
  flow.layerd.stop();
  flow.layerd.configure(flow.mirrors() +
                        fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password: no}}}}}}\n",
                                    flow.upstream.address()));
  flow.layerd.start();
  const auto tried = [&] {
    int count = 0;
    for (const auto& request : flow.upstream.seen()) count += request.authorization.empty() ? 0 : 1;
    return count;
  };
  CHECK(check(flow.layerd, "registry.test").code() == "credentials_refused");
  const int first = tried();
  CHECK(first == 1);
  CHECK(check(flow.layerd, "registry.test").code() == "credentials_refused");
  CHECK(code_in(flow.layerd.get(Flow::manifest("1"))) == "credentials_refused");
  CHECK(tried() == first);
}

TEST_CASE("four checks run at once, who hangs up makes room, and what is no name is refused", "[check]") {
  Flow flow;
  flow.upstream.add(make_image({{300}}), "team/app", "1");
  Fault slow;
  slow.head_delay = std::chrono::seconds(8);
  flow.upstream.fault("/v2/", slow);
  const std::string target = "/v1/check?name=registry.test%2Fteam%2Fapp%3A1";
  std::vector<std::unique_ptr<AdminCall>> calls;
  for (int i = 0; i < 4; ++i) calls.push_back(std::make_unique<AdminCall>(flow.layerd.socket(), target));
  // Each of them is under way once it has asked the registry.
  REQUIRE(eventually([&] { return flow.upstream.server().connections() >= 8; }));
  CHECK(AdminCall(flow.layerd.socket(), target).first().starts_with("HTTP/1.1 409"));
  CHECK(AdminCall(flow.layerd.socket(), "/v1/check").first().starts_with("HTTP/1.1 400"));
  calls.clear();
  flow.upstream.clear_faults();
  CHECK(eventually([&] { return check(flow.layerd, "registry.test/team/app:1").status == 0; }));
}

TEST_CASE("check tells whom a repository is open to, by what was learned and by the walk itself", "[check]") {
  Flow flow;
  const Image image = make_image({{300}});
  flow.upstream.add(image, "team/app", "1");
  const auto facts = [](const Checked& walked) {
    for (const auto& step : walked.report["steps"])
      if (step["step"] == "access")
        return step["facts"]["class"].get<std::string>() + (step["ok"].is_null() ? "" : "!");
    return std::string("none");
  };
  const Checked first = check(flow.layerd, "registry.test/team/app:1");
  INFO(first.output);
  CHECK(facts(first) == "open");
  CHECK(first.text("access").find("by this walk") != std::string::npos);
  REQUIRE(flow.layerd.get(Flow::manifest("1")).status == 200);
  const Checked learned = check(flow.layerd, "registry.test/team/app:1");
  CHECK(facts(learned) == "open");
  CHECK(learned.text("access").find("learned ") != std::string::npos);
  CHECK(facts(check(flow.layerd, "registry.test")) == "none");

  flow.upstream.require_bearer("robot", "s3cret");
  flow.upstream.add(image, "team/closed", "1");
  CHECK(facts(check(flow.layerd, "registry.test/team/closed:1")) == "client");
  flow.layerd.stop();
  CHECK(facts(check(flow.layerd, "registry.test/team/closed:1")) == "none");
  flow.layerd.configure(flow.mirrors() +
                        fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password: s3cret}}}}}}\n",
                                    flow.upstream.address()));
  flow.layerd.start();
  CHECK(facts(check(flow.layerd, "registry.test/team/closed:1")) == "node");
}
