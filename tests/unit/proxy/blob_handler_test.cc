// Blobs: where the bytes come from, and ranges (protocol.md §7.3).
#include "tests/support/catch.h"
#include "tests/unit/proxy/blob_names.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

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
