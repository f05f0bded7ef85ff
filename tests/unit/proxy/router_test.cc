// The rows of protocol.md §7.1 and §7.2 and the rules of design.md §3.6, at the seam of the server.
#include "proxy/host_rule.h"
#include "tests/support/catch.h"
#include "tests/unit/proxy/mirror_fakes.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

const std::string kHub = "docker.io/library/nginx";

http::Headers with(std::string name, std::string value) {
  http::Headers headers;
  headers.add(std::move(name), std::move(value));
  return headers;
}

std::string code_of(const RecordedExchange& exchange) {
  const auto json = parse_json(exchange.body());
  if (!json || !json->contains("errors")) return "no error body";
  return json_string((*json)["errors"][0], "code");
}

}  // namespace

TEST_CASE("every endpoint of a pull-only registry answers as the specification says") {
  MirrorBench bench;
  const Digest none = sha256_of("not there");
  struct Row {
    const char* method;
    std::string target;
    int status;
    const char* code;  // null: no error
  };
  const std::vector<Row> rows{
      {"GET", "/v2/", 200, nullptr},
      {"GET", "/v2", 200, nullptr},
      {"GET", "/v2/_catalog", 404, "NAME_UNKNOWN"},
      {"GET", "/v2/library/nginx/blobs/" + none.str(), 404, "BLOB_UNKNOWN"},
      {"GET", "/v2/library/nginx/manifests/1", 404, "MANIFEST_UNKNOWN"},
      {"GET", "/v2/library/nginx/manifests/" + none.str(), 404, "MANIFEST_UNKNOWN"},
      {"GET", "/v2/library/nginx/referrers/" + none.str(), 404, "NAME_UNKNOWN"},
      {"GET", "/v2/library/nginx/tags/list", 404, "NAME_UNKNOWN"},
      {"GET", "/v2/library/nginx/blobs/sha256:abc", 400, "DIGEST_INVALID"},
      {"GET", "/v2/library/nginx/blobs/blake3:" + std::string(64, 'a'), 400, "DIGEST_INVALID"},
      {"GET", "/v2/UPPER/nginx/manifests/1", 400, "NAME_INVALID"},
      {"GET", "/v2/library/nginx/manifests/1?ns=%zz", 400, "NAME_INVALID"},
      {"GET", "/elsewhere", 404, "NAME_UNKNOWN"},
      {"POST", "/v2/library/nginx/blobs/uploads/", 405, "UNSUPPORTED"},
      {"PUT", "/v2/library/nginx/manifests/1", 405, "UNSUPPORTED"},
      {"PATCH", "/v2/library/nginx/blobs/uploads/1", 405, "UNSUPPORTED"},
      {"DELETE", "/v2/library/nginx/manifests/1", 405, "UNSUPPORTED"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.method, row.target);
    auto exchange = bench.ask(row.method, row.target);
    if (exchange->state() == RecordedExchange::State::open) {
      // A download that finds nothing upstream.
      if (auto download = bench.downloads.sources[none].lock())
        download->fail({Errc::not_found, "no such blob"});
      bench.wait_for(*exchange);
    }
    REQUIRE(exchange->state() == RecordedExchange::State::finished);
    CHECK(exchange->status() == row.status);
    CHECK(exchange->header("Docker-Distribution-Api-Version") == "registry/2.0");
    CHECK(exchange->header("Content-Type") == "application/json");
    if (row.code) {
      CHECK(code_of(*exchange) == row.code);
      CHECK_FALSE(exchange->reason().empty());
    }
    if (row.status == 405) CHECK(exchange->header("Allow") == "GET, HEAD");
  }
}

TEST_CASE("the ping is answered 200 with an empty object and never with a challenge") {
  MirrorBench bench;
  auto get = bench.get("/v2/");
  CHECK(get->body() == "{}");
  CHECK_FALSE(get->has_header("WWW-Authenticate"));
  auto head = bench.head("/v2/");
  CHECK(head->status() == 200);
  CHECK(head->body().empty());
  CHECK(head->content_length() == 2);
}

TEST_CASE("an upstream's failure becomes a status that lets the runtime go on") {
  MirrorBench bench;
  struct Row {
    Error error;
    int status;
    const char* code;
  };
  Error refused{Errc::denied, "registry says no"};
  refused.status = 401;
  Error busy{Errc::upstream_status, "too many requests"};
  busy.status = 429;
  busy.retry_after = 17s;
  const std::vector<Row> rows{
      {{Errc::not_found, "no such thing"}, 404, "MANIFEST_UNKNOWN"},
      {refused, 401, "UNAUTHORIZED"},  // the client may say who it is
      {busy, 502, "TOOMANYREQUESTS"},
      {{Errc::upstream_unreachable, "connection refused by 10.0.0.1:443"}, 502, "UNAVAILABLE"},
      {{Errc::upstream_timeout, "no answer"}, 502, "UNAVAILABLE"},
      {{Errc::upstream_protocol, "HTML instead of a manifest"}, 502, "UNAVAILABLE"},
      {{Errc::overloaded, "too many connections"}, 503, "UNAVAILABLE"},
      {{Errc::refused_by_policy, "harbor.corp resolves to 10.1.2.3 and is not configured"}, 403, "DENIED"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.error.message);
    bench.loop.advance(10s);  // past a remembered 404
    bench.fetcher.script = [&](const upstream::FetchRequest&) {
      Reply reply;
      reply.error = row.error;
      return reply;
    };
    auto exchange = bench.get("/v2/library/nginx/manifests/1?ns=docker.io");
    CHECK(exchange->status() == row.status);
    CHECK(code_of(*exchange) == row.code);
    CHECK(exchange->body().find(row.error.message) != std::string::npos);
    CHECK(exchange->reason().find(row.error.message) != std::string::npos);
    CHECK(exchange->header("OCI-Namespace") == "docker.io");
    CHECK(exchange->has_header("WWW-Authenticate") == (row.status == 401));
    auto head = bench.head("/v2/library/nginx/manifests/1?ns=docker.io");
    CHECK(head->status() == row.status);
    CHECK(head->body().empty());
  }
}

TEST_CASE("the registry comes from ns, else from the path, else it is Docker Hub") {
  MirrorBench bench;
  bench.get("/v2/library/nginx/manifests/1?ns=nexus.local%3A8082");
  bench.get("/v2/ghcr.io/org/app/manifests/1");
  bench.get("/v2/nginx/manifests/1");
  REQUIRE(bench.fetcher.requests.size() == 3);
  CHECK(bench.fetcher.requests[0].target->key() == "nexus.local:8082/library/nginx");
  CHECK(bench.fetcher.requests[1].target->key() == "ghcr.io/org/app");
  CHECK(bench.fetcher.requests[2].target->key() == kHub);
}

TEST_CASE("OCI-Namespace is echoed when ns was used and only then") {
  MirrorBench bench;
  const Digest digest = bench.keep_image(kHub, "1", image_manifest({"config", "layer"}));
  const std::string path = "/v2/library/nginx/manifests/" + digest.str();
  CHECK(bench.get(path + "?ns=docker.io")->header("OCI-Namespace") == "docker.io");
  CHECK_FALSE(bench.get(path)->has_header("OCI-Namespace"));
}

// rules: host-rule
TEST_CASE("a loopback listener takes loopback peers with one of our names only") {
  MirrorBench bench;
  bench.change([](proxy::MirrorSettings& settings) { settings.own_names = {"mirror.node"}; });
  const auto status_for = [&](const std::string& host, const std::string& peer, const std::string& local) {
    RecordedExchange exchange(bench.loop, "GET", "/v2/", with("Host", host));
    exchange.set_peer(peer);
    exchange.set_local(local);
    exchange.serve_with(*bench.mirror);
    return exchange.status();
  };
  CHECK(status_for("localhost:5151", "127.0.0.1", "127.0.0.1") == 200);
  CHECK(status_for("LOCALHOST", "127.0.0.1", "127.0.0.1") == 200);
  CHECK(status_for("127.0.0.1:1", "127.0.0.1", "127.0.0.1") == 200);
  CHECK(status_for("[::1]:5151", "::1", "::1") == 200);
  CHECK(status_for("127.0.0.9:5151", "127.0.0.1", "127.0.0.9") == 200);
  CHECK(status_for("mirror.node:5151", "127.0.0.1", "127.0.0.1") == 200);
  CHECK(status_for("evil.example:5151", "127.0.0.1", "127.0.0.1") == 421);
  CHECK(status_for("localhost.evil.example", "127.0.0.1", "127.0.0.1") == 421);
  CHECK(status_for("localhost", "10.0.0.7", "127.0.0.1") == 403);
  CHECK(status_for("10.0.0.1:5151", "10.0.0.7", "10.0.0.1") == 200);  // no loopback listener
}

TEST_CASE("the authority of an absolute-form target overrules Host") {
  MirrorBench bench;
  CHECK(bench.get("http://localhost:5151/v2/", with("Host", "evil.example"))->status() == 200);
  CHECK(bench.get("http://evil.example/v2/", with("Host", "localhost"))->status() == 421);
  CHECK(bench.get("http://evil.example/v2/UPPER/x/manifests/1", with("Host", "localhost"))->status() >= 400);
}

// rules: via-rule
TEST_CASE("a request that passed us already gets 508") {
  MirrorBench bench;
  CHECK(bench.get("/v2/", with("Via", "1.1 other, 1.1 layerd-test (x)"))->status() == 508);
  CHECK(bench.get("/v2/", with("Via", "1.1 layerd-test2"))->status() == 200);
  CHECK(bench.get("/v2/", with("Via", "1.1 other"))->status() == 200);
}

TEST_CASE("health, readiness, metrics and the status page are on the same listener") {
  MirrorBench bench;
  CHECK(bench.get("/healthz")->status() == 200);
  CHECK(bench.get("/readyz")->status() == 200);
  bench.not_ready = "the cache is still being opened";
  auto readyz = bench.get("/readyz");
  CHECK(readyz->status() == 503);
  CHECK(readyz->body() == "the cache is still being opened\n");
  CHECK(bench.get("/metrics")->body().find("layerd_exchanges_total{kind=\"site\"") != std::string::npos);
  auto page = bench.get("/");
  CHECK(page->header("Content-Type") == "text/html; charset=utf-8");
  CHECK(page->body().find("<script") == std::string::npos);
}

TEST_CASE("the status page escapes what came from outside") {
  proxy::StatusFigures figures;
  figures.trouble = "<img src=x>";
  proxy::DownloadStatus download;
  download.repository = "evil.example/<script>alert(1)</script>";
  figures.downloads.push_back(download);
  const std::string page = proxy::status_page(figures);
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("<img") == std::string::npos);
  CHECK(page.find("&lt;script&gt;") != std::string::npos);
}

TEST_CASE("a registry outside `allow` is refused before anything is asked") {
  MirrorBench bench;
  bench.change([](proxy::MirrorSettings& settings) {
    registry::RulesInput input;
    input.allow = {"ghcr.io"};
    auto rules = registry::Rules::make(std::move(input));
    REQUIRE(rules);
    settings.rules = *rules;
  });
  auto exchange = bench.get("/v2/library/nginx/manifests/1?ns=docker.io");
  CHECK(exchange->status() == 403);
  CHECK(bench.fetcher.requests.empty());
}

TEST_CASE("what clients ask for is counted by registry, refused or not, and the newest 256 names are kept") {
  MirrorBench bench;
  const auto& asked = bench.mirror->asked_registries();
  CHECK_FALSE(asked.since("docker.io"));
  bench.get("/v2/library/nginx/manifests/1");
  bench.get("/v2/library/nginx/blobs/" + sha256_of("none").str());
  CHECK(asked.counts() == std::map<std::string, std::uint64_t>{{"docker.io", 2}});
  bench.loop.advance(10s);
  REQUIRE(asked.since("docker.io"));
  CHECK(*asked.since("docker.io") >= 10s);
  for (int i = 0; i < 300; ++i) {
    bench.get("/v2/app/manifests/1?ns=r" + std::to_string(i) + ".example");
    bench.loop.advance(1s);
  }
  CHECK(asked.counts().size() == 256);
  CHECK_FALSE(asked.since("docker.io"));
  CHECK(asked.since("r299.example"));
}

TEST_CASE("a reload reaches targets that were seen before it") {
  MirrorBench bench;
  bench.get("/v2/library/nginx/manifests/1");
  REQUIRE(bench.fetcher.requests.size() == 1);
  bench.change([](proxy::MirrorSettings& settings) { settings.offline = true; });
  auto exchange = bench.get("/v2/library/nginx/manifests/1");
  CHECK(exchange->status() == 502);
  CHECK(exchange->body().find("offline: true") != std::string::npos);
  CHECK(bench.fetcher.requests.size() == 1);
}

TEST_CASE("lists are passed on with their headers and their next page leads back to us") {
  MirrorBench bench;
  bench.fetcher.script = [](const upstream::FetchRequest& request) {
    Reply reply;
    CHECK(request.query == "n=2");
    reply.headers.add("Content-Type", "application/vnd.oci.image.index.v1+json");
    reply.headers.add("OCI-Filters-Applied", "artifactType");
    reply.headers.add("Link", "<https://upstream.example/v2/other/name/tags/list?n=2&last=b>; rel=\"next\"");
    reply.headers.add("Set-Cookie", "secret");
    reply.body = "{\"manifests\":[]}";
    return reply;
  };
  auto exchange = bench.get("/v2/org/app/referrers/" + sha256_of("x").str() + "?ns=ghcr.io&n=2");
  CHECK(exchange->status() == 200);
  CHECK(exchange->body() == "{\"manifests\":[]}");
  CHECK(exchange->header("Content-Type") == "application/vnd.oci.image.index.v1+json");
  CHECK(exchange->header("OCI-Filters-Applied") == "artifactType");
  CHECK(exchange->header("Link") ==
        "</v2/org/app/referrers/" + sha256_of("x").str() + "?n=2&last=b&ns=ghcr.io>; rel=\"next\"");
  CHECK_FALSE(exchange->has_header("Set-Cookie"));
  CHECK(exchange->header("Layerd-Source") == "upstream");
}

TEST_CASE("a list larger than the bound is refused, whether it tells its length or not") {
  MirrorBench bench;
  const bool tells = GENERATE(true, false);
  bench.fetcher.script = [tells](const upstream::FetchRequest&) {
    Reply reply;
    reply.body = std::string((4u << 20) + 1, 'x');
    reply.tells_length = tells;
    return reply;
  };
  auto exchange = bench.get("/v2/org/app/tags/list?ns=ghcr.io");
  CHECK(exchange->status() == 502);
  CHECK(bench.buffers.in_use() == 0);
}

TEST_CASE("the listener for pages answers no pulls") {
  MirrorBench bench;
  proxy::SiteService site(*bench.mirror);
  const auto ask = [&](const std::string& target, http::Headers headers = {}) {
    auto exchange = std::make_unique<RecordedExchange>(bench.loop, "GET", target, std::move(headers));
    exchange->serve_with(site);
    bench.loop.run();
    return exchange;
  };
  for (const char* page : {"/healthz", "/readyz", "/metrics", "/"}) CHECK(ask(page)->status() == 200);
  const Digest digest = bench.keep_image("ghcr.io/org/app", "1", image_manifest({"config"}));
  for (const std::string object :
       {"/v2/ghcr.io/org/app/manifests/1", "/v2/ghcr.io/org/app/manifests/", "/v2/"})
    CHECK(ask(object.ends_with("manifests/") ? object + digest.str() : object)->status() == 404);
  CHECK(bench.fetcher.requests.empty());
  CHECK(ask("/metrics", with("Host", "evil.example"))->status() == 421);
}
