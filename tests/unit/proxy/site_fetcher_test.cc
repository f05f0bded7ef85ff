// What the site remembers while upstream cannot be asked.
#include "proxy/site_fetcher.h"

#include <thread>

#include "proxy/repository_classes.h"
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
  // What the members that know something send, unless they fail first.
  Ticket get(const std::string& member, const peers::BlobName&, ByteCount size,
             Done<std::unique_ptr<http::BodyReader>> done) override {
    got_from.push_back(member);
    auto call = std::make_shared<Get>(std::move(done));
    call->timer = loop.after(takes, "fake member", [this, call = call.get(), member, size] {
      auto& errors = fails[member];
      if (!errors.empty()) {
        const Error first = errors.front();
        errors.erase(errors.begin());
        return call->answer(first);
      }
      call->answer(
          std::unique_ptr<http::BodyReader>(std::make_unique<Body>(loop, sends[member].substr(0, size))));
    });
    return Ticket(call);
  }
  void avoid(const std::string& member, const std::string&) override { avoided.push_back(member); }
  void knows(const std::string& member, const std::string& content, std::int64_t checked_at,
             peers::Rights rights = peers::Rights::open) {
    words.push_back({member,
                     {true, digest_of(DigestAlgorithm::sha256, content), "application/json", content.size(),
                      checked_at, rights}});
    sends[member] = content;
  }
  struct Get final : Pending<std::unique_ptr<http::BodyReader>> {
    using Pending::Pending;
    void on_cancel() noexcept override { timer.reset(); }
    Ticket timer;
  };
  struct Body final : http::BodyReader {
    Body(Loop& l, std::string b) : loop(l), bytes(std::move(b)) {}
    Ticket read(std::size_t max, Done<Bytes> done) override {
      Bytes piece = Bytes::copy_of(ByteView(bytes).substr(at, max));
      at += piece.size();
      return answer_later<Bytes>(loop, std::move(piece), std::move(done));
    }
    std::optional<ByteCount> length() const override { return bytes.size(); }
    Loop& loop;
    std::string bytes;
    std::size_t at = 0;
  };
  Loop& loop;
  Duration takes = 1ms;
  std::vector<Word> words;
  std::map<std::string, std::string> sends;
  std::map<std::string, std::vector<Error>> fails;  // what each answers first
  std::vector<std::string> asked, got_from, avoided;
};

struct MemoryBench {
  VirtualLoop loop;
  Metrics metrics;
  FakeCatalog catalog;
  FakeFetcher upstream{loop};
  FakeMemory memory{loop};
  Workers workers{loop, 1};
  BufferBudget buffers{loop, 16_MiB};
  SiteFetcher fetcher{SiteFetcher::Parts{loop, workers, upstream, catalog, buffers, metrics}};
  std::shared_ptr<registry::Target> target = std::make_shared<registry::Target>();

  MemoryBench() {
    target->registry = target->ns = "registry.test";
    target->repository = "team/app";
    fetcher.use(&memory, true, std::nullopt);
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
    return fetch(std::move(request));
  }
  Result<upstream::FetchResponse> get(const std::string& reference) {
    upstream::FetchRequest request;
    request.target = target;
    request.kind = upstream::Kind::manifest;
    request.reference = reference;
    return fetch(std::move(request));
  }
  std::string text_of(Result<upstream::FetchResponse> answer) {
    if (!answer) return "error: " + answer.error().message;
    std::string text;
    const auto reading = answer->body->read(1_MiB, [&](Result<Bytes> bytes) { text = bytes->view(); });
    loop.run();
    return text;
  }
  // Upstream answers only after `wait`; it moves on at the moments that are named.
  void upstream_takes(Duration wait, std::vector<Duration> moves, const std::string& body = "of upstream") {
    upstream.script = [=](const upstream::FetchRequest&) {
      Reply reply;
      reply.after = wait;
      reply.progress = moves;
      reply.body = body;
      return reply;
    };
  }
  Result<upstream::FetchResponse> fetch(upstream::FetchRequest request) {
    std::optional<Result<upstream::FetchResponse>> answer;
    const auto ticket = fetcher.fetch(
        std::move(request), [&](Result<upstream::FetchResponse> got) { answer.emplace(std::move(got)); });
    for (int i = 0; i < 1000 && !answer; ++i) loop.advance(50ms);
    for (int i = 0; i < 5000 && !answer; ++i) {  // a worker's time is real
      std::this_thread::sleep_for(1ms);
      loop.advance(1ms);
    }
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

TEST_CASE("after tags.check_within an upstream that moves on all the same counts as away") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100);
  at.upstream_takes(8s, {500ms, 1s, 1500ms, 2s, 2500ms, 3s, 3500ms, 4s, 4500ms, 5s, 5500ms, 6s, 6500ms, 7s});
  const TimePoint begun = at.loop.now();
  REQUIRE(at.head("1")->member.empty());  // auto: it moves on
  CHECK(at.loop.now() - begun >= 8s);
  at.fetcher.use(&at.memory, true, 3s);
  const TimePoint again = at.loop.now();
  CHECK(at.head("1")->member == "10.0.0.2:5152");
  CHECK(at.loop.now() - again >= 3s);
  CHECK(at.loop.now() - again < 4s);
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
  at.fetcher.use(&at.memory, false, std::nullopt);
  CHECK_FALSE(at.head("1"));
  CHECK(at.head(digest_text("app")));
  at.fetcher.use(&at.memory, true, std::nullopt);
  at.catalog.put_tag("registry.test/team/app", "1", {digest_of(DigestAlgorithm::sha256, "x"), "", 1, 1});
  CHECK_FALSE(at.head("1"));
}

// rules: recall-next-member
TEST_CASE("a member that dies, denies or lies while it brings the manifest costs its turn and no more") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 400);
  at.memory.knows("10.0.0.3:5152", "app", 300);
  at.memory.knows("10.0.0.4:5152", "app", 200);
  at.memory.knows("10.0.0.5:5152", "app", 100);
  at.memory.knows("10.0.0.6:5152", "old", 50);
  at.memory.fails["10.0.0.2:5152"] = {{Errc::upstream_unreachable, "gone"}};
  at.memory.fails["10.0.0.3:5152"] = {{Errc::denied, "not shared"}};
  at.memory.sends["10.0.0.4:5152"] = "lie";
  CHECK(at.text_of(at.get("1")) == "app");
  CHECK(at.memory.got_from ==
        std::vector<std::string>{"10.0.0.2:5152", "10.0.0.3:5152", "10.0.0.4:5152", "10.0.0.5:5152"});
  CHECK(at.memory.avoided == std::vector<std::string>{"10.0.0.4:5152"});
  // When nobody is left who has the newest, the newest that can be had counts.
  at.memory.got_from.clear();
  at.memory.sends["10.0.0.5:5152"] = "lie";
  for (const char* id : {"10.0.0.2:5152", "10.0.0.3:5152", "10.0.0.4:5152"})
    at.memory.fails[id] = {{Errc::upstream_unreachable, "gone"}};
  CHECK(at.text_of(at.get("1")) == "old");
  at.memory.fails["10.0.0.6:5152"] = {{Errc::upstream_unreachable, "gone"}};
  for (const char* id : {"10.0.0.2:5152", "10.0.0.3:5152", "10.0.0.4:5152"})
    at.memory.fails[id] = {{Errc::upstream_unreachable, "gone"}};
  CHECK(at.text_of(at.get("1")) == "error: the WAN is cut");
}

TEST_CASE("a large manifest is compared as well") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", std::string(100'000, 'x'), 400);
  at.memory.knows("10.0.0.3:5152", std::string(100'000, 'x'), 300);
  at.memory.sends["10.0.0.2:5152"] = std::string(100'000, 'y');
  const auto answer = at.get("1");
  REQUIRE(answer);
  CHECK(answer->member == "10.0.0.3:5152");
  CHECK(at.memory.avoided == std::vector<std::string>{"10.0.0.2:5152"});
}

// rules: recall-waits-for-the-busy
TEST_CASE("members that are full are asked again, for as long as a moment") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100);
  at.memory.fails["10.0.0.2:5152"] = {2, Error{Errc::overloaded, "as many as it may"}};
  CHECK(at.text_of(at.get("1")) == "app");
  CHECK(at.memory.got_from.size() == 3);
  CHECK(at.memory.avoided.empty());
  at.memory.got_from.clear();
  at.memory.fails["10.0.0.2:5152"] = {1000, Error{Errc::overloaded, "as many as it may"}};
  CHECK(at.text_of(at.get("1")) == "error: the WAN is cut");
  CHECK(at.memory.got_from.size() < 20);
}

TEST_CASE("what is on its way from a member is not dropped when upstream fails meanwhile") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100);
  at.memory.takes = 3s;
  at.upstream.script = [](const upstream::FetchRequest&) {
    Reply reply;
    reply.after = 2s;
    reply.error = Error{Errc::upstream_timeout, "the upstream hangs"};
    return reply;
  };
  CHECK(at.text_of(at.get("1")) == "app");
  CHECK(at.memory.got_from.size() == 1);
}

// rules: recall-not-for-the-slow
TEST_CASE("an upstream that is slow and moves on is no outage") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "of a member", 100);
  at.upstream_takes(4s, {500ms, 1200ms, 2s, 2900ms, 3800ms});
  CHECK(at.text_of(at.get("1")) == "of upstream");
  CHECK(at.memory.asked.size() == 1);  // what it said was not needed
  // It falls silent.
  at.upstream_takes(9s, {500ms, 1200ms});
  CHECK(at.text_of(at.get("1")) == "of a member");
  // It never does, and has had ten seconds.
  std::vector<Duration> always;
  for (int i = 1; i < 40; ++i) always.emplace_back(i * 500ms);
  at.upstream_takes(15s, always);
  const TimePoint begun = at.loop.now();
  CHECK(at.text_of(at.get("1")) == "of a member");
  CHECK(at.loop.now() - begun >= 10s);
}

TEST_CASE("that members disagree about an import is no answer while upstream may still give one") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "one", 0);
  at.memory.knows("10.0.0.3:5152", "two", 0);
  at.upstream_takes(4s, {});
  CHECK(at.text_of(at.get("1")) == "of upstream");
  at.upstream.script = [](const upstream::FetchRequest&) {
    Reply reply;
    reply.after = 4s;
    reply.error = Error{Errc::upstream_timeout, "the upstream hangs"};
    return reply;
  };
  CHECK(at.get("1").error().code == Errc::upstream_protocol);
}

// rules: recall-what-was-asked
TEST_CASE("a word that does not fit the question is passed over") {
  MemoryBench at;
  const auto said = [&at](const std::string& content, ByteCount size) {
    at.memory.words.clear();
    at.memory.knows("10.0.0.2:5152", content, 100);
    at.memory.words.back().answer.size = size;
  };
  said("other", 5);
  CHECK(at.head(digest_text("app")).error().message == "the WAN is cut");
  CHECK(at.head(digest_text("app"), upstream::Kind::blob).error().message == "the WAN is cut");
  said("app", 0);
  CHECK(at.get(digest_text("app")).error().message == "the WAN is cut");
  said("app", kMostSmallBody + 1);
  CHECK(at.get(digest_text("app")).error().message == "the WAN is cut");
  CHECK(at.memory.got_from.empty());
  CHECK(at.head(digest_text("app"), upstream::Kind::blob));  // blobs are larger
}

// rules: recall-no-future
TEST_CASE("a check of the future is one of now") {
  MemoryBench at;
  const auto now = unix_seconds(at.loop.wall_now());
  at.memory.knows("10.0.0.2:5152", "app", now + 1'000'000);
  const auto answer = at.head("1");
  REQUIRE(answer);
  CHECK(answer->checked_at <= unix_seconds(at.loop.wall_now()));
  CHECK(answer->checked_at >= now);
}

// rules: recall-strictest
TEST_CASE("the strictest class that anybody tells counts, whoever answers first") {
  MemoryBench at;
  const auto reference = digest_text("app");
  at.memory.knows("10.0.0.2:5152", "app", 0, peers::Rights::open);
  at.memory.knows("10.0.0.3:5152", "app", 0, peers::Rights::unknown);
  at.memory.knows("10.0.0.4:5152", "app", 0, peers::Rights::node);
  const auto answer = at.head(reference);
  REQUIRE(answer);
  CHECK(answer->authenticated);
  const auto kept = at.catalog.repositories.at("registry.test/team/app");
  CHECK(kept.repository_class == cache::RepositoryClass::node);
  CHECK(kept.checked_at == 0);  // to be asked again at the next use
  at.target->as = {registry::AskAs::Who::nobody, {}, "nobody"};
  CHECK(at.head(reference).error().message == "the WAN is cut");
  at.target->as = {};
  at.memory.knows("10.0.0.5:5152", "app", 0, peers::Rights::client);
  CHECK(at.head(reference).error().message == "the WAN is cut");
}

TEST_CASE("what only upstream may say no member is asked about") {
  MemoryBench at;
  at.memory.knows("10.0.0.2:5152", "app", 100);
  upstream::FetchRequest request;
  request.target = at.target;
  request.head_only = true;
  request.reference = digest_text("app");
  request.upstream_only = true;
  CHECK(at.fetch(std::move(request)).error().message == "the WAN is cut");
  CHECK(at.memory.asked.empty());
}

// rules: hearsay-changes-no-class
TEST_CASE("what a member says changes no class that upstream told, and is asked anew where none was told") {
  MirrorBench bench;
  RepositoryClasses classes(MirrorParts{bench.loop, bench.workers, bench.metrics, bench.store, bench.catalog,
                                        bench.downloads, bench.fetcher, bench.buffers, bench.owners,
                                        bench.cgroups, bench.sealing_key});
  bench.fetcher.script = [](const upstream::FetchRequest& request) {
    Reply reply;
    reply.body = "app";
    reply.member = "10.0.0.2:5152";
    if (request.upstream_only) reply.error = Error{Errc::upstream_unreachable, "the WAN is cut"};
    return reply;
  };
  const auto target = std::make_shared<registry::Target>();
  target->registry = target->ns = "registry.test";
  target->repository = "team/app";
  const AskedObject object{upstream::Kind::manifest, "1", ""};
  const auto learn = [&] {
    std::optional<Result<cache::RepositoryClass>> told;
    const auto asking = classes.learn(target, object, false, [&told](auto answer) { told.emplace(answer); });
    bench.loop.advance(1s);
    REQUIRE(told);
    return *told;
  };
  CHECK(*learn() == cache::RepositoryClass::open);
  CHECK(bench.catalog.repositories.empty());  // SiteFetcher has kept it as one to be asked again
  bench.catalog.put_repository("registry.test/team/app", {cache::RepositoryClass::node, 1});
  CHECK_FALSE(learn());
  CHECK(bench.catalog.repositories.at("registry.test/team/app").repository_class ==
        cache::RepositoryClass::node);
}
