// Pulls whose credentials stand outside `configs`: in a docker config, or with a helper.
#include <sys/stat.h>

#include <algorithm>

#include "tests/flow/flow.h"

using namespace layerd::test;

namespace {

std::string docker_config(const std::string& host, const std::string& user, const std::string& password) {
  return fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", host, base64(user + ":" + password));
}

void restart(Flow& flow, const std::string& more) {
  flow.layerd.stop();
  flow.layerd.configure(flow.mirrors() + more);
  flow.layerd.start();
}

std::string secret_file(Flow& flow, const std::string& name, const std::string& text, mode_t mode = 0600) {
  write_text(flow.dir / name, text);
  ::chmod((flow.dir / name).c_str(), mode);
  return flow.dir / name;
}

}  // namespace

TEST_CASE("a secret in the log, in an answer, or in what a command prints, does not go unnoticed",
          "[credentials]") {
  TempDir dir;
  const auto file = dir / "password";
  write_text(file, "of-a-file-1\n");
  write_text(dir / "docker.json", R"({"auths": {"a.test": {"auth": "bWU6b2YtYS1kb2NrZXItMQ=="}}})");
  LayerdDaemon layerd({LAYERD_BINARY_DIR "/layerd", dir.path(),
                       fmt::format("credentials: {{docker_config: [{}]}}\n"
                                   "configs: {{a.test: {{auth: {{username: me, password: \"in-line-1\"}}}}, "
                                   "b.test: {{auth: {{username: me, password_file: {}}}}}}}\n",
                                   dir / "docker.json", file)});
  CHECK(layerd.command({"config"}).output.find("a.test") != std::string::npos);
  CHECK(layerd.complaints() == "");
  CHECK(layerd.stop() == 0);
  const std::string log = layerd.log();
  for (const std::string& secret :
       {std::string("in-line-1"), std::string("of-a-file-1"), std::string("bWU6b2YtYS1kb2NrZXItMQ=="),
        std::string("of-a-docker-1"), base64("me:in-line-1"), base64("me:of-a-file-1")}) {
    CAPTURE(secret);
    write_text(dir / "layerd.log", log + "err=\"x" + secret + "x\"\n");
    CHECK(layerd.complaints().find("a secret was told") != std::string::npos);
    write_text(dir / "layerd.log", log);
    for (const char* name : {"commands.log", "answers.log"}) {
      write_text(dir / name, secret);
      CHECK(layerd.complaints().find("a secret was told") != std::string::npos);
      write_text(dir / name, "");
    }
  }
}

TEST_CASE("credentials only in a docker config open a registry with Basic, and change without a restart",
          "[credentials]") {
  Flow flow;
  flow.upstream.require_basic("robot$app+pull", "s3cret:$!@");
  const auto path = secret_file(flow, "d.json", docker_config("other.test", "robot", "n0thing"));
  restart(flow, fmt::format("credentials: {{docker_config: [{}]}}\n", path));
  const auto digest = flow.upstream.add_blob("bytes");
  const auto refused = flow.layerd.get(Flow::blob(digest));
  INFO(refused.body);
  CHECK(refused.status == 401);
  CHECK(flow.layerd.log().find("every user can read") == std::string::npos);
  CHECK(refused.body.find("no credentials are configured for " + flow.upstream.address()) !=
        std::string::npos);
  secret_file(flow, "d.json", docker_config(flow.upstream.address(), "robot$app+pull", "s3cret:$!@"), 0644);
  CHECK(eventually([&] { return flow.layerd.get(Flow::blob(digest)).status == 200; },
                   std::chrono::seconds(10)));
  CHECK(flow.layerd.log().find("every user can read") != std::string::npos);
  CHECK(flow.layerd.command({"config", "--check"}).output.find("every user can read " + path) !=
        std::string::npos);
  for (const auto& output : {flow.layerd.log(), flow.layerd.command({"config"}).output,
                             flow.layerd.command({"config", "--check"}).output}) {
    CHECK(output.find("s3cret") == std::string::npos);
    CHECK(output.find("n0thing") == std::string::npos);
    CHECK(output.find(base64("robot$app+pull:s3cret:$!@")) == std::string::npos);
  }
}

TEST_CASE("auth in configs for another port is told to the client", "[credentials]") {
  Flow flow;
  flow.upstream.require_basic("robot", "s3cret");
  restart(flow, "configs: {\"127.0.0.1:1\": {auth: {username: robot, password: s3cret}}}\n");
  const auto refused = flow.layerd.get(Flow::manifest("1"));
  INFO(refused.body);
  CHECK(refused.status == 401);
  CHECK(refused.body.find("configs has auth for 127.0.0.1:1, but not for " + flow.upstream.address()) !=
        std::string::npos);
}

TEST_CASE("credentials only in a docker config open a registry with tokens", "[credentials]") {
  Flow flow;
  flow.upstream.require_bearer("robot", "s3cret");
  const auto path = secret_file(
      flow, "d.json", docker_config("http://" + flow.upstream.address() + "/v2/", "robot", "s3cret"));
  const Image image = make_image({{1000, 2000}});
  flow.upstream.add(image, "team/app", "1");
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 401);
  // A reload is enough.
  flow.layerd.configure(flow.mirrors() + fmt::format("credentials: {{docker_config: [{}]}}\n", path));
  flow.layerd.process().send(SIGHUP);
  CHECK(eventually([&] { return flow.layerd.get(Flow::manifest("1")).status == 200; },
                   std::chrono::seconds(10)));
  for (const auto& [digest, bytes] : image.blobs) CHECK(flow.layerd.get(Flow::blob(digest)).body == bytes);
  CHECK(flow.layerd.log().find("s3cret") == std::string::npos);
}

TEST_CASE("a credential helper opens a registry, run once for a pull and told nothing but the host",
          "[credentials]") {
  Flow flow;
  flow.upstream.require_basic("AWS", "s3cret-token");
  const auto helper = secret_file(
      flow, "helper",
      fmt::format("#!/bin/sh\n[ \"$1\" = get ] || exit 9\nread host; echo \"$host $EXTRA\" >> {0}/asked\n"
                  "echo 's3cret-noise' >&2\n"
                  "echo '{{\"ServerURL\":\"x\",\"Username\":\"AWS\",\"Secret\":\"s3cret-token\"}}'\n",
                  flow.dir.path()),
      0755);
  restart(flow,
          fmt::format(
              "credentials: {{helpers: [{{match: \"127.0.0.1:*\", helper: {}, env: {{EXTRA: more}}}}]}}\n",
              helper));
  const Image image = make_image({{1000, 2000, 3000}});
  flow.upstream.add(image, "team/app", "1");
  const auto reply = flow.layerd.get(Flow::manifest("1"));
  INFO(reply.body << flow.layerd.log());
  CHECK(reply.status == 200);
  std::vector<ProbeRequest> requests;
  for (const auto& [digest, bytes] : image.blobs)
    requests.push_back({flow.layerd.port(), Flow::blob(digest)});
  for (const auto& one : probe_together(requests)) CHECK(one.status == 200);
  CHECK(read_text(flow.dir / "asked") == flow.upstream.address() + " more\n");
  CHECK(flow.layerd.log().find("s3cret") == std::string::npos);
  CHECK(flow.layerd.command({"config"}).output.find("more") == std::string::npos);
}

TEST_CASE("a helper that hangs or fails is named to the client, and layerd goes on",
          "[credentials][faults]") {
  Flow flow;
  flow.upstream.require_basic("robot", "s3cret");
  const bool hangs = GENERATE(true, false);
  const auto helper = secret_file(
      flow, "helper", hangs ? "#!/bin/sh\nsleep 60\n" : "#!/bin/sh\necho s3cret; echo s3cret >&2; exit 4\n",
      0755);
  restart(flow, fmt::format("credentials: {{helpers: [{{match: \"127.0.0.1:*\", helper: {}}}]}}\n", helper));
  const auto begun = std::chrono::steady_clock::now();
  const auto reply = flow.layerd.get(Flow::manifest("1"));
  INFO(reply.status << " " << reply.reason << " " << reply.body);
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(15));
  CHECK(reply.status >= 500);
  CHECK(reply.body.find("the credential helper " + helper) != std::string::npos);
  CHECK(reply.body.find(hangs ? "did not answer within 8 s" : "ended with status 4") != std::string::npos);
  CHECK(reply.body.find("s3cret") == std::string::npos);
  CHECK(flow.layerd.log().find("s3cret") == std::string::npos);
  CHECK(flow.layerd.get("/healthz").status == 200);
}

// rules: broken-docker-config-told
TEST_CASE(
    "a docker config that breaks is in status, metrics and log before a pull needs it, until it is mended",
    "[credentials]") {
  Flow flow;
  const auto path = secret_file(flow, "d.json", docker_config("other.test", "robot", "n0thing"));
  restart(flow, fmt::format("credentials: {{docker_config: [{}]}}\n", path));
  const auto status = [&] { return flow.layerd.command({"status"}).output; };
  CHECK(status().find("file: ") == std::string::npos);
  CHECK(flow.layerd.metric("layerd_unusable_files") == 0);
  secret_file(flow, "d.json", "{\"auths\": {\"other.test\": {\"auth\": \"n0thing");
  CHECK(eventually([&] { return flow.layerd.metric("layerd_unusable_files") == 1; }));
  const std::string told = status();
  INFO(told);
  CHECK(told.find("file: " + path) != std::string::npos);
  CHECK(told.find("counts until it is mended") != std::string::npos);
  CHECK(told.find("n0thing") == std::string::npos);
  CHECK(flow.layerd.get("/").body.find("cannot be used") != std::string::npos);
  CHECK(flow.layerd.log().find("event=docker_config") != std::string::npos);
  secret_file(flow, "d.json", docker_config("other.test", "robot", "n0thing"));
  CHECK(eventually([&] { return flow.layerd.metric("layerd_unusable_files") == 0; }));
  CHECK(status().find("file: ") == std::string::npos);
}
