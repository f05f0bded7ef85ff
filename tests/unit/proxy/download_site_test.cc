// Downloads that are shared with a site: units from members and by leases, on virtual time.
#include "tests/unit/proxy/download_site.h"
#include "proxy/download_relay.h"

using namespace layerd;
using namespace layerd::test;
using namespace layerd::test::sharing;
using namespace std::chrono_literals;

TEST_CASE("a node that is given every lease fetches every unit by Range, and tells their hashes") {
  SharedBench at;
  at.join();
  check_right(at);
  CHECK(at.upstream_bytes() == at.content.size());
  CHECK(at.site.sized == at.content.size());
  CHECK(at.site.arrived == std::map<std::uint32_t, bool>{{0, true}, {1, true}, {2, true}});
  CHECK(at.site.proved == std::vector<Digest>{at.unit(0), at.unit(1), at.unit(2)});
  for (const auto& asked : at.fetcher.asked()) CHECK(asked.range);
}

TEST_CASE("units come from members, and what they bring never crosses the WAN") {
  SharedBench at;
  at.site.from_member = {{0, ""}, {2, ""}};
  at.join();
  check_right(at);
  CHECK(at.upstream_bytes() == 8_MiB);
  CHECK(at.site.arrived == std::map<std::uint32_t, bool>{{0, false}, {1, true}, {2, false}});
}

TEST_CASE("a blob that members have whole needs no upstream at all") {
  SharedBench at;
  at.site.from_member = {{0, ""}, {1, ""}, {2, ""}};
  at.fetcher.at("a").never_answers = true;
  at.join();
  check_right(at);
  CHECK(at.fetcher.asked().empty());
}

TEST_CASE("a member that dies is left at the byte where it stood") {
  SharedBench at;
  at.site.from_member = {{0, ""}};
  at.site.cut = 3_MiB;
  at.join();
  check_right(at);
  REQUIRE(at.site.failures.size() == 1);
  bool resumed = false;
  for (const auto& [unit, rest] : at.site.found) resumed |= unit == 0 && rest.first == 3_MiB;
  CHECK(resumed);
}

// rules: wrong-unit-taken-back
TEST_CASE("a unit that is not what its fetcher said is fetched again, alone") {
  SharedBench at;
  std::string wrong = at.content;
  wrong[9_MiB] = static_cast<char>(wrong[9_MiB] ^ 1);
  at.site.from_member = {{0, ""}, {1, wrong}, {2, ""}};
  at.site.claims = {{1, at.unit(1)}};
  ReadingClient& early = at.join();
  REQUIRE(at.run());
  // Who has read of it gets no complete wrong body; who comes then gets the right one.
  CHECK(((early.error || early.body == at.content)));
  at.join();
  REQUIRE(at.run());
  CHECK((at.clients.back().body == at.content));
  CHECK(at.upstream_bytes() == 8_MiB);
  CHECK(at.site.mismatches == 0);
}

// rules: liar-spoils-one-attempt
TEST_CASE("wrong bytes that nobody claimed spoil one attempt; the next one asks upstream alone") {
  SharedBench at;
  std::string wrong = at.content;
  wrong[9_MiB] = static_cast<char>(wrong[9_MiB] ^ 1);
  at.site.from_member = {{0, ""}, {1, wrong}, {2, ""}};
  ReadingClient& early = at.join();
  REQUIRE(at.run());
  CHECK(((early.error || early.body == at.content)));
  at.join();
  REQUIRE(at.run());
  CHECK((at.clients.back().body == at.content));
  CHECK(at.site.mismatches == 1);
  CHECK(at.upstream_bytes() == at.content.size());
}

TEST_CASE("after wrong bytes the others give the blob again, and upstream is not asked") {
  SharedBench at;
  std::string wrong = at.content;
  wrong[9_MiB] = static_cast<char>(wrong[9_MiB] ^ 1);
  at.site.from_member = {{0, ""}, {1, wrong}, {2, ""}};
  at.site.finds_liar = true;
  at.join();
  REQUIRE(at.run());
  at.join();
  REQUIRE(at.run());
  CHECK((at.clients.back().body == at.content));
  CHECK(at.site.mismatches == 1);
  CHECK(at.upstream_bytes() == 0);
}

TEST_CASE("a member that lies about the size spoils one attempt") {
  for (const ByteCount lie : {9_MiB, 30_MiB}) {
    SharedBench at;
    at.site.from_member = {{0, ""}};
    at.site.claims_total = lie;
    at.join();
    at.run();
    at.join();
    REQUIRE(at.run());
    CHECK((at.clients.back().body == at.content));
    CHECK(at.site.mismatches == 1);
  }
}

TEST_CASE("an upstream that is down fails the pull in its own words") {
  SharedBench at;
  at.fetcher.at("a").error = Error{Errc::denied, "no right to it", 403};
  at.join();
  at.run();
  REQUIRE(at.clients.back().error);
  CHECK(at.clients.back().error->message == "no right to it");
}

TEST_CASE("a site that refuses for a while is asked again") {
  SharedBench at;
  at.site.refusals = 3;
  at.join();
  check_right(at);
}

TEST_CASE("units where readers wait come first") {
  SharedBench at(120_MiB);
  at.fetcher.at("a").chunk_after = 1ms;
  at.join({100_MiB, 101_MiB});
  REQUIRE(at.run());
  CHECK((at.clients.back().body == at.content.substr(100_MiB, 1_MiB)));
  CHECK(at.upstream_bytes() < 80_MiB);
}

TEST_CASE("a full disk ends the sharing and no pull") {
  SharedBench at;
  at.store.room = 4_MiB;
  at.join();
  REQUIRE(at.run());
  CHECK((at.clients.back().body == at.content));
}

TEST_CASE("a relay reads what is on its way, keeps nothing going and ends with the download") {
  SharedBench at;
  at.fetcher.at("a").chunk_after = 1ms;
  at.join();
  at.loop.advance(50ms);
  const auto download = at.table->running_download(at.digest);
  REQUIRE(download);
  std::string got;
  std::optional<Error> ended;
  proxy::DownloadRelay relay(*download);
  Ticket reading;
  std::function<void()> next = [&] {
    reading = relay.read(got.size(), 64_KiB, [&](Result<Bytes> bytes) {
      if (!bytes) {
        ended = bytes.error();
        return;
      }
      got += bytes->view();
      next();
    });
  };
  next();
  SECTION("to its end") {
    REQUIRE(at.run());
    at.loop.advance(1s);
    CHECK((got == at.content));
    CHECK(ended->code == Errc::range_unsatisfiable);
  }
  SECTION("until the last follower has gone") {
    at.clients.back().leave();
    at.loop.advance(60s);
    if (got != at.content) CHECK(ended->code == Errc::not_found);
  }
}

TEST_CASE("a relay waits for the size of a download that no source has confirmed yet") {
  SharedBench at;
  at.fetcher.at("a").head_after = 300ms;
  at.join();
  at.loop.advance(10ms);
  const auto download = at.table->running_download(at.digest);
  REQUIRE(download);
  proxy::DownloadRelay relay(*download);
  std::optional<Result<ByteCount>> told;
  const auto ticket = relay.size([&](Result<ByteCount> size) { told.emplace(std::move(size)); });
  at.loop.advance(100ms);
  CHECK_FALSE(told);
  at.loop.advance(1s);
  REQUIRE(told);
  CHECK(*told);
  CHECK(**told == at.content.size());
}

TEST_CASE("who has no right to a blob yet has it fetched without a word to the site") {
  SharedBench at;
  at.site.from_member = {{0, ""}};
  at.has_right = false;
  at.join();
  check_right(at);
  CHECK(at.site.begun == 0);
  CHECK(at.upstream_bytes() == at.content.size());
}

TEST_CASE("a blob that came for one repository alone is told of, one that came for two is not") {
  SharedBench at;
  std::vector<std::string> told;
  at.table->when_alone([&told](const std::string& repository, const Digest&) { told.push_back(repository); });
  at.fetcher.at("a").chunk_after = 1ms;
  at.join(target_at({"a"}));
  SECTION("alone") {
    REQUIRE(at.run());
    CHECK(told == std::vector<std::string>{"registry.test/library/app"});
  }
  SECTION("for two") {
    at.loop.advance(20ms);
    at.join(target_at({"b"}, "team/other"));
    REQUIRE(at.run());
    CHECK(told.empty());
  }
}

// rules: an-end-is-told
TEST_CASE("a blob whose last client hangs up as it is committed is told of all the same") {
  SharedBench at(1_MiB);
  std::vector<std::string> told;
  at.table->when_alone([&told](const std::string& repository, const Digest&) { told.push_back(repository); });
  at.join().pace = 50ms;  // it reads yet when the blob is committed
  const std::weak_ptr<proxy::Download> download = at.table->running_download(at.digest);
  // Behind the end of the download, and before anybody is told of it.
  std::function<void()> leave = [&] {
    if (download.lock()->is_running()) return at.loop.post_detached([&] { leave(); });
    at.clients.clear();
  };
  at.store.on_commit = [&] { at.loop.post_detached([&] { leave(); }); };
  at.loop.advance(1s);
  REQUIRE(at.clients.empty());
  CHECK(told == std::vector<std::string>{"registry.test/library/app"});
  CHECK(at.site.stored_here == std::vector<Digest>{at.digest});
  CHECK(download.expired());
}

TEST_CASE("whose bytes a running download has is known") {
  DownloadBench at;
  at.fetcher.at("a").chunk_after = 5ms;
  at.fetcher.at("b").chunk_after = 5ms;
  CHECK_FALSE(at.table->runs_for_others(at.digest, "registry.test/library/app"));
  at.join(target_at({"a"}));
  at.loop.advance(20ms);
  CHECK_FALSE(at.table->runs_for_others(at.digest, "registry.test/library/app"));
  CHECK(at.table->runs_for_others(at.digest, "registry.test/team/other"));
  at.join(target_at({"b"}, "team/other"));
  CHECK(at.table->runs_for_others(at.digest, "registry.test/library/app"));
  CHECK(at.table->runs_for_others(at.digest, "registry.test/team/other"));
  REQUIRE(at.run());
  CHECK_FALSE(at.table->runs_for_others(at.digest, "registry.test/library/app"));
}

TEST_CASE("the bytes of a former download are somebody else's") {
  DownloadBench at;
  at.settings.finish_rest = 0;
  at.start();
  at.fetcher.at("a").stall_after = 256_KiB;
  at.fetcher.at("b").chunk_after = 5ms;
  at.join_and_leave(1s);
  REQUIRE_FALSE(at.table->runs(at.digest));
  at.join(target_at({"b"}, "team/other"));
  at.loop.advance(5ms);
  REQUIRE(at.table->runs(at.digest));
  CHECK(at.table->runs_for_others(at.digest, "registry.test/team/other"));
}

// rules: proofs-are-sha256
TEST_CASE("a small blob by sha512 proves no unit by that") {
  SharedBench at(1_MiB);
  at.digest = digest_of(DigestAlgorithm::sha512, at.content);
  at.store.keeps_units = false;
  at.site.from_member = {{0, ""}};
  at.join();
  check_right(at);
  CHECK(at.site.sized == at.content.size());
  CHECK(at.site.proved.empty());
}
