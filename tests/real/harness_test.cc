// The test support against the real programs, without layerd: what these tests show must hold before a
// failure elsewhere can be put down to layerd.
#include <fmt/core.h>

#include "tests/support/catch.h"
#include "tests/support/containerd.h"
#include "tests/support/docker_registry.h"
#include "tests/support/faulty_upstream.h"
#include "tests/support/hashes.h"
#include "tests/support/http_probe.h"
#include "tests/support/image_maker.h"
#include "tests/support/nginx.h"
#include "tests/support/temp_dir.h"
#include "tests/support/token_server.h"

using namespace layerd::test;

TEST_CASE("a real containerd pulls a generated image straight from a real registry", "[harness]") {
  TempDir dir;
  const Image image = make_image({{1024, 300 * 1024}, {"amd64", "arm64"}, 1});
  place_in_storage(image, dir / "storage", "team/app", "1");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  Containerd containerd(dir / "containerd");
  containerd.mirror("registry.test", registry.url());
  const Finished pulled = containerd.pull("registry.test/team/app:1");
  INFO(pulled.output);
  CHECK(pulled.status == 0);
  CHECK(registry.count("HEAD", "/manifests/1") == 1);
  CHECK(registry.count("GET", "/blobs/") == 3);
}

TEST_CASE("a real registry takes the tokens of the test's token server and no others", "[harness]") {
  TempDir dir;
  PrivateCa ca(dir / "ca");
  TokenServer tokens(ca.issue("signer", "DNS:signer.test"), "registry.test", "robot", "secret");
  const Image image = make_image({});
  place_in_storage(image, dir / "storage", "team/app", "1");
  RegistrySettings settings{dir / "storage"};
  settings.token_realm = tokens.realm();
  settings.token_service = "registry.test";
  settings.token_issuer = TokenServer::kIssuer;
  settings.token_roots = ca.ca_file();
  DockerRegistry registry(dir / "registry", settings);
  CHECK(probe({registry.port(), "/v2/team/app/manifests/1"}).status == 401);
  const Finished copied = run({"skopeo", "inspect", "--tls-verify=false", "--creds", "robot:secret",
                               "docker://" + registry.address() + "/team/app:1"});
  INFO(copied.output << registry.log());
  CHECK(copied.status == 0);
  CHECK(tokens.requests() > 0);
}

TEST_CASE("nginx ends TLS in front of a real registry with a private certificate", "[harness]") {
  TempDir dir;
  PrivateCa ca(dir / "ca");
  DockerRegistry registry(dir / "registry", {dir / "storage"});
  Nginx nginx(dir / "nginx", ca.issue("ingress", "IP:127.0.0.1"), registry.url());
  const Finished reply =
      run({"curl", "-sS", "--cacert", ca.ca_file(), "https://" + nginx.address() + "/v2/"});
  INFO(reply.output);
  CHECK(reply.output == "{}");
}

TEST_CASE("the faulty upstream does each fault as curl sees it", "[harness]") {
  FaultyUpstream upstream;
  const std::string bytes = random_bytes(200 * 1000, 7);
  const std::string path = "/v2/a/blobs/" + upstream.add_blob(bytes);
  const auto get = [&](Fault fault, std::vector<std::pair<std::string, std::string>> headers = {}) {
    upstream.fault("/blobs/", std::move(fault));
    return probe({upstream.port(), path, std::move(headers), "GET", std::chrono::milliseconds(700)});
  };
  CHECK(get({}).body == bytes);
  CHECK(get({}, {{"Range", "bytes=10-19"}}).body == bytes.substr(10, 10));
  Fault fault;
  SECTION("cut with FIN") {
    fault.cut_after = 1000;
    const ProbeReply reply = get(fault);
    CHECK((reply.body.size() == 1000 && !reply.complete && !reply.reset));
  }
  SECTION("cut with RST") {
    fault.cut_after = 1000, fault.reset = true;
    CHECK(get(fault).reset);
  }
  SECTION("stall") {
    fault.stall_after = 1000;
    const ProbeReply reply = get(fault);
    CHECK((reply.body.size() == 1000 && reply.timed_out));
  }
  SECTION("a length that lies") {
    fault.length_lie = 50;
    CHECK_FALSE(get(fault).complete);
  }
  SECTION("chunked") {
    fault.chunked = true;
    const ProbeReply reply = get(fault);
    CHECK((reply.complete && reply.body == bytes));
  }
  SECTION("no length") {
    fault.no_length = true;
    CHECK(get(fault).body == bytes);
  }
  SECTION("wrong bytes") {
    fault.wrong_bytes = true;
    const ProbeReply reply = get(fault);
    CHECK((reply.complete && reply.body != bytes));
  }
  SECTION("ranges ignored") {
    fault.ignore_range = true;
    CHECK(get(fault, {{"Range", "bytes=10-19"}}).status == 200);
  }
  SECTION("a throttle") {
    fault.bytes_per_second = 1000 * 1000;
    const ProbeReply reply = get(fault);
    CHECK((reply.body == bytes && reply.total.count() > 150));
  }
  SECTION("the end of the test does not wait for a stalled answer") {
    CHECK(upstream.count("GET", "/blobs/") == 2);
  }
}
