// Tags: fresh when the upstream answers, the last known ones when it does not, and never a long wait.
#include "tests/flow/flow.h"

using namespace layerd::test;
using std::chrono::milliseconds;

namespace {

struct Tagged : Flow {
  explicit Tagged(const std::string& tags = "tags: {fresh_for: 0s}\n")
      : Flow({tags}), first(make_image({{1000}, {"amd64"}, 1})), second(make_image({{1000}, {"amd64"}, 2})) {
    upstream.add(first, "team/app", "latest");
    upstream.add(second, "team/app", "other");
  }
  ProbeReply latest() { return layerd.get(Flow::manifest("latest")); }
  Image first, second;
};

}  // namespace

// rules: tag-checked
TEST_CASE("a moved tag is noticed at once when tags are never fresh", "[tags]") {
  Tagged flow;
  CHECK(flow.latest().header("docker-content-digest") == flow.first.top);
  flow.upstream.tag("team/app", "latest", flow.second.top);
  CHECK(flow.latest().header("docker-content-digest") == flow.second.top);
}

// rules: tag-fresh, one-tag-check
TEST_CASE("a tag is not asked for again while it is fresh, and one HEAD serves all who wait", "[tags]") {
  Tagged flow("tags: {fresh_for: 1h}\n");
  Fault slow;
  slow.head_delay = milliseconds(300);
  flow.upstream.fault("/manifests/latest", slow);
  const auto replies =
      probe_together(std::vector<ProbeRequest>(12, {flow.layerd.port(), Flow::manifest("latest")}));
  for (const auto& reply : replies) CHECK(reply.header("docker-content-digest") == flow.first.top);
  CHECK(flow.upstream.count("HEAD", "/manifests/latest") + flow.upstream.count("GET", "/manifests/latest") <=
        2);
  flow.upstream.forget();
  CHECK(flow.latest().status == 200);
  CHECK(flow.upstream.seen().empty());
}

// rules: unchanged-tag-no-get
TEST_CASE("an unchanged tag costs one HEAD and no GET", "[tags]") {
  Tagged flow;
  (void)flow.latest();
  flow.upstream.forget();
  CHECK(flow.latest().status == 200);
  CHECK(flow.upstream.count("HEAD", "/manifests/latest") == 1);
  CHECK(flow.upstream.count("GET", "/manifests/") == 0);
}

// rules: tag-stale, tag-patience
TEST_CASE("when the upstream fails the known tag is served, marked and soon", "[tags]") {
  Tagged flow;
  const ProbeReply before = flow.latest();
  REQUIRE(before.status == 200);
  Fault fault;
  bool gone = false;
  SECTION("it hangs") { fault.head_delay = std::chrono::minutes(1); }
  SECTION("500") { fault.status = 500; }
  SECTION("503") { fault.status = 503; }
  SECTION("429") { fault.status = 429, fault.headers = {{"Retry-After", "3600"}}; }
  SECTION("401") { fault.status = 401, fault.headers = {{"WWW-Authenticate", "Basic realm=\"x\""}}; }
  SECTION("HTML") { fault = html_page(); }
  SECTION("it closes") { fault.refuse = true; }
  SECTION("it is gone") { gone = true; }
  flow.upstream.fault("/manifests/", fault);
  if (gone) flow.upstream.server().go_away();
  const ProbeReply reply = flow.latest();
  INFO(reply.status << " " << reply.reason);
  CHECK(reply.status == 200);
  CHECK(reply.body == before.body);
  CHECK(reply.header("layerd-source") == "stale");
  CHECK(reply.total < std::chrono::seconds(5));
}

// rules: tag-check-within
TEST_CASE("a hanging upstream costs check_within and not more", "[tags]") {
  Tagged flow("tags: {fresh_for: 0s, check_within: 2500ms}\n");  // without it: 1 s
  REQUIRE(flow.latest().status == 200);
  Fault hang;
  hang.head_delay = std::chrono::minutes(1);
  flow.upstream.fault("/manifests/", hang);
  const auto start = std::chrono::steady_clock::now();
  const ProbeReply reply = flow.latest();
  const auto took = std::chrono::steady_clock::now() - start;
  CHECK(reply.header("layerd-source") == "stale");
  CHECK(took >= milliseconds(2400));
  CHECK(took < milliseconds(5000));
}

// rules: tag-404
TEST_CASE("a tag that was deleted upstream is 404, and what was cached stays", "[tags]") {
  Tagged flow;
  REQUIRE(flow.latest().status == 200);
  flow.upstream.untag("team/app", "latest");
  CHECK(flow.latest().status == 404);
  CHECK(flow.layerd.get(Flow::manifest(flow.first.top)).status == 200);
  flow.upstream.tag("team/app", "latest", flow.second.top);
  CHECK(eventually([&] { return flow.latest().header("docker-content-digest") == flow.second.top; },
                   std::chrono::seconds(7)));
}

// rules: tag-404-forgotten
TEST_CASE("an unknown tag is asked for again after five seconds at most", "[tags]") {
  Flow flow;
  CHECK(flow.layerd.get(Flow::manifest("new")).status == 404);
  const Image image = make_image({});
  flow.upstream.add(image, "team/app", "new");
  CHECK(eventually([&] { return flow.layerd.get(Flow::manifest("new")).status == 200; },
                   std::chrono::seconds(7)));
}

// rules: manifest-digest, tag-without-digest, type-derived, manifest-bound
TEST_CASE("a manifest whose bytes have another digest than its head says is not served", "[tags]") {
  Tagged flow;
  Fault fault;
  SECTION("wrong bytes by digest") {
    fault.replace_body = true, fault.body = flow.second.manifests.at(flow.second.top).second;
    flow.upstream.fault("/manifests/", fault);
    const ProbeReply reply = flow.layerd.get(Flow::manifest(flow.first.top));
    CHECK_FALSE((reply.status == 200 && reply.complete));
  }
  SECTION("wrong bytes by tag") {
    fault.replace_body = true, fault.body = flow.second.manifests.at(flow.second.top).second;
    flow.upstream.fault("/manifests/", fault);
    CHECK(flow.latest().status == 502);  // the head had named another digest
  }
  SECTION("no digest header at all") {
    (void)flow.latest();  // so that the next one begins by HEAD
    fault.no_digest_header = true;
    flow.upstream.fault("/manifests/", fault);
    const ProbeReply reply = flow.latest();
    CHECK(reply.status == 200);
    CHECK(reply.header("docker-content-digest") == flow.first.top);
    CHECK(reply.header("layerd-source") == "upstream");
  }
  SECTION("no media type") {
    fault.no_content_type = true;
    flow.upstream.fault("/manifests/", fault);
    CHECK(flow.latest().header("content-type") == "application/vnd.oci.image.manifest.v1+json");
  }
  SECTION("a manifest of 5 MiB") {
    const std::string big =
        R"({"schemaVersion":2,"layers":[],"x":")" + std::string(5 * 1024 * 1024, 'x') + "\"}";
    const std::string digest = flow.upstream.add_manifest("application/vnd.oci.image.manifest.v1+json", big);
    CHECK(flow.layerd.get(Flow::manifest(digest)).status >= 400);
  }
}
