// What the site remembers while upstream cannot be asked.
#include "proxy/site_fetcher.h"

#include "tests/support/catch.h"
#include "tests/unit/proxy/mirror_fakes.h"

using namespace layerd;
using namespace layerd::proxy;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

struct FakeMemory final : SiteMemory {
  explicit FakeMemory(Loop& l) : loop(l) {}
  Ticket recall(const peers::Recall& recall, Done<std::vector<Word>> done) override {
    asked.push_back(recall.reference);
    return answer_later<std::vector<Word>>(loop, Result<std::vector<Word>>(words), std::move(done));
  }
  Ticket get(const std::string& member, const peers::BlobName&, ByteCount,
             Done<std::unique_ptr<http::BodyReader>> done) override {
    got_from.push_back(member);
    return loop.post([done = std::move(done)]() mutable { done(Error{Errc::upstream_unreachable, "gone"}); });
  }
  void knows(const std::string& member, const std::string& content, std::int64_t checked_at,
             peers::Rights rights = peers::Rights::open) {
    words.push_back({member,
                     {true, digest_of(DigestAlgorithm::sha256, content), "application/json", content.size(),
                      checked_at, rights}});
  }
  Loop& loop;
  std::vector<Word> words;
  std::vector<std::string> asked, got_from;
};

struct MemoryBench {
  VirtualLoop loop;
  Metrics metrics;
  FakeCatalog catalog;
  FakeFetcher upstream{loop};
  FakeMemory memory{loop};
  SiteFetcher fetcher{loop, upstream, catalog, metrics};
  std::shared_ptr<registry::Target> target = std::make_shared<registry::Target>();

  MemoryBench() {
    target->registry = target->ns = "registry.test";
    target->repository = "team/app";
    fetcher.use(&memory, true);
    upstream.script = [](const upstream::FetchRequest&) {
      Reply reply;
      reply.error = Error{Errc::upstream_unreachable, "the WAN is cut"};
      return reply;
    };
  }
  Result<upstream::FetchResponse> head(const std::string& reference,
                                       upstream::Kind kind = upstream::Kind::manifest) {
    upstream::FetchRequest request;
    request.target = target;
    request.kind = kind;
    request.head_only = true;
    request.reference = reference;
    std::optional<Result<upstream::FetchResponse>> answer;
    const auto ticket = fetcher.fetch(
        std::move(request), [&](Result<upstream::FetchResponse> got) { answer.emplace(std::move(got)); });
    for (int i = 0; i < 1000 && !answer; ++i) loop.advance(50ms);
    REQUIRE(answer);
    return std::move(*answer);
  }
};

std::string digest_text(const std::string& content) {
  return digest_of(DigestAlgorithm::sha256, content).str();
}

}  // namespace

TEST_CASE("a tag that upstream cannot be asked about is the newest one of the site") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "old", 100);
  at.memory.knows("10.0.0.3:5152", "new", 200);
  const auto answer = at.head("1");
  REQUIRE(answer);
  CHECK(answer->headers.get("Docker-Content-Digest") == digest_text("new"));
  CHECK(answer->member == "10.0.0.3:5152");
  CHECK(answer->checked_at == 200);
  CHECK_FALSE(answer->authenticated);
  CHECK(at.catalog.repositories.at("registry.test/team/app").repository_class ==
        cache::RepositoryClass::open);
}

// rules: recall-after-outage-only
TEST_CASE("what upstream refuses the site is not asked about") {
  for (const auto& error : {Error{Errc::not_found, "no such tag"}, Error{Errc::denied, "no", 403}}) {
    MemoryBench at;
    at.memory.knows("10.0.0.2:5152", "old", 100);
    at.upstream.script = [&](const upstream::FetchRequest&) {
      Reply reply;
      reply.error = error;
      return reply;
    };
    const auto answer = at.head("1");
    CHECK(answer.error().code == error.code);
    CHECK(at.memory.asked.empty());
  }
}

TEST_CASE("an upstream that hangs is not waited for longer than a moment when the site knows") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100);
  at.upstream.script = [](const upstream::FetchRequest&) {
    Reply reply;
    reply.never = true;
    return reply;
  };
  const TimePoint begun = at.loop.now();
  REQUIRE(at.head("1"));
  CHECK(at.loop.now() - begun < 3s);
}

TEST_CASE("two imports that disagree are refused by name; one that upstream confirmed wins over both") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "one", 0);
  at.memory.knows("10.0.0.3:5152", "two", 0);
  const auto answer = at.head("1");
  REQUIRE_FALSE(answer);
  CHECK(answer.error().message.find("10.0.0.2:5152") != std::string::npos);
  CHECK(answer.error().message.find("10.0.0.3:5152") != std::string::npos);
  at.memory.knows("10.0.0.4:5152", "three", 5);
  CHECK(at.head("1")->headers.get("Docker-Content-Digest") == digest_text("three"));
}

// rules: recall-rights
TEST_CASE("rights travel with the word: nobody gets what was the node's, and no member speaks for a client") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100, peers::Rights::node);
  REQUIRE(at.head("1"));
  CHECK(at.head("1")->authenticated);
  at.target->as = {registry::AskAs::Who::nobody, {}, "nobody"};
  CHECK(at.head("1").error().message == "the WAN is cut");
  at.target->as = {registry::AskAs::Who::client, {}, "somebody"};
  at.memory.asked.clear();
  CHECK(at.head("1").error().message == "the WAN is cut");
  CHECK(at.memory.asked.empty());
  at.target->as = {};
  at.memory.words.clear();
  at.memory.knows("10.0.0.2:5152", "app", 100, peers::Rights::client);
  CHECK(at.head("1").error().message == "the WAN is cut");
}

TEST_CASE("tags.from_peers: never takes no tag of a member, and a record of our own is enough") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100);
  at.fetcher.use(&at.memory, false);
  CHECK_FALSE(at.head("1"));
  CHECK(at.head(digest_text("app")));
  at.fetcher.use(&at.memory, true);
  at.catalog.put_tag("registry.test/team/app", "1", {digest_of(DigestAlgorithm::sha256, "x"), "", 1, 1});
  CHECK_FALSE(at.head("1"));
}

TEST_CASE("a member that dies while it brings the manifest leaves upstream's own error") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100);
  upstream::FetchRequest request;
  request.target = at.target;
  request.kind = upstream::Kind::manifest;
  request.reference = "1";
  std::optional<Result<upstream::FetchResponse>> answer;
  const auto ticket = at.fetcher.fetch(
      std::move(request), [&](Result<upstream::FetchResponse> got) { answer.emplace(std::move(got)); });
  at.loop.advance(5s);
  REQUIRE(answer);
  CHECK(answer->error().message == "the WAN is cut");
  CHECK(at.memory.got_from == std::vector<std::string>{"10.0.0.2:5152"});
}
