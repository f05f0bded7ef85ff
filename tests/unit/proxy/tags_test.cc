// Tag freshness on virtual time (design.md §3.1 step 3, protocol.md §7.5).
#include "tests/support/catch.h"
#include "tests/unit/proxy/mirror_fakes.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

const std::string kApp = "ghcr.io/org/app";
const std::string kUrl = "/v2/org/app/manifests/1?ns=ghcr.io";

struct TagBench : MirrorBench {
  // A tag that was checked an hour ago, and an upstream that still has the same.
  TagBench() {
    digest = keep_image(kApp, "1", manifest);
    fetcher.script = [this](const upstream::FetchRequest&) {
      Reply reply;
      reply.body = upstream_has;
      reply.headers.add("Content-Type", "application/vnd.oci.image.manifest.v1+json");
      return reply;
    };
  }
  void fail_with(Error error) {
    fetcher.script = [error](const upstream::FetchRequest&) {
      Reply reply;
      reply.error = error;
      return reply;
    };
  }
  void hang(std::vector<Duration> progress = {}) {
    fetcher.script = [progress](const upstream::FetchRequest&) {
      Reply reply;
      reply.never = true;
      reply.progress = progress;
      return reply;
    };
  }
  Duration time_to_answer() {
    auto exchange = ask("GET", kUrl);
    const TimePoint began = loop.now();
    wait_for(*exchange);
    last = std::move(exchange);
    return loop.now() - began;
  }
  std::size_t heads() const { return fetcher.count(upstream::Kind::manifest, true); }
  std::size_t gets() const { return fetcher.count(upstream::Kind::manifest, false); }

  const std::string manifest = image_manifest({"config", "old layer"});
  const std::string newer = image_manifest({"config", "new layer"});
  std::string upstream_has = manifest;
  Digest digest;
  std::unique_ptr<RecordedExchange> last;
};

}  // namespace

// rules: one-tag-check
TEST_CASE("fifty clients of a tag that is not fresh cost one HEAD") {
  TagBench bench;
  std::vector<std::unique_ptr<RecordedExchange>> clients;
  for (int i = 0; i < 50; ++i) clients.push_back(bench.ask(i % 2 ? "HEAD" : "GET", kUrl));
  for (auto& client : clients) {
    bench.wait_for(*client);
    CHECK(client->status() == 200);
    CHECK(client->header("Layerd-Source") == "hit");
    CHECK_FALSE(client->has_header("Warning"));
  }
  CHECK(bench.heads() == 1);
  CHECK(bench.gets() == 0);
}

// rules: tag-fresh
TEST_CASE("a checked tag is answered without upstream for fresh_for, by this process's own clock") {
  TagBench bench;
  bench.get(kUrl);
  bench.loop.advance(1900ms);
  bench.get(kUrl);
  CHECK(bench.heads() == 1);
  bench.loop.advance(200ms);
  bench.get(kUrl);
  CHECK(bench.heads() == 2);
}

TEST_CASE("a record checked in the future is not fresh") {
  TagBench bench;
  bench.catalog.tags[{kApp, "1"}].checked_at += 7200;
  bench.get(kUrl);
  CHECK(bench.heads() == 1);
}

TEST_CASE("a record of an earlier process is fresh by wall time") {
  TagBench bench;
  bench.change([](proxy::MirrorSettings& settings) { settings.fresh_for = 2h; });
  auto exchange = bench.get(kUrl);
  CHECK(exchange->header("Layerd-Source") == "hit");
  CHECK(bench.heads() == 0);
}

TEST_CASE("a tag that moved is fetched by digest and kept") {
  TagBench bench;
  bench.upstream_has = bench.newer;
  auto exchange = bench.get(kUrl);
  CHECK(exchange->body() == bench.newer);
  CHECK(exchange->header("Layerd-Source") == "upstream");
  CHECK(bench.heads() == 1);
  REQUIRE(bench.gets() == 1);
  CHECK(bench.fetcher.requests.back().reference == sha256_of(bench.newer).str());
  CHECK(bench.catalog.tag(kApp, "1")->digest == sha256_of(bench.newer));
}

// rules: tag-without-digest
TEST_CASE("an upstream that tells no digest is asked by GET") {
  TagBench bench;
  bench.fetcher.script = [&](const upstream::FetchRequest&) {
    Reply reply;
    reply.body = bench.newer;
    reply.tells_digest = false;
    return reply;
  };
  auto exchange = bench.get(kUrl);
  CHECK(exchange->body() == bench.newer);
  CHECK(exchange->header("Docker-Content-Digest") == sha256_of(bench.newer).str());
  CHECK(bench.gets() == 1);
}

TEST_CASE("an upstream without HEAD for manifests is asked by GET") {
  TagBench bench;
  bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    Reply reply;
    reply.body = bench.newer;
    if (request.head_only) {
      reply.error = Error{Errc::upstream_status, "405"};
      reply.error->status = 405;
    }
    return reply;
  };
  CHECK(bench.get(kUrl)->body() == bench.newer);
}

// rules: tag-stale
TEST_CASE("after every failure but 404 the stale record is served, marked, with the cause") {
  TagBench bench;
  Error refused{Errc::denied, "unauthorized"};
  refused.status = 401;
  Error busy{Errc::upstream_status, "too many requests"};
  busy.status = 429;
  Error broken{Errc::upstream_status, "internal server error"};
  broken.status = 500;
  for (const Error& error :
       {refused, busy, broken, Error{Errc::upstream_unreachable, "no route to \"ghcr.io\""},
        Error{Errc::upstream_timeout, "no answer"}, Error{Errc::upstream_protocol, "HTML"},
        Error{Errc::refused_by_policy, "ghcr.io resolves to 10.0.0.1"}}) {
    CAPTURE(error.message);
    bench.fail_with(error);
    auto exchange = bench.get(kUrl);
    CHECK(exchange->status() == 200);
    CHECK(exchange->body() == bench.manifest);
    CHECK(exchange->header("Layerd-Source") == "stale");
    const std::string warning = exchange->header("Warning");
    CHECK(warning.starts_with("299 - \""));
    CHECK(warning.find(error.message.substr(0, 8)) != std::string::npos);
    CHECK(warning.size() <= 220);
  }
}

// rules: tag-patience
TEST_CASE("a hanging upstream makes nobody wait longer than a second without progress") {
  TagBench bench;
  bench.hang();
  CHECK(bench.time_to_answer() <= 1010ms);
  CHECK(bench.last->header("Layerd-Source") == "stale");
  CHECK(bench.time_to_answer() <= 10ms);  // the check still runs: nobody waits for it again
  CHECK(bench.heads() == 1);
}

TEST_CASE("an upstream that makes progress is waited for, ten seconds in all") {
  TagBench bench;
  std::vector<Duration> progress;
  for (int i = 1; i < 30; ++i) progress.push_back(i * 900ms);
  bench.hang(progress);
  const Duration waited = bench.time_to_answer();
  CHECK(waited >= 9900ms);
  CHECK(waited <= 10010ms);
  CHECK(bench.last->header("Layerd-Source") == "stale");
}

TEST_CASE("after a failed check the next one is waited for a second flat") {
  TagBench bench;
  bench.fail_with({Errc::upstream_unreachable, "down"});
  bench.get(kUrl);
  bench.hang({500ms, 900ms, 1500ms});
  CHECK(bench.time_to_answer() <= 1010ms);
}

// rules: tag-check-within
TEST_CASE("check_within bounds the wait as configured") {
  TagBench bench;
  bench.change([](proxy::MirrorSettings& settings) { settings.check_within = 300ms; });
  bench.hang({100ms, 200ms, 300ms});
  CHECK(bench.time_to_answer() <= 310ms);
  CHECK(bench.last->header("Layerd-Source") == "stale");
}

TEST_CASE("a check that was too slow goes on and refreshes the record") {
  TagBench bench;
  bench.fetcher.script = [&](const upstream::FetchRequest&) {
    Reply reply;
    reply.body = bench.newer;
    reply.after = 3s;
    return reply;
  };
  CHECK(bench.get(kUrl)->body() == bench.manifest);
  bench.loop.advance(10s);
  CHECK(bench.catalog.tag(kApp, "1")->digest == sha256_of(bench.newer));
  CHECK(bench.store.known_size(sha256_of(bench.newer)));
}

TEST_CASE("a check outlives the clients that asked for it") {
  TagBench bench;
  bench.upstream_has = bench.newer;
  auto exchange = bench.ask("GET", kUrl);
  exchange->hang_up();
  bench.loop.advance(1s);
  CHECK(bench.catalog.tag(kApp, "1")->digest == sha256_of(bench.newer));
}

// rules: tag-404, tag-404-forgotten
TEST_CASE("upstream's 404 is passed on, remembered for five seconds at most, and deletes nothing") {
  TagBench bench;
  bench.fail_with({Errc::not_found, "manifest unknown"});
  CHECK(bench.get(kUrl)->status() == 404);
  CHECK(bench.get(kUrl)->status() == 404);
  CHECK(bench.heads() == 1);
  CHECK(bench.catalog.tag(kApp, "1")->digest == bench.digest);
  CHECK(bench.store.known_size(bench.digest));
  bench.loop.advance(5s);
  bench.get(kUrl);
  CHECK(bench.heads() == 2);
  bench.loop.advance(5s);
  bench.fail_with({Errc::upstream_unreachable, "down"});
  CHECK(bench.get(kUrl)->header("Layerd-Source") == "stale");
}

TEST_CASE("a tag that is not cached and cannot be asked for is a 502 with the cause") {
  MirrorBench bench;
  bench.fetcher.script = [](const upstream::FetchRequest&) {
    Reply reply;
    reply.error = Error{Errc::upstream_unreachable, "cannot resolve ghcr.io"};
    return reply;
  };
  auto exchange = bench.get(kUrl);
  CHECK(exchange->status() == 502);
  CHECK(exchange->reason() == "cannot resolve ghcr.io");
}

TEST_CASE("a stale record whose manifest was evicted is no answer") {
  TagBench bench;
  bench.store.blobs.clear();
  bench.fail_with({Errc::upstream_unreachable, "down"});
  CHECK(bench.get(kUrl)->status() == 502);
}

TEST_CASE("an immutable tag is never checked again once it is known") {
  TagBench bench;
  bench.change([](proxy::MirrorSettings& settings) {
    auto pattern = registry::Pattern::compile("ghcr.io/org/**");
    REQUIRE(pattern);
    settings.immutable = {*pattern};
    settings.access.recheck = 24h;  // whom the repository is open to is another question
  });
  bench.loop.advance(1h);
  auto exchange = bench.get(kUrl);
  CHECK(exchange->header("Layerd-Source") == "hit");
  CHECK(bench.fetcher.requests.empty());
}

TEST_CASE("offline: cached tags are served, marked as stale, and nothing is ever asked upstream") {
  TagBench bench;
  bench.change([](proxy::MirrorSettings& settings) { settings.offline = true; });
  auto exchange = bench.get(kUrl);
  CHECK(exchange->body() == bench.manifest);
  CHECK(exchange->header("Layerd-Source") == "stale");
  CHECK(bench.get("/v2/org/app/manifests/2?ns=ghcr.io")->status() == 502);
  CHECK(bench.fetcher.requests.empty());
}

TEST_CASE("a tag whose digest is gone between HEAD and GET is fetched by its name") {
  TagBench bench;
  bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    Reply reply;
    reply.body = bench.newer;
    if (!request.head_only && request.reference != "1")
      reply.error = Error{Errc::not_found, "manifest unknown", 0, 404};
    return reply;
  };
  auto exchange = bench.get(kUrl);
  CHECK(exchange->status() == 200);
  CHECK(exchange->body() == bench.newer);
  CHECK(bench.gets() == 2);
}

TEST_CASE("questions whose clients have left are bounded") {
  TagBench bench;
  bench.hang();
  std::string last;
  for (int i = 0; i < 1100; ++i)
    bench.ask("GET", "/v2/org/app/manifests/t" + std::to_string(i) + "?ns=ghcr.io");
  CHECK(bench.fetcher.requests.size() == 1024);
  CHECK(bench.get("/v2/org/app/manifests/another?ns=ghcr.io")->status() == 503);
}

// rules: evicted-manifest-of-a-tag
TEST_CASE("a record whose manifest was evicted is answered by whoever still has the manifest") {
  TagBench bench;
  bench.store.blobs.erase(bench.digest);
  const bool hangs = GENERATE(false, true);
  bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    Reply reply;
    if (request.reference == bench.digest.str()) {
      reply.body = bench.manifest;
      reply.headers.add("Content-Type", "application/vnd.oci.image.manifest.v1+json");
      reply.member = "10.0.0.2:5152";
      return reply;
    }
    reply.never = hangs;
    reply.error = Error{Errc::upstream_unreachable, "the WAN is cut"};
    return reply;
  };
  const Duration time = bench.time_to_answer();
  CHECK(bench.last->status() == 200);
  CHECK(bench.last->body() == bench.manifest);
  CHECK(bench.last->header("Layerd-Source") == "stale");
  CHECK(bench.last->header("Docker-Content-Digest") == bench.digest.str());
  CHECK(time < 3s);
}

TEST_CASE("a record whose manifest nobody has ends as upstream did, after one look") {
  TagBench bench;
  bench.store.blobs.erase(bench.digest);
  bench.fail_with({Errc::upstream_unreachable, "the WAN is cut"});
  bench.time_to_answer();
  CHECK(bench.last->status() == 502);
  CHECK(bench.gets() == 2);  // the tag and the digest
}

// rules: named-by-upstream
TEST_CASE("what upstream named is new, though a member brought the bytes") {
  TagBench bench;
  bench.fetcher.script = [&](const upstream::FetchRequest& request) {
    Reply reply;
    reply.body = bench.newer;
    reply.headers.add("Content-Type", "application/vnd.oci.image.manifest.v1+json");
    if (!request.head_only) reply.member = "10.0.0.2:5152";
    return reply;
  };
  bench.time_to_answer();
  CHECK(bench.last->status() == 200);
  CHECK(bench.last->body() == bench.newer);
  CHECK(bench.last->header("Layerd-Source") == "upstream");
  CHECK_FALSE(bench.last->has_header("Warning"));
  CHECK(bench.catalog.tag(kApp, "1")->checked_at > 1'700'000'000 - 10);
}
