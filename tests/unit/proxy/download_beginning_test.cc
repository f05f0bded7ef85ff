// How shared downloads begin, and what members and other downloads can do to them before the blob is
// confirmed.
#include "tests/unit/proxy/download_site.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::sharing;
using namespace std::chrono_literals;

namespace {

// Part of the blob, of several of its units: its only client left.
void leave_behind(SharedBench& at) {
  at.settings.finish_rest = 0;
  at.settings.linger = 1s;
  at.start();
  at.table->share_with(&at.site, nullptr);
  at.fetcher.at("a").chunk_after = 20ms;
  at.join_and_leave(50ms);
  REQUIRE_FALSE(at.table->runs(at.digest));
  REQUIRE(at.upstream_bytes() > 5_MiB);
  REQUIRE(at.upstream_bytes() < at.content.size() - 10_MiB);
}

}  // namespace

// rules: one-request-finds-the-place
TEST_CASE("a shared download that was left goes on, although several of its units come from upstream") {
  SharedBench at(40_MiB);
  leave_behind(at);
  at.site.find_after = 1ms;
  at.fetcher.at("a").head_after = 50ms;
  at.join();
  at.loop.advance(2s);
  at.site.find_after = {};
  check_right(at);
  CHECK(at.upstream_bytes() < at.content.size() + 2_MiB);  // what was on its way
  at.site.late.clear();
}

// rules: whole-before-the-first-head
TEST_CASE("a download that was left goes on, although it hears that upstream ignores Range before its head") {
  SharedBench at(40_MiB);
  leave_behind(at);
  at.site.find_after = at.site.find_more = 2ms;
  at.fetcher.at("a").chunk_after = {};
  at.fetcher.at("a").head_after = 50ms;
  at.fetcher.at("a").ranges = false;
  at.join();
  at.loop.advance(3ms);
  at.site.turns_whole_at = 0;  // the first unit is ours to fetch, the second search hears of it
  at.site.find_more = {};
  at.loop.advance(2s);
  check_right(at);
  at.site.late.clear();
}

// rules: one-is-always-looked-for
TEST_CASE("a download that begins while others fill the way to upstream is looked for in the site") {
  SharedBench at(80_MiB);
  at.fetcher.at("a").chunk_after = 1s;
  at.join();
  at.loop.advance(5s);
  const std::string other = random_bytes(1_MiB);
  at.fetcher.at("b").content = other;
  const auto digest = digest_of(DigestAlgorithm::sha256, other);
  const auto before = at.site.found.size();
  at.clients.emplace_back(at.loop, at.table->join(digest, target_at({"b"}, "team/other"), std::nullopt, true),
                          ByteRange{0, ~ByteCount{0}});
  at.loop.advance(1s);
  CHECK(at.site.found.size() > before);
  at.loop.advance(10s);
  CHECK((at.clients.back().body == other));
  at.fetcher.at("a").chunk_after = {};
}

TEST_CASE("a member that lies about a size that the manifest names is left, and the pull goes on") {
  SharedBench at;
  at.site.from_member = {{0, ""}};
  at.site.claims_total = 9_MiB;
  at.site.leaves_when_it_fails = true;
  at.clients.emplace_back(at.loop, at.table->join(at.digest, target_at({"a"}), at.content.size(), true),
                          ByteRange{0, ~ByteCount{0}});
  at.loop.advance(10s);
  check_right(at);
  CHECK(at.site.mismatches == 0);
  CHECK(at.site.failures.size() == 1);
}

// rules: members-may-not-drip
TEST_CASE("a member that drips is left, and what it gave is kept") {
  SharedBench at;
  at.site.drips = 5s;
  check_right_beside(at, 1);
  REQUIRE(at.site.failures.size() == 1);
  CHECK(at.site.failures[0].second.find("too slow") != std::string::npos);
}

// rules: own-pauses-count-for-nobody
TEST_CASE("a member is not left because we did not read for a while") {
  SharedBench at(8_MiB + 20);
  at.site.from_member = {{1, ""}};
  at.site.drips = 500ms;
  auto all = at.budget.try_take(16_MiB);
  REQUIRE(all);
  at.join();
  at.loop.advance(40s);
  all.reset();
  check_right(at);
  CHECK(at.site.failures.empty());
}

// rules: no-wish-without-a-file, wrong-size-is-forgotten
TEST_CASE("a member that asks while a download starts over from scratch finds nothing to ask for") {
  SharedBench at;
  Script& liar = at.fetcher.at("a");
  liar.claims = 21_MiB;
  liar.cut_after = 300_KiB;
  liar.chunk_after = 10ms;
  unsigned begun = 0;
  std::optional<ByteCount> sized;  // what members' answers are held against
  at.store.on_begin = [&] {
    ++begun;
    sized = at.site.sized;
    if (at.site.wanted) at.site.wanted(1);
  };
  at.join(target_at({"a", "b"}));
  at.loop.advance(30ms);
  liar.error = Error{Errc::upstream_unreachable, "a is down for a moment"};
  at.loop.advance(60s);
  CHECK(begun == 2);
  CHECK_FALSE(sized);
  REQUIRE(at.store.committed(at.digest));
  CHECK((*at.store.committed(at.digest) == at.content));
}
