// How far a member's word goes, and when members hear of a digest.
#include "proxy/links.h"

#include "tests/support/catch.h"
#include "tests/unit/proxy/mirror_fakes.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;
using proxy::Links;

namespace {

const std::string kApp = "ghcr.io/org/app";
const std::string kOther = "ghcr.io/team/other";
const std::string kBytes = "the bytes of a layer";

std::string blob_url(const Digest& digest) { return "/v2/org/app/blobs/" + digest.str() + "?ns=ghcr.io"; }

Reply confirming(ByteCount size) {
  Reply reply;
  reply.body = std::string(size, 'x');
  return reply;
}

// The WAN is cut, and a member knows what it is asked about.
struct DarkBench : MirrorBench {
  DarkBench() {
    downloads.are_asked = true;
    downloads.are_only_ours = true;
    fetcher.script = [this](const upstream::FetchRequest& request) {
      auto reply = confirming(kBytes.size());
      if (request.kind == upstream::Kind::manifest) reply.body = manifest;
      if (request.kind == upstream::Kind::manifest) reply.headers.set("Content-Type", type);
      reply.member = "10.0.0.2:5152";
      if (request.upstream_only) reply.error = Error{Errc::upstream_unreachable, "the WAN is cut"};
      return reply;
    };
  }
  void upstream_keeps(const std::string& repository, cache::RepositoryClass of_class) {
    catalog.put_repository(repository, {of_class, proxy::unix_seconds(loop.wall_now())});
    links.put(repository, {{digest, cache::LinkKind::listed, kBytes.size(), ""}});
    store.add(kBytes);
  }
  bool gives() { return get(blob_url(digest))->status() == 200; }

  const std::string type = "application/vnd.oci.image.manifest.v1+json";
  const std::string manifest = image_manifest({"config", kBytes});
  const Digest digest = sha256_of(kBytes);
  Links links{catalog, store, downloads};
};

}  // namespace

// rules: members-hear-after-upstream
TEST_CASE("no member hears of a blob before its own upstream said that the repository has it") {
  MirrorBench bench;
  bench.downloads.are_asked = true;
  const Digest digest = sha256_of(kBytes);
  SECTION("it says so: from then on other nodes are given what comes") {
    bench.fetcher.script = [](const upstream::FetchRequest&) { return confirming(kBytes.size()); };
    auto exchange = bench.ask("GET", blob_url(digest));
    CHECK(bench.downloads.joins.empty());
    bench.loop.advance(20ms);
    REQUIRE(bench.downloads.joins.size() == 1);
    CHECK(bench.downloads.joins[0].has_right);
    CHECK(bench.catalog.link(kApp, digest));
    auto download = bench.downloads.sources[digest].lock();
    download->confirm(kBytes.size());
    download->grow(kBytes);
    bench.wait_for(*exchange);
    CHECK(exchange->body() == kBytes);
    CHECK(bench.fetcher.requests.size() == 1);
  }
  SECTION("it says no") {
    CHECK(bench.get(blob_url(digest))->status() == 404);
    CHECK(bench.downloads.joins.empty());
  }
  SECTION("it answers no HEAD: our own GET is the question") {
    bench.downloads.proof = true;
    bench.fetcher.script = [](const upstream::FetchRequest&) {
      Reply reply;
      reply.error = Error{Errc::upstream_status, "no HEAD here", 405};
      return reply;
    };
    auto exchange = bench.ask("GET", blob_url(digest));
    bench.loop.advance(20ms);
    REQUIRE(bench.downloads.joins.size() == 1);
    CHECK_FALSE(bench.downloads.joins[0].has_right);
    auto download = bench.downloads.sources[digest].lock();
    download->confirm(kBytes.size());
    download->grow(kBytes);
    bench.wait_for(*exchange);
    CHECK(exchange->body() == kBytes);
  }
}

TEST_CASE("a blob that a member has comes without its manifest while the WAN is cut") {
  DarkBench bench;
  auto exchange = bench.ask("GET", blob_url(bench.digest));
  bench.loop.advance(20ms);
  REQUIRE(bench.downloads.joins.size() == 1);
  CHECK(bench.downloads.joins[0].has_right);
  auto download = bench.downloads.sources[bench.digest].lock();
  SECTION("as fast as it may: it is here before anybody asks once more") {
    bench.store.add(kBytes);
    bench.downloads.are_only_ours = false;
    bench.links.came_alone(kApp, bench.digest);
    download->confirm(kBytes.size());
    download->grow(kBytes);
    bench.wait_for(*exchange);
    CHECK(exchange->body() == kBytes);
    CHECK(bench.gives());  // and the next one has it from here, by a member's word again
    CHECK_FALSE(bench.catalog.link(kApp, bench.digest));
  }
  SECTION("but not what has become another repository's meanwhile") {
    bench.downloads.are_only_ours = false;
    download->confirm(kBytes.size());
    download->grow(kBytes);
    bench.wait_for(*exchange);
    CHECK(exchange->status() == 502);
    CHECK(bench.fetcher.requests.back().upstream_only);
  }
}

// rules: told-opens-nothing
TEST_CASE("a manifest that a member brought opens nothing that is here by another right") {
  DarkBench bench;
  const auto listed_by_member = [&] {
    const auto manifest = sha256_of(bench.manifest).str();
    CHECK(bench.get("/v2/org/app/manifests/" + manifest + "?ns=ghcr.io")->status() == 200);
    REQUIRE(bench.catalog.link(kApp, bench.digest));
    CHECK(bench.catalog.link(kApp, bench.digest)->kind == cache::LinkKind::told);
  };
  SECTION("whether it came before") {
    bench.upstream_keeps(kOther, cache::RepositoryClass::client);
    listed_by_member();
    CHECK_FALSE(bench.gives());
  }
  SECTION("or comes later") {
    listed_by_member();
    bench.upstream_keeps(kOther, cache::RepositoryClass::client);
    CHECK_FALSE(bench.gives());
  }
  SECTION("what is open by its own it does") {
    bench.upstream_keeps(kOther, cache::RepositoryClass::open);
    listed_by_member();
    CHECK(bench.gives());
  }
  SECTION("what this node's registry gives to the node is for the node's runtimes") {
    bench.upstream_keeps(kOther, cache::RepositoryClass::node);
    listed_by_member();
    CHECK(bench.gives());
    CHECK(bench.links.of(kApp, bench.digest, Links::Who::node));
    CHECK_FALSE(bench.links.of(kApp, bench.digest, Links::Who::nobody));
    CHECK_FALSE(bench.links.of(kApp, bench.digest, Links::Who::stranger));
  }
  SECTION("what upstream said stays, and what it says later counts") {
    bench.upstream_keeps(kApp, cache::RepositoryClass::open);
    bench.links.put_told(kApp, {{bench.digest, cache::LinkKind::listed, 1, ""}});
    CHECK(bench.catalog.link(kApp, bench.digest)->kind == cache::LinkKind::listed);
    const Digest other = sha256_of("config");
    bench.links.put_told(kApp, {{other, cache::LinkKind::listed, 1, ""}});
    bench.links.put(kApp, {{other, cache::LinkKind::listed, 1, ""}});
    CHECK(bench.catalog.link(kApp, other)->kind == cache::LinkKind::listed);
  }
}

TEST_CASE("what came for one repository by members' word is its own from then on") {
  DarkBench bench;
  bench.catalog.put_repository(kApp, {cache::RepositoryClass::node, 0});
  bench.catalog.put_repository(kOther, {cache::RepositoryClass::node, 0});
  bench.links.put_told(kApp, {{bench.digest, cache::LinkKind::listed, 7, "a/b"}});
  bench.links.put_told(kOther, {{bench.digest, cache::LinkKind::listed, 7, "a/b"}});
  CHECK(bench.links.of(kApp, bench.digest, Links::Who::node));
  bench.store.add(kBytes);
  CHECK_FALSE(bench.links.of(kApp, bench.digest, Links::Who::node));
  bench.links.came_alone(kApp, bench.digest);
  CHECK(bench.catalog.link(kApp, bench.digest)->kind == cache::LinkKind::listed);
  CHECK(bench.catalog.link(kApp, bench.digest)->size == 7);
  // An image that shares the layer can be had in the dark as well.
  CHECK(bench.links.of(kOther, bench.digest, Links::Who::node));
  CHECK_FALSE(bench.links.of(kOther, bench.digest, Links::Who::nobody));
}
