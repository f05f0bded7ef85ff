// What members of the site may know of a node.
#include "proxy/peer_shelf.h"

#include "proxy/repository_classes.h"
#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"
#include "tests/unit/proxy/mirror_fakes.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

struct ShelfBench : DownloadBench {
  FakeCatalog catalog;
  proxy::PeerShelf shelf{loop, store, catalog, *table};
  peers::BlobName named(const std::string& repository = "library/app") const {
    return {"registry.test", repository, digest};
  }
  void link(const std::string& repository = "library/app") {
    catalog.put_links("registry.test/" + repository, {{digest, cache::LinkKind::listed, content.size(), ""}});
  }
  Result<std::string> read_all(const peers::BlobName& name) {
    std::optional<Result<std::string>> all;
    cache::SourcePtr source;
    std::string text;
    Ticket reading;
    std::function<void()> next = [&] {
      reading = source->read(text.size(), 64_KiB, [&](Result<Bytes> bytes) {
        if (!bytes) {
          if (bytes.error().code == Errc::range_unsatisfiable) return void(all.emplace(text));
          return void(all.emplace(bytes.error()));
        }
        text += bytes->view();
        next();
      });
    };
    auto opening = shelf.open(name, [&](Result<cache::SourcePtr> opened) {
      if (!opened) return void(all.emplace(opened.error()));
      source = *opened;
      next();
    });
    const TimePoint end = loop.now() + 2min;
    while (!all && loop.now() < end) loop.advance(10ms);
    return all ? std::move(*all) : Result<std::string>(Error{Errc::canceled, "waited in vain"});
  }
};

}  // namespace

// rules: shelf-needs-link
TEST_CASE("a member gets a stored blob under a repository that lists it, and under no other") {
  ShelfBench at;
  at.join();
  REQUIRE(at.run());
  CHECK_FALSE(at.shelf.held(at.named(), {0, 100}));
  CHECK(at.read_all(at.named()).error().code == Errc::not_found);
  at.link();
  const auto held = at.shelf.held(at.named(), {0, 100});
  REQUIRE(held);
  CHECK(held->complete);
  CHECK(held->total == at.content.size());
  CHECK(held->have == 100);
  CHECK((*at.read_all(at.named()) == at.content));
  CHECK_FALSE(at.shelf.held(at.named("library/other"), {0, 100}));
  CHECK(at.read_all(at.named("library/other")).error().code == Errc::not_found);
  CHECK(at.shelf.units(at.digest) == std::vector<Digest>{at.digest});
}

// rules: told-opens-nothing
TEST_CASE(
    "no member gets a blob that is here by another right because of a manifest that it brought itself") {
  ShelfBench at;
  at.join();
  REQUIRE(at.run());
  proxy::Links links(at.catalog, at.store, *at.table);
  links.put_told("registry.test/library/app", {{at.digest, cache::LinkKind::listed, at.content.size(), ""}});
  CHECK_FALSE(at.shelf.held(at.named(), {0, 100}));
  CHECK(at.read_all(at.named()).error().code == Errc::not_found);
  CHECK_FALSE(at.shelf.recall({"registry.test", "library/app", at.digest.str()}).known);
  // A repository of the node's may be one that is not shared.
  at.catalog.put_repository("registry.test/team/secret", {cache::RepositoryClass::node, 1});
  links.put("registry.test/team/secret", {{at.digest, cache::LinkKind::listed, at.content.size(), ""}});
  CHECK_FALSE(at.shelf.held(at.named(), {0, 100}));
  at.catalog.put_repository("registry.test/library/app", {cache::RepositoryClass::open, 1});
  links.came_alone("registry.test/library/app", at.digest);
  CHECK(at.shelf.held(at.named(), {0, 100}));
}

TEST_CASE("a running download is read while it grows, by who names its repository") {
  ShelfBench at;
  at.fetcher.at("a").chunk_after = 5ms;
  at.join();
  at.loop.advance(30ms);
  const auto held = at.shelf.held(at.named(), {0, at.content.size()});
  REQUIRE(held);
  CHECK(held->running);
  CHECK(held->have > 0);
  CHECK(held->have < at.content.size());
  CHECK_FALSE(at.shelf.held(at.named("library/other"), {0, 100}));
  CHECK((*at.read_all(at.named()) == at.content));
}

// rules: shelf-needs-proof
TEST_CASE("a download that was begun for a repository which nobody confirmed is none of that repository") {
  ShelfBench at;
  at.fetcher.at("open").error = Error{Errc::not_found, "no such blob"};
  at.fetcher.at("secret").content = at.content;
  at.fetcher.at("secret").chunk_after = 5ms;
  at.fetcher.at("open").head_after = 20ms;
  at.join(target_at({"open"}, "library/open"));
  at.join(target_at({"secret"}, "team/secret"));
  CHECK_FALSE(at.shelf.held(at.named("library/open"), {0, 100}));
  at.loop.advance(60ms);
  CHECK_FALSE(at.shelf.held(at.named("library/open"), {0, 100}));
  CHECK(at.read_all(at.named("library/open")).error().code == Errc::not_found);
  CHECK(at.shelf.held(at.named("team/secret"), {0, 100}));
  // A link is a proof.
  at.link("library/open");
  CHECK(at.shelf.held(at.named("library/open"), {0, 100}));
}

TEST_CASE("no member hears of a check that is still to come, nor of a size that only the record has") {
  ShelfBench at;
  at.catalog.put_tag("registry.test/library/app", "1", {at.digest, "application/json", 12, 1ll << 39});
  at.join();
  REQUIRE(at.run());
  const auto answer = at.shelf.recall({"registry.test", "library/app", "1"});
  REQUIRE(answer.known);
  CHECK(answer.checked_at <= proxy::unix_seconds(at.loop.wall_now()));
  CHECK(answer.size == at.content.size());
}

TEST_CASE("a tag is recalled with its time and rights, and only while its manifest is here") {
  ShelfBench at;
  at.catalog.put_tag("registry.test/library/app", "1", {at.digest, "application/json", 12, 1700});
  at.catalog.put_repository("registry.test/library/app", {cache::RepositoryClass::node, 1});
  CHECK_FALSE(at.shelf.recall({"registry.test", "library/app", "1"}).known);
  at.join();
  REQUIRE(at.run());
  const auto answer = at.shelf.recall({"registry.test", "library/app", "1"});
  REQUIRE(answer.known);
  CHECK(answer.digest == at.digest);
  CHECK(answer.checked_at == 1700);
  CHECK(answer.rights == peers::Rights::node);
  CHECK_FALSE(at.shelf.recall({"registry.test", "library/app", at.digest.str()}).known);
  at.link();
  CHECK(at.shelf.recall({"registry.test", "library/app", at.digest.str()}).known);
  CHECK_FALSE(at.shelf.recall({"registry.test", "library/app", "2"}).known);
}
