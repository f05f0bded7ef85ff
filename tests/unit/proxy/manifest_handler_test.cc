// Manifests by digest and by tag: exact bytes and headers, what is kept, who may have them.
#include <thread>

#include "tests/support/catch.h"
#include "tests/unit/proxy/mirror_fakes.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

const std::string kApp = "ghcr.io/org/app";
const std::string kType = "application/vnd.oci.image.manifest.v1+json";

std::string url(const std::string& reference) { return "/v2/org/app/manifests/" + reference + "?ns=ghcr.io"; }

Reply reply_with(const std::string& body, const std::string& type = kType) {
  Reply reply;
  reply.body = body;
  if (!type.empty()) reply.headers.add("Content-Type", type);
  return reply;
}

}  // namespace

TEST_CASE("a manifest by tag is fetched once, kept with its links, and served again without upstream") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config", "layer one", "layer two"});
  const Digest digest = sha256_of(manifest);
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest); };
  auto head = bench.head(url("1"));
  CHECK(head->status() == 200);
  CHECK(head->body().empty());
  CHECK(head->content_length() == manifest.size());
  CHECK(head->header("Content-Type") == kType);
  CHECK(head->header("Docker-Content-Digest") == digest.str());
  CHECK(head->header("Cache-Control") == "no-cache");
  CHECK(head->header("Layerd-Source") == "upstream");
  CHECK(head->header("OCI-Namespace") == "ghcr.io");

  auto get = bench.get(url(digest.str()));
  CHECK(get->body() == manifest);
  CHECK(get->header("Layerd-Source") == "hit");
  CHECK(get->header("Content-Type") == kType);
  CHECK(get->header("ETag") == "\"" + digest.str() + "\"");
  CHECK(get->header("Cache-Control") == "max-age=31536000, immutable");
  CHECK(bench.fetcher.requests.size() == 1);

  CHECK(bench.catalog.link(kApp, digest)->kind == cache::LinkKind::manifest);
  for (const char* blob : {"config", "layer one", "layer two"}) {
    const auto link = bench.catalog.link(kApp, sha256_of(blob));
    REQUIRE(link);
    CHECK(link->kind == cache::LinkKind::listed);
    CHECK(link->size == std::string(blob).size());
  }
  CHECK(bench.catalog.repository(kApp)->repository_class == cache::RepositoryClass::open);
}

TEST_CASE("the class of a repository that needed the node's credentials is node") {
  MirrorBench bench;
  bench.fetcher.script = [&](const upstream::FetchRequest&) {
    Reply reply = reply_with(image_manifest({"config"}));
    reply.authenticated = true;
    return reply;
  };
  bench.get(url("1"));
  CHECK(bench.catalog.repository(kApp)->repository_class == cache::RepositoryClass::node);
}

TEST_CASE("many clients of one uncached manifest cost one request upstream") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config", "layer"});
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest); };
  std::vector<std::unique_ptr<RecordedExchange>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(bench.ask("GET", url(sha256_of(manifest).str())));
  clients[0]->hang_up();  // the one that began it leaves
  for (std::size_t i = 1; i < clients.size(); ++i) {
    bench.wait_for(*clients[i]);
    CHECK(clients[i]->body() == manifest);
    CHECK(clients[i]->header("Layerd-Source") == "join");
  }
  CHECK(bench.fetcher.requests.size() == 1);
}

// rules: manifest-digest
TEST_CASE("a manifest with another digest than the one asked for is never served nor kept") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config"});
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest + "\n"); };
  auto exchange = bench.get(url(sha256_of(manifest).str()));
  CHECK(exchange->status() == 502);
  CHECK(bench.store.blobs.empty());
  CHECK(bench.catalog.links.empty());
}

TEST_CASE("a tag whose bytes do not match upstream's Docker-Content-Digest is refused") {
  MirrorBench bench;
  bench.fetcher.script = [&](const upstream::FetchRequest&) {
    Reply reply = reply_with(image_manifest({"config"}));
    reply.headers.add("Docker-Content-Digest", sha256_of("other").str());
    return reply;
  };
  CHECK(bench.get(url("1"))->status() == 502);
  CHECK(bench.catalog.tags.empty());
}

TEST_CASE("a missing or generic Content-Type is derived from the document") {
  MirrorBench bench;
  const char* type = GENERATE("", "application/octet-stream", "application/json");
  const std::string manifest = image_manifest({"config"});
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest, type); };
  CHECK(bench.get(url("1"))->header("Content-Type") == kType);
}

TEST_CASE("HTML, an empty body and a manifest over 4 MiB are refused with 502") {
  MirrorBench bench;
  Reply reply;
  SECTION("HTML") { reply = reply_with("<html><body>Log in</body></html>", "text/html"); }
  SECTION("empty") { reply = reply_with("", kType); }
  SECTION("too large") { reply = reply_with(std::string((4u << 20) + 1, ' '), kType); }
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply; };
  auto exchange = bench.get(url("1"));
  CHECK(exchange->status() == 502);
  CHECK(bench.store.blobs.empty());
  CHECK(bench.buffers.in_use() == 0);
}

TEST_CASE("a manifest asked for by sha512 is answered with the sha512 digest") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config"});
  const Digest digest = digest_of(DigestAlgorithm::sha512, manifest);
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest); };
  auto exchange = bench.get(url(digest.str()));
  CHECK(exchange->status() == 200);
  CHECK(exchange->header("Docker-Content-Digest") == digest.str());
  CHECK(bench.get(url(digest.str()))->header("Layerd-Source") == "hit");
}

TEST_CASE("a disk that takes nothing fails no pull: the manifest is served and not kept") {
  MirrorBench bench;
  bench.store.put_fails = Error{Errc::no_space, "the disk is full"};
  const std::string manifest = image_manifest({"config"});
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest); };
  auto exchange = bench.get(url("1"));
  CHECK(exchange->status() == 200);
  CHECK(exchange->body() == manifest);
  CHECK(bench.metrics.total("layerd_manifests_not_kept_total") == 1);
}

TEST_CASE("a cached manifest serves another repository only after upstream confirmed it there") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config", "layer"});
  const Digest digest = bench.keep_image("ghcr.io/other/app", "1", manifest);
  SECTION("confirmed: one HEAD, and its blobs are linked too") {
    bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest); };
    auto exchange = bench.get(url(digest.str()));
    CHECK(exchange->body() == manifest);
    CHECK(bench.fetcher.requests.size() == 1);
    CHECK(bench.fetcher.requests[0].head_only);
    CHECK(bench.catalog.link(kApp, sha256_of("layer")));
  }
  SECTION("not there: 404") { CHECK(bench.get(url(digest.str()))->status() == 404); }
  SECTION("no upstream to ask: refused") {
    bench.change([](proxy::MirrorSettings& settings) { settings.offline = true; });
    CHECK(bench.get(url(digest.str()))->status() == 502);
    CHECK(bench.fetcher.requests.empty());
  }
}

TEST_CASE("an evicted manifest of a fresh tag is fetched again by digest") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config"});
  bench.fetcher.script = [&](const upstream::FetchRequest&) { return reply_with(manifest); };
  bench.get(url("1"));
  bench.store.blobs.clear();
  auto exchange = bench.get(url("1"));
  CHECK(exchange->body() == manifest);
  REQUIRE(bench.fetcher.requests.size() == 2);
  CHECK(bench.fetcher.requests[1].reference == sha256_of(manifest).str());
}

TEST_CASE("ranges and conditions work on manifests as on blobs") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config", "layer"});
  const Digest digest = bench.keep_image(kApp, "1", manifest);
  if (GENERATE(true, false)) bench.store.hot_ones.insert(digest);
  const auto ask = [&](std::string name, std::string value) {
    http::Headers headers;
    headers.add(std::move(name), std::move(value));
    return bench.get(url(digest.str()), std::move(headers));
  };
  auto open = ask("Range", "bytes=0-");
  CHECK(open->status() == 206);
  CHECK(open->body() == manifest);
  CHECK(open->header("Content-Type") == kType);
  CHECK(ask("Range", "bytes=10-19")->body() == manifest.substr(10, 10));
  CHECK(ask("Range", "bytes=99999-")->status() == 416);
  auto several = ask("Range", "bytes=0-0,10-19");
  CHECK(several->status() == 206);
  CHECK(several->body().find(manifest.substr(10, 10)) != std::string::npos);
  CHECK(ask("If-None-Match", "\"" + digest.str() + "\"")->status() == 304);
}

TEST_CASE("a hot manifest is answered before serve returns") {
  MirrorBench bench;
  const std::string manifest = image_manifest({"config"});
  const Digest digest = bench.keep_image(kApp, "1", manifest);
  bench.store.hot_ones.insert(digest);
  RecordedExchange exchange(bench.loop, "GET", url(digest.str()));
  exchange.serve_with(*bench.mirror);
  CHECK(exchange.state() == RecordedExchange::State::finished);
  CHECK(exchange.body() == manifest);
}

TEST_CASE("every ended exchange counts, with its source") {
  MirrorBench bench;
  const Digest digest = bench.keep_image(kApp, "1", image_manifest({"config"}));
  bench.get(url(digest.str()));
  bench.get(url("none"));
  CHECK(bench.mirror->tally().hits == 1);
  CHECK(bench.mirror->tally().errors == 1);
  CHECK(bench.metrics.text().find("layerd_exchanges_total{kind=\"manifest\",source=\"hit\"} 1") !=
        std::string::npos);
}

TEST_CASE("large manifests are checked beside the loop, with the same outcome") {
  MirrorBench bench;
  std::vector<std::string> layers;
  for (int i = 0; i < 800; ++i) layers.push_back("layer " + std::to_string(i));
  const std::string manifest = image_manifest(layers);
  REQUIRE(manifest.size() > (64u << 10));
  const bool is_right = GENERATE(true, false);
  bench.fetcher.script = [&](const upstream::FetchRequest&) {
    return reply_with(is_right ? manifest : manifest + " ");
  };
  auto exchange = bench.ask("GET", url(sha256_of(manifest).str()));
  for (int i = 0; i < 500 && !exchange->ended(); ++i) {
    bench.loop.advance(10ms);
    std::this_thread::sleep_for(1ms);  // for the worker
  }
  CHECK(exchange->status() == (is_right ? 200 : 502));
  CHECK(bench.catalog.link(kApp, sha256_of("layer 799")).has_value() == is_right);
  if (!is_right) return;
  // Another repository gets the links of the kept bytes.
  auto other = bench.ask("GET", "/v2/org/fork/manifests/" + sha256_of(manifest).str() + "?ns=ghcr.io");
  for (int i = 0; i < 500 && !other->ended(); ++i) {
    bench.loop.advance(10ms);
    std::this_thread::sleep_for(1ms);
  }
  CHECK(other->status() == 200);
  CHECK(bench.catalog.link("ghcr.io/org/fork", sha256_of("layer 799")));
}
