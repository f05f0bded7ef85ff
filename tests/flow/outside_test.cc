// What may be asked for, who is dialled for it, and what is told to whom.
#include <algorithm>

#include "tests/flow/flow.h"

using namespace layerd::test;

// rules: private-refused
TEST_CASE("names that are not configured never reach a private address", "[outside]") {
  Flow flow;
  FaultyUpstream secret;
  const Image image = make_image({});
  secret.add(image, "team/app", "1");
  const std::string port = std::to_string(secret.port());
  for (const std::string& ns :
       {"127.0.0.1%3A" + port, "localhost%3A" + port, std::string("169.254.169.254"),
        std::string("10.0.0.1%3A5000"), std::string("192.168.1.1"), "%5B%3A%3A1%5D%3A" + port,
        "127.1%3A" + port, "2130706433%3A" + port, std::string("localhost")}) {
    const auto start = std::chrono::steady_clock::now();
    const ProbeReply reply = flow.layerd.get("/v2/team/app/manifests/1?ns=" + ns);
    INFO(ns << ": " << reply.status << " " << reply.reason << " " << reply.body);
    CHECK(reply.status >= 400);
    CHECK(reply.body.find("\"errors\"") != std::string::npos);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  }
  CHECK(secret.server().connections() == 0);
  const ProbeReply reply = flow.layerd.get("/v2/team/app/manifests/1?ns=127.0.0.1%3A" + port);
  CHECK(reply.body.find("not configured") != std::string::npos);
  CHECK(reply.body.find("configs") != std::string::npos);
}

// rules: configured-may-be-private
TEST_CASE("a name in configs may be private", "[outside]") {
  FaultyUpstream own;
  const Image image = make_image({});
  own.add(image, "team/app", "1");
  Flow flow({fmt::format("configs: {{\"{}\": {{}}}}\n", own.address())});
  const ProbeReply reply =
      flow.layerd.get(fmt::format("/v2/team/app/manifests/1?ns=127.0.0.1%3A{}", own.port()));
  INFO(reply.status << " " << reply.reason << " " << reply.body);
  CHECK(own.server().connections() > 0);
}

// rules: credentials-stay-home
TEST_CASE("credentials do not follow a redirect to another host", "[outside]") {
  FaultyUpstream storage;
  Flow flow;
  flow.layerd.stop();
  flow.layerd.configure(
      flow.mirrors() +
      fmt::format(
          "configs: {{\"{}\": {{auth: {{username: robot, password: \"s3:cret$\"}}}}, \"{}\": {{}}}}\n",
          flow.upstream.address(), storage.address()));
  flow.layerd.start();
  flow.upstream.require_basic("robot", "s3:cret$");
  const std::string bytes = random_bytes(500 * 1000, 9);
  const std::string digest = flow.upstream.add_blob(bytes);
  storage.add_blob(bytes);
  Fault redirect;
  redirect.status = 307;
  redirect.headers = {{"Location", storage.url() + "/v2/team/app/blobs/" + digest + "?signature=abc"}};
  redirect.methods = "GET";
  // Once asked for its credentials the registry gets them with the next request at once.
  CHECK(flow.layerd.get(Flow::blob(flow.upstream.add_blob("first"))).body == "first");
  flow.upstream.fault("/blobs/" + digest, redirect);
  const ProbeReply reply = flow.layerd.get(Flow::blob(digest));
  INFO(reply.status << " " << reply.reason);
  CHECK(reply.body == bytes);
  bool sent = false;
  for (const auto& request : flow.upstream.seen()) sent = sent || !request.authorization.empty();
  CHECK(sent);
  REQUIRE_FALSE(storage.seen().empty());
  for (const auto& request : storage.seen()) CHECK(request.authorization.empty());
  CHECK(flow.layerd.log().find("s3:cret") == std::string::npos);
  CHECK(flow.layerd.log().find("signature=abc") == std::string::npos);
  CHECK(flow.layerd.log().find(base64("robot:s3:cret$")) == std::string::npos);
}

// rules: token-cached, stale-token-once-more
TEST_CASE("a registry with tokens is asked for one token, not one for each request", "[outside]") {
  Flow flow;
  flow.layerd.stop();
  flow.layerd.configure(flow.mirrors() +
                        fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password: secret}}}}}}\n",
                                    flow.upstream.address()));
  flow.layerd.start();
  flow.upstream.require_bearer("robot", "secret");
  const Image image = make_image({{1000, 2000, 3000, 4000}});
  flow.upstream.add(image, "team/app", "1");
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);
  std::vector<ProbeRequest> requests;
  for (const auto& [digest, bytes] : image.blobs)
    requests.push_back({flow.layerd.port(), Flow::blob(digest)});
  for (const auto& reply : probe_together(requests)) CHECK(reply.status == 200);
  CHECK(flow.upstream.count("GET", "/token") == 1);
  flow.upstream.revoke_tokens();
  const std::string later = random_bytes(1000, 77);
  CHECK(flow.layerd.get(Flow::blob(flow.upstream.add_blob(later))).body == later);
  CHECK(flow.upstream.count("GET", "/token") == 2);
  CHECK(flow.layerd.log().find("token-1") == std::string::npos);
}

// rules: denied-is-403
TEST_CASE("an upstream's refusal is a 403 with the reason, after one challenge for credentials of the client",
          "[outside]") {
  Flow flow;
  flow.upstream.require_basic("robot", "secret");
  const ProbeReply challenged = flow.layerd.get(Flow::manifest("1"));
  CHECK(challenged.status == 401);
  const ProbeReply reply =
      flow.layerd.get(Flow::manifest("1"), {{"Authorization", handle_for(flow.layerd.port(), challenged)}});
  CHECK(reply.status == 403);
  for (const auto& each : {challenged, reply}) {
    // docker and old clients show nothing but the status line.
    CHECK(each.reason.find(flow.upstream.address()) != std::string::npos);
    CHECK(each.body.find(each.reason) != std::string::npos);
  }
  CHECK(reply.body.find("DENIED") != std::string::npos);
}

// rules: tls-verified
TEST_CASE("TLS upstreams are verified against the configured certificate authority", "[outside]") {
  TempDir dir;
  PrivateCa ca(dir / "ca"), other(dir / "other");
  FaultyUpstream secure(ca.issue("registry", "IP:127.0.0.1"));
  const Image image = make_image({{3 * 1000 * 1000}});
  secure.add(image, "team/app", "1");
  Flow flow;
  const auto with = [&](const std::string& tls) {
    flow.layerd.stop();
    flow.layerd.configure(
        fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n"
                    "configs: {{\"{}\": {{tls: {{{}}}}}}}\n",
                    secure.url(), secure.address(), tls));
    flow.layerd.start();
    return flow.layerd.get(Flow::manifest("1"));
  };
  const ProbeReply untrusted = with("");
  CHECK(untrusted.status == 502);
  INFO(untrusted.body);
  CHECK(untrusted.body.find("certificate") != std::string::npos);
  CHECK(with("ca_file: " + other.ca_file()).status == 502);
  CHECK(with("ca_file: " + ca.ca_file()).status == 200);
  CHECK(flow.layerd.get(Flow::blob(image.layers[0])).body == image.blobs.at(image.layers[0]));
  CHECK(with("ca_file: " + ca.ca_file() + ", server_name: wrong.test").status !=
        502);  // answered from the cache
  CHECK(flow.layerd.get(Flow::manifest("unknown")).status == 502);
  CHECK(with("insecure_skip_verify: true").status == 200);
}

// rules: connections-reused
TEST_CASE("connections to an upstream are kept and used again", "[outside]") {
  Flow flow;
  for (std::uint64_t i = 0; i < 20; ++i) {
    const std::string bytes = random_bytes(2000, 100 + i);
    CHECK(flow.layerd.get(Flow::blob(flow.upstream.add_blob(bytes))).body == bytes);
  }
  CHECK(flow.upstream.server().connections() <= 4);
}
