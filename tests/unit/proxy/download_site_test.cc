// Downloads that are shared with a site: units from members and by leases, on virtual time, with a scripted
// site.
#include <map>

#include "proxy/download_relay.h"
#include "tests/support/catch.h"
#include "tests/unit/proxy/download_bench.h"

using namespace layerd;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

// Chunks of what a member holds, right or wrong.
class MemberBody final : public http::BodyReader {
 public:
  MemberBody(Loop& loop, std::string bytes, std::optional<ByteCount> cut)
      : loop_(loop), bytes_(std::move(bytes)), cut_(cut) {}
  Ticket read(std::size_t max, Done<Bytes> done) override {
    auto call = std::make_shared<Pending<Bytes>>(std::move(done));
    if (cut_ && at_ >= *cut_) {
      loop_.post_detached([call] { call->answer(Error{Errc::upstream_unreachable, "the member is gone"}); });
      return Ticket(call);
    }
    const auto piece = bytes_.substr(at_, std::min<std::size_t>(max, 64_KiB));
    at_ += piece.size();
    loop_.post_detached([call, piece] { call->answer(Bytes::copy_of(piece)); });
    return Ticket(call);
  }
  std::optional<ByteCount> length() const override { return bytes_.size(); }

 private:
  Loop& loop_;
  std::string bytes_;
  std::optional<ByteCount> cut_;
  ByteCount at_ = 0;
};

struct Site final : peers::Sharing {
  struct Share final : peers::BlobShare {
    explicit Share(Site& at) : site(at) {}
    Ticket find(std::uint32_t unit, ByteRange rest, Done<peers::UnitSource> done) override {
      site.found.push_back({unit, rest});
      auto call = std::make_shared<Pending<peers::UnitSource>>(std::move(done));
      site.loop.post_detached([this, call, unit, rest] {
        if (!call->wanted()) return;
        if (!whole && site.found.size() >= site.turns_whole_at) {
          whole = true;
          return call->answer(Error{Errc::canceled, "upstream ignores ranges for this blob"});
        }
        call->answer(site.source_of(unit, rest));
      });
      return Ticket(call);
    }
    void progress(std::uint32_t, ByteCount) override { ++site.alive; }
    void failed(std::uint32_t unit, const Error& why) override {
      site.failures.push_back({unit, why.message});
      if (site.leaves_when_it_fails) site.from_member.erase(unit);
    }
    void dropped(std::uint32_t unit) override { site.dropped.push_back(unit); }
    bool arrived(std::uint32_t unit, const Digest& sha256, bool from_upstream) override {
      site.arrived[unit] = from_upstream;
      const bool right = !site.claims.contains(unit) || site.claims.at(unit) == sha256;
      if (!right) site.from_member.erase(unit);
      return right;
    }
    void whole_only() override { whole = true; }
    bool is_whole() const override { return whole; }
    void sized(ByteCount total) override { site.sized = total; }
    void verified(const std::vector<Digest>& units) override { site.proved = units; }
    void mismatched() override {
      ++site.mismatches;
      if (site.finds_liar) site.from_member = {{0, ""}, {1, ""}, {2, ""}};
    }
    Site& site;
    bool whole = false;
  };

  Site(Loop& l, const std::string& c) : loop(l), content(c) {}
  bool shares(const std::string&, const std::string&) const override { return true; }
  std::unique_ptr<peers::BlobShare> begin(const peers::BlobName&, peers::Rights,
                                          std::optional<ByteCount>) override {
    ++begun;
    if (mismatches > 0 && !finds_liar) return nullptr;
    return std::make_unique<Share>(*this);
  }
  void stored(const Digest&) override {}
  void removed(const Digest&) override {}

  Result<peers::UnitSource> source_of(std::uint32_t unit, ByteRange rest) {
    if (refusals > 0 && refusals-- > 0) return Error{Errc::overloaded, "too many units without a lease"};
    peers::UnitSource source;
    const auto member = from_member.find(unit);
    if (member == from_member.end()) {
      source.is_leased = true;
      return source;
    }
    source.from = peers::UnitSource::From::member;
    source.member = "10.0.0.9:5152";
    source.total = claims_total.value_or(content.size());
    source.range = {rest.first, std::min<ByteCount>(rest.end, source.total)};
    const std::string& held = member->second.empty() ? content : member->second;
    source.body = std::make_unique<MemberBody>(loop, held.substr(rest.first, source.range.size()), cut);
    if (cut) cut.reset();
    return source;
  }

  Loop& loop;
  const std::string& content;
  std::map<std::uint32_t, std::string>
      from_member;  // unit -> what the member holds for the whole blob; empty: it
  std::map<std::uint32_t, Digest> claims;
  std::optional<ByteCount> claims_total;
  std::optional<ByteCount> cut;       // the next member's body breaks off after so many bytes
  bool leaves_when_it_fails = false;  // the member
  unsigned refusals = 0;
  bool finds_liar = false;  // after a wrong digest; the others go on giving then
  std::size_t turns_whole_at = ~std::size_t{0};
  unsigned begun = 0, mismatches = 0, alive = 0;
  std::vector<std::pair<std::uint32_t, ByteRange>> found;
  std::vector<std::pair<std::uint32_t, std::string>> failures;
  std::vector<std::uint32_t> dropped;
  std::map<std::uint32_t, bool> arrived;
  std::optional<ByteCount> sized;
  std::vector<Digest> proved;
};

struct SharedBench : DownloadBench {
  explicit SharedBench(std::size_t size = 20_MiB) : DownloadBench(size), site(loop, content) {
    table->share_with(&site, nullptr);
  }
  ~SharedBench() {
    clients.clear();
    table.reset();
    loop.run();
  }
  Digest unit(std::uint32_t n) const {
    return digest_of(DigestAlgorithm::sha256, ByteView(content).substr(n * 8_MiB, 8_MiB));
  }
  ByteCount upstream_bytes() const { return fetcher.bytes_out(); }
  Site site;
};

void check_right(SharedBench& at) {
  REQUIRE(at.run());
  for (const auto& client : at.clients) {
    CHECK_FALSE(client.error);
    CHECK((client.body == at.content));
  }
  REQUIRE(at.store.committed(at.digest));
  CHECK((*at.store.committed(at.digest) == at.content));
}

}  // namespace

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

TEST_CASE("an upstream that ignores Range is asked once for the whole") {
  SharedBench at;
  at.fetcher.at("a").ranges = false;
  at.join();
  check_right(at);
  CHECK(at.upstream_bytes() <= at.content.size() + 64_KiB);
  CHECK(at.site.begun == 1);
}

TEST_CASE("an upstream without lengths and ranges still gives the blob") {
  SharedBench at;
  at.fetcher.at("a").ranges = false;
  at.fetcher.at("a").length = false;
  at.join();
  check_right(at);
}

TEST_CASE("a lease whose upstream breaks off is given back and the unit looked for anew") {
  SharedBench at;
  at.fetcher.at("a").cut_after = 5_MiB;
  at.fetcher.at("a").cuts = 2;
  at.join();
  check_right(at);
  CHECK(at.site.failures.size() == 2);
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

TEST_CASE("a site that has found that upstream ignores Range has the blob asked for whole") {
  SharedBench at;
  at.fetcher.at("a").ranges = false;
  at.site.turns_whole_at = 2;  // the second look hears of it from another member
  at.site.from_member = {{0, ""}};
  at.join();
  check_right(at);
}

// rules: rest-without-ranges
TEST_CASE("the rest of what a member began comes from an upstream that ignores Range") {
  SECTION("of a blob of many units, which is one to a site that knows of it") {
    SharedBench at;
    at.site.turns_whole_at = 1;
    at.site.from_member = {{0, ""}};
    at.site.cut = 3_MiB;
    at.site.leaves_when_it_fails = true;
    at.fetcher.at("a").ranges = false;
    at.join();
    check_right(at);
    CHECK(at.site.failures.size() == 1);
  }
  SECTION("of a blob of one unit") {
    SharedBench at(6_MiB);
    at.site.from_member = {{0, ""}};
    at.site.cut = 300_KiB;
    at.site.leaves_when_it_fails = true;
    at.fetcher.at("a").ranges = false;
    at.join();
    check_right(at);
    CHECK(at.site.failures.size() == 1);
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
  at.join();
  at.loop.advance(1s);
  at.clients.front().leave();
  at.clients.clear();
  at.loop.advance(1min);
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
