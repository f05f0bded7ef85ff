// Blobs: who may have them: what links one to a repository, and whose word counts.
#include "tests/support/catch.h"
#include "tests/unit/proxy/blob_names.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

// rules: cached-blob-confirmed
TEST_CASE("a cached blob is confirmed once upstream for a repository that does not link it") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = sha256_of(bytes);
  bench.store.add(bytes);
  bench.link("ghcr.io/other/app", digest);
  bench.fetcher.script = [](const upstream::FetchRequest&) { return confirming(100); };
  std::vector<std::unique_ptr<RecordedExchange>> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(bench.ask("GET", url(digest)));
  for (auto& client : clients) {
    bench.wait_for(*client);
    CHECK(client->status() == 200);
    CHECK(client->body() == bytes);
  }
  REQUIRE(bench.fetcher.requests.size() == 1);
  CHECK(bench.fetcher.requests[0].head_only);
  CHECK(bench.fetcher.requests[0].target->key() == kApp);
  REQUIRE(bench.catalog.link(kApp, digest));
  CHECK(bench.catalog.link(kApp, digest)->kind == cache::LinkKind::confirmed);
  CHECK(bench.get(url(digest))->status() == 200);
  CHECK(bench.fetcher.requests.size() == 1);  // the link is kept
}

TEST_CASE("a cached blob that upstream does not confirm for the repository is refused") {
  MirrorBench bench;
  bench.store.add("secret");
  const Digest digest = sha256_of("secret");
  SECTION("upstream says 404") {
    auto exchange = bench.get(url(digest));
    CHECK(exchange->status() == 404);
    CHECK(exchange->body().find("secret") == std::string::npos);
  }
  SECTION("upstream says 401") {
    bench.fetcher.script = [](const upstream::FetchRequest&) {
      Reply reply;
      reply.error = Error{Errc::denied, "unauthorized"};
      return reply;
    };
    CHECK(bench.get(url(digest))->status() == 401);  // who says who he is may come again
  }
  SECTION("upstream is down") {
    bench.fetcher.script = [](const upstream::FetchRequest&) {
      Reply reply;
      reply.error = Error{Errc::upstream_unreachable, "down"};
      return reply;
    };
    CHECK(bench.get(url(digest))->status() == 502);
  }
  SECTION("no upstream may be asked") {
    bench.change([](proxy::MirrorSettings& settings) { settings.offline = true; });
    CHECK(bench.get(url(digest))->status() == 502);
    CHECK(bench.head(url(digest))->status() == 502);
    CHECK(bench.fetcher.requests.empty());
  }
  CHECK_FALSE(bench.catalog.link(kApp, digest));
}

TEST_CASE("a digest known only as a manifest is no blob before upstream says so") {
  MirrorBench bench;
  const Digest digest = bench.keep_image(kApp, "1", image_manifest({"config"}));
  CHECK(bench.head(url(digest))->status() == 404);
  CHECK(bench.fetcher.count(upstream::Kind::blob, true) == 1);
}

// rules: join-confirmed, join-with-a-right
TEST_CASE("who joins the download of another repository is confirmed before a byte is given") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = sha256_of(bytes);
  auto running = bench.downloads.of(digest);
  running->confirm(bytes.size());
  running->grow(bytes);
  SECTION("upstream confirms") {
    bench.fetcher.script = [](const upstream::FetchRequest&) { return confirming(100); };
    auto exchange = bench.ask("GET", url(digest));
    CHECK(exchange->state() == RecordedExchange::State::open);
    CHECK(bench.downloads.joins.empty());
    bench.wait_for(*exchange);
    CHECK(exchange->body() == bytes);
    CHECK(exchange->header("Layerd-Source") == "join");
  }
  SECTION("upstream does not") {
    // Nor do the endpoints of who has no right come to the download, nor does he keep it going.
    auto exchange = bench.get(url(digest));
    CHECK(exchange->status() == 404);
    CHECK(bench.downloads.joins.empty());
  }
  CHECK(bench.fetcher.requests.size() == 1);
}

// rules: words-of-others
TEST_CASE("what another repository's upstream said is not told to who follows the same download") {
  for (const bool is_shared : {true, false}) {
    MirrorBench bench;
    const Digest digest = sha256_of("x");
    bench.link(kApp, digest);
    bench.downloads.are_shared = is_shared;
    auto exchange = bench.ask("GET", url(digest));
    auto download = bench.downloads.sources[digest].lock();
    download->fail({Errc::upstream_status, "https://private.example answered 500 for team/secret"});
    bench.wait_for(*exchange);
    CHECK(exchange->status() == 502);
    const auto told = exchange->reason() + exchange->body();
    CHECK((told.find("secret") == std::string::npos) == is_shared);
  }
}

TEST_CASE("a download that ends while a joiner is being confirmed is answered from the cache") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = sha256_of(bytes);
  bench.downloads.of(digest);
  bench.fetcher.script = [](const upstream::FetchRequest&) { return confirming(100); };
  auto exchange = bench.ask("GET", url(digest));
  bench.store.add(bytes);
  bench.wait_for(*exchange);
  CHECK(exchange->body() == bytes);
  CHECK(exchange->header("Layerd-Source") == "hit");
  CHECK(bench.downloads.joins.empty());
}

// rules: proof-of-own-endpoint
TEST_CASE("a download that another repository's upstream confirmed is no proof for this one") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = sha256_of(bytes);
  bench.downloads.proof = GENERATE(true, false);
  auto exchange = bench.ask("GET", url(digest));  // starts it, without a link
  auto download = bench.downloads.sources[digest].lock();
  download->confirm(bytes.size());
  download->grow(bytes);
  bench.wait_for(*exchange);
  CHECK(exchange->status() == (*bench.downloads.proof ? 200 : 404));
  CHECK(bench.fetcher.count(upstream::Kind::blob, true) == (*bench.downloads.proof ? 0 : 1));
  CHECK(bench.catalog.link(kApp, digest).has_value() == *bench.downloads.proof);
}

// Red if the head is begun with whatever size a running download was told.
TEST_CASE("a size that the repository's own manifest does not name begins no body") {
  MirrorBench bench;
  const Digest digest = sha256_of("x");
  const ByteCount listed = GENERATE(ByteCount{100}, ByteCount{0});
  bench.link(kApp, digest, listed);
  bench.downloads.of(digest)->confirm(7);
  auto exchange = bench.ask("GET", url(digest));
  if (listed == 0) {  // the manifest does not say
    CHECK(exchange->status() == 200);
    return;
  }
  CHECK(exchange->status() == 502);
  CHECK(exchange->body().find("7 bytes") != std::string::npos);
}

TEST_CASE("a linked client whose join ends in another repository's 404 starts its own download") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = sha256_of(bytes);
  bench.link(kApp, digest);
  auto others = bench.downloads.of(digest);
  auto exchange = bench.ask("GET", url(digest));
  bench.downloads.sources.erase(digest);
  others->fail({Errc::not_found, "not in that repository"});
  bench.loop.run();
  REQUIRE(bench.downloads.joins.size() == 2);
  auto own = bench.downloads.sources[digest].lock();
  own->confirm(bytes.size());
  own->grow(bytes);
  bench.loop.run();
  CHECK(exchange->body() == bytes);
}

// rules: hearsay-opens-nothing, hearsay-asks-nobody
TEST_CASE("the word of a member opens nothing that is here for others") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = sha256_of(bytes);
  bench.fetcher.script = [](const upstream::FetchRequest& request) {
    auto reply = confirming(100);
    reply.member = "10.0.0.2:5152";
    if (request.upstream_only) reply.error = Error{Errc::upstream_unreachable, "the WAN is cut"};
    return reply;
  };
  SECTION("in the store") {
    bench.store.add(bytes);
    CHECK(bench.get(url(digest))->status() == 502);
    CHECK(bench.fetcher.requests.back().upstream_only);
  }
  SECTION("it comes while members are asked") {
    auto exchange = bench.ask("HEAD", url(digest));
    bench.store.add(bytes);
    bench.wait_for(*exchange);
    CHECK(exchange->status() == 502);
  }
  SECTION("on its way, for another repository") {
    auto running = bench.downloads.of(digest);
    running->confirm(bytes.size());
    running->grow(bytes);
    CHECK(bench.get(url(digest))->status() == 502);
    CHECK(bench.downloads.joins.empty());
  }
  CHECK_FALSE(bench.catalog.link(kApp, digest));
}

// rules: hearsay-makes-no-link
TEST_CASE("what only a member says holds for one answer") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = sha256_of(bytes);
  bench.downloads.are_only_ours = true;
  bench.downloads.proof = false;  // the bytes come from members
  bench.fetcher.script = [](const upstream::FetchRequest& request) {
    auto reply = confirming(100);
    reply.member = "10.0.0.2:5152";
    if (request.upstream_only) reply.error = Error{Errc::upstream_unreachable, "the WAN is cut"};
    return reply;
  };
  CHECK(bench.head(url(digest))->status() == 200);
  auto exchange = bench.ask("GET", url(digest));
  auto download = bench.downloads.sources[digest].lock();
  download->confirm(bytes.size());
  download->grow(bytes);
  bench.wait_for(*exchange);
  CHECK(exchange->status() == 200);
  CHECK(exchange->body() == bytes);
  CHECK_FALSE(bench.catalog.link(kApp, digest));
}
