// Blobs: where the bytes come from, who may have them, and ranges (protocol.md §7.3).
#include "tests/support/catch.h"
#include "tests/unit/proxy/mirror_fakes.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

const std::string kApp = "ghcr.io/org/app";

std::string url(const Digest& digest) { return "/v2/org/app/blobs/" + digest.str() + "?ns=ghcr.io"; }

http::Headers range(std::string value) {
  http::Headers headers;
  headers.add("Range", std::move(value));
  return headers;
}

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + i * 7 % 23);
  return bytes;
}

// A blob that is cached and belongs to the repository.
Digest keep(MirrorBench& bench, const std::string& bytes) {
  bench.store.add(bytes);
  bench.link(kApp, sha256_of(bytes), bytes.size());
  return sha256_of(bytes);
}

Reply confirming(ByteCount size) {
  Reply reply;
  reply.body = std::string(size, 'x');
  return reply;
}

}  // namespace

TEST_CASE("a cached blob of the repository leaves by send_file without any upstream traffic") {
  MirrorBench bench;
  const std::string bytes = pattern(5'000'000);
  const Digest digest = keep(bench, bytes);
  auto exchange = bench.get(url(digest));
  CHECK(exchange->status() == 200);
  CHECK(exchange->body() == bytes);
  CHECK(exchange->used_send_file());
  CHECK(exchange->header("Layerd-Source") == "hit");
  CHECK(exchange->header("OCI-Namespace") == "ghcr.io");
  CHECK(exchange->header("Content-Type") == "application/octet-stream");
  CHECK(exchange->header("Docker-Content-Digest") == digest.str());
  CHECK(exchange->header("ETag") == "\"" + digest.str() + "\"");
  CHECK(exchange->header("Accept-Ranges") == "bytes");
  CHECK(exchange->header("Cache-Control") == "max-age=31536000, immutable");
  CHECK(bench.fetcher.requests.empty());
  CHECK(bench.downloads.joins.empty());
  REQUIRE(bench.store.served.size() == 1);
  CHECK(bench.store.served.front() == digest);
}

TEST_CASE("HEAD of a blob says what GET says, without a body and without waiting") {
  MirrorBench bench;
  const std::string bytes = pattern(70'000);
  const Digest digest = keep(bench, bytes);
  auto get = bench.get(url(digest));
  RecordedExchange head(bench.loop, "HEAD", url(digest), range("bytes=0-9"));
  head.serve_with(*bench.mirror);
  CHECK(head.state() == RecordedExchange::State::finished);  // at once
  CHECK(head.status() == 200);                               // Range on HEAD is ignored
  CHECK(head.content_length() == bytes.size());
  CHECK(head.body().empty());
  for (const char* name : {"Content-Type", "Docker-Content-Digest", "ETag", "Accept-Ranges", "Cache-Control",
                           "Layerd-Source", "OCI-Namespace", "Docker-Distribution-Api-Version"})
    CHECK(head.header(name) == get->header(name));
  CHECK(bench.store.served.size() == 1);  // only the GET served it
}

TEST_CASE("a hot small blob is answered from memory before serve returns") {
  MirrorBench bench;
  const Digest digest = keep(bench, "config json");
  bench.store.hot_ones.insert(digest);
  RecordedExchange exchange(bench.loop, "GET", url(digest), range("bytes=7-"));
  exchange.serve_with(*bench.mirror);
  CHECK(exchange.state() == RecordedExchange::State::finished);
  CHECK(exchange.status() == 206);
  CHECK(exchange.body() == "json");
}

TEST_CASE("ranges of a cached blob are byte-exact") {
  MirrorBench bench;
  const std::string bytes = pattern(1000);
  const Digest digest = keep(bench, bytes);
  struct Row {
    const char* range;
    int status;
    const char* content_range;
    std::size_t first, size;
  };
  const std::vector<Row> rows{
      {"bytes=0-9", 206, "bytes 0-9/1000", 0, 10},
      {"bytes=0-", 206, "bytes 0-999/1000", 0, 1000},
      {"bytes=990-", 206, "bytes 990-999/1000", 990, 10},
      {"bytes=-5", 206, "bytes 995-999/1000", 995, 5},
      {"bytes=5-5000", 206, "bytes 5-999/1000", 5, 995},
      {"bytes=1000-", 416, "bytes */1000", 0, 0},
      {"items=0-9", 200, "", 0, 1000},
      {"bytes=9-3", 200, "", 0, 1000},
      {"bytes=x", 200, "", 0, 1000},
  };
  for (const Row& row : rows) {
    CAPTURE(row.range);
    auto exchange = bench.get(url(digest), range(row.range));
    REQUIRE(exchange->state() == RecordedExchange::State::finished);
    CHECK(exchange->status() == row.status);
    CHECK(exchange->header("Content-Range") == row.content_range);
    CHECK(exchange->body() == bytes.substr(row.first, row.size));
  }
}

TEST_CASE("several ranges come as multipart/byteranges with the exact bytes and length") {
  MirrorBench bench;
  const std::string bytes = pattern(1000);
  const Digest digest = keep(bench, bytes);
  auto exchange = bench.get(url(digest), range("bytes=0-1,500-502,-3"));
  REQUIRE(exchange->status() == 206);
  const std::string type = exchange->header("Content-Type");
  const std::string start = "multipart/byteranges; boundary=";
  REQUIRE(type.starts_with(start));
  const std::string boundary = type.substr(start.size());
  const auto part = [&](const char* where, std::string_view piece) {
    return "--" + boundary + "\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes " + where +
           "/1000\r\n\r\n" + std::string(piece) + "\r\n";
  };
  const std::string expected = part("0-1", bytes.substr(0, 2)) + part("500-502", bytes.substr(500, 3)) +
                               part("997-999", bytes.substr(997)) + "--" + boundary + "--";
  CHECK(exchange->body().substr(0, expected.size()) == expected);
  CHECK(exchange->body().size() - expected.size() <= 2);  // a line end behind the trailer is allowed
  CHECK(exchange->content_length() == exchange->body().size());
}

TEST_CASE("If-None-Match and If-Range compare with the digest") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = keep(bench, bytes);
  const std::string etag = "\"" + digest.str() + "\"";
  const auto ask = [&](std::string name, std::string value, std::string wanted) {
    http::Headers headers = wanted.empty() ? http::Headers() : range(std::move(wanted));
    headers.add(std::move(name), std::move(value));
    return bench.get(url(digest), std::move(headers));
  };
  auto same = ask("If-None-Match", "\"other\", " + etag, "");
  CHECK(same->status() == 304);
  CHECK(same->body().empty());
  CHECK(same->header("ETag") == etag);
  CHECK(ask("If-None-Match", "\"other\"", "")->status() == 200);
  CHECK(ask("If-Range", etag, "bytes=0-1")->status() == 206);
  CHECK(ask("If-Range", "\"other\"", "bytes=0-1")->status() == 200);
  CHECK(ask("If-Range", "W/" + etag, "bytes=0-1")->status() == 200);
}

TEST_CASE("a blob of no bytes is served whole, also when a range is asked") {
  MirrorBench bench;
  const Digest digest = keep(bench, "");
  for (auto headers : {http::Headers(), range("bytes=0-")}) {
    auto exchange = bench.get(url(digest), headers);
    CHECK(exchange->state() == RecordedExchange::State::finished);
    CHECK(exchange->status() == 200);
    CHECK(exchange->content_length() == 0);
  }
}

TEST_CASE("the head leaves as soon as a source has confirmed the size, bytes as they come") {
  MirrorBench bench;
  const std::string bytes = pattern(300'000);
  const Digest digest = sha256_of(bytes);
  bench.link(kApp, digest, bytes.size());
  auto exchange = bench.ask("GET", url(digest));
  CHECK(exchange->state() ==
        RecordedExchange::State::open);  // the hint of the manifest is no reason to answer
  REQUIRE(bench.downloads.joins.size() == 1);
  CHECK(bench.downloads.joins[0].hint == bytes.size());
  auto download = bench.downloads.sources[digest].lock();
  REQUIRE(download);
  download->confirm(bytes.size());
  bench.loop.run();
  CHECK(exchange->state() == RecordedExchange::State::body);
  CHECK(exchange->header("Layerd-Source") == "upstream");
  download->grow(bytes.substr(0, 1000));
  bench.loop.run();
  CHECK(exchange->body() == bytes.substr(0, 1000));
  download->grow(bytes.substr(1000));
  bench.loop.run();
  CHECK(exchange->state() == RecordedExchange::State::finished);
  CHECK(exchange->body() == bytes);
}

TEST_CASE("a body switches to send_file when the download has become a file") {
  MirrorBench bench;
  const std::string bytes = pattern(400'000);
  const Digest digest = sha256_of(bytes);
  bench.link(kApp, digest);
  auto exchange = bench.ask("GET", url(digest));
  auto download = bench.downloads.sources[digest].lock();
  download->confirm(bytes.size());
  download->grow(bytes.substr(0, 100'000));
  bench.loop.run();
  CHECK_FALSE(exchange->used_send_file());
  download->commit();
  download->grow(bytes.substr(100'000));
  download->commit();
  bench.loop.run();
  CHECK(exchange->used_send_file());
  CHECK(exchange->body() == bytes);
}

TEST_CASE("a source that breaks breaks the body off and never pads it") {
  MirrorBench bench;
  const std::string bytes = pattern(1000);
  const Digest digest = sha256_of(bytes);
  bench.link(kApp, digest);
  auto exchange = bench.ask("GET", url(digest));
  auto download = bench.downloads.sources[digest].lock();
  download->confirm(bytes.size());
  download->grow(bytes.substr(0, 400));
  bench.loop.run();
  download->fail({Errc::digest_mismatch, "wrong bytes from upstream"});
  bench.loop.run();
  CHECK(exchange->state() == RecordedExchange::State::broken);
  CHECK(exchange->body() == bytes.substr(0, 400));
  CHECK(exchange->broken_by() == "wrong bytes from upstream");
  CHECK(bench.metrics.total("layerd_broken_bodies_total") == 1);
  download.reset();

  // The client comes back by Range: no second head without bytes.
  auto reopened = bench.ask("GET", url(digest), range("bytes=400-"));
  auto again = bench.downloads.sources[digest].lock();
  REQUIRE(again);
  again->confirm(bytes.size());
  bench.loop.run();
  CHECK(reopened->state() == RecordedExchange::State::open);
  bench.loop.advance(5s);
  CHECK(reopened->status() == 502);

  auto lucky = bench.ask("GET", url(digest), range("bytes=400-"));
  again = bench.downloads.sources[digest].lock();
  again->confirm(bytes.size());
  again->grow(bytes);
  bench.loop.run();
  CHECK(lucky->status() == 206);
  CHECK(lucky->body() == bytes.substr(400));
}

// rules: bad-file-breaks-off
TEST_CASE("a cached file that is found bad while it is sent is broken off") {
  MirrorBench bench;
  const std::string bytes = pattern(20'000'000);  // more than one piece
  const Digest digest = keep(bench, bytes);
  bench.store.next_goes_bad = true;
  auto exchange = bench.get(url(digest));
  CHECK(exchange->state() == RecordedExchange::State::broken);
  CHECK(exchange->body().size() < bytes.size());
  CHECK(bench.store.served.empty());
}

TEST_CASE("an error before the head is a clean answer") {
  MirrorBench bench;
  const Digest digest = sha256_of("x");
  bench.link(kApp, digest);
  auto exchange = bench.ask("GET", url(digest));
  bench.downloads.sources[digest].lock()->fail({Errc::upstream_unreachable, "cannot connect to ghcr.io"});
  bench.loop.run();
  CHECK(exchange->state() == RecordedExchange::State::finished);
  CHECK(exchange->status() == 502);
  CHECK(exchange->reason() == "cannot connect to ghcr.io");
}

TEST_CASE("no source within 20 seconds is a 502") {
  MirrorBench bench;
  const Digest digest = sha256_of("x");
  bench.link(kApp, digest);
  auto exchange = bench.ask("GET", url(digest));
  bench.loop.advance(19s);
  CHECK(exchange->state() == RecordedExchange::State::open);
  bench.loop.advance(1s);
  CHECK(exchange->status() == 502);
  CHECK(bench.downloads.sources[digest].expired());  // the download was let go
}

TEST_CASE("a client that leaves lets go of everything") {
  MirrorBench bench;
  const Digest digest = sha256_of("x");
  bench.link(kApp, digest);
  auto exchange = bench.ask("GET", url(digest));
  CHECK_FALSE(bench.downloads.sources[digest].expired());
  exchange->hang_up();
  CHECK(bench.downloads.sources[digest].expired());
  bench.loop.advance(30s);
  CHECK(exchange->state() == RecordedExchange::State::gone);
}

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

TEST_CASE("HEAD of a blob that is not cached asks upstream by HEAD and starts no download") {
  MirrorBench bench;
  const Digest digest = sha256_of("x");
  bench.fetcher.script = [](const upstream::FetchRequest&) { return confirming(12345); };
  auto exchange = bench.head(url(digest));
  CHECK(exchange->status() == 200);
  CHECK(exchange->content_length() == 12345);
  CHECK(exchange->header("Layerd-Source") == "upstream");
  CHECK(exchange->body().empty());
  CHECK(bench.downloads.joins.empty());
}

TEST_CASE("a cached file that vanished is downloaded again") {
  MirrorBench bench;
  const std::string bytes = pattern(100);
  const Digest digest = keep(bench, bytes);
  bench.store.open_fails = true;
  auto exchange = bench.ask("GET", url(digest));
  auto download = bench.downloads.sources[digest].lock();
  REQUIRE(download);
  download->confirm(bytes.size());
  download->grow(bytes);
  bench.loop.run();
  CHECK(exchange->body() == bytes);
  CHECK(exchange->header("Layerd-Source") == "upstream");
}

TEST_CASE("a range of a running download is announced to it") {
  MirrorBench bench;
  const Digest digest = sha256_of("x");
  bench.link(kApp, digest);
  auto exchange = bench.ask("GET", url(digest), range("bytes=500-"));
  auto download = bench.downloads.sources[digest].lock();
  download->confirm(1000);
  bench.loop.run();
  CHECK(exchange->status() == 206);
  CHECK(exchange->content_length() == 500);
  REQUIRE(download->wanted.size() == 1);
  CHECK(download->wanted[0] == ByteRange{500, 1000});
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
