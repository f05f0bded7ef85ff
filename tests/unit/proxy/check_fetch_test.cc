// A request of a check and its body, both bounded by the walk's deadline.
#include "proxy/check_fetch.h"

#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::proxy;
using namespace layerd::test;

namespace {

// One byte every five seconds, so that no stall ends it.
class DrippingBody final : public http::BodyReader {
 public:
  explicit DrippingBody(Loop& loop) : loop_(loop) {}
  Ticket read(std::size_t, Done<Bytes> done) override {
    return loop_.after(5s, "a drop", [done = std::move(done)]() mutable { done(Bytes::copy_of("x")); });
  }
  std::optional<ByteCount> length() const override { return std::nullopt; }

 private:
  Loop& loop_;
};

struct Checking {
  explicit Checking(Upstreams& at)
      : request(at.manifest("registry.test", "team/app", "1")), flows(at.fetcher->parts()) {}

  upstream::FetchRequest request;
  upstream::FlowParts flows;
};

}  // namespace

// rules: check-body-deadline
TEST_CASE("a body that drips ends with the walk's deadline") {
  Upstreams at;
  at.configure("registry.test");
  Checking checking(at);
  CheckFetch fetch(at.loop, checking.flows, *at.rules, Deadline::in(at.loop.now(), 25s));
  upstream::FetchResponse response;
  response.endpoint_name = "https://registry.test";
  response.body = std::make_unique<DrippingBody>(at.loop);
  std::optional<Result<upstream::SmallBody>> answer;
  fetch.read(std::move(response), 1_MiB,
             [&](Result<upstream::SmallBody> body) { answer.emplace(std::move(body)); });
  at.loop.advance(24s);
  CHECK_FALSE(answer);
  at.loop.advance(2s);
  REQUIRE(answer);
  REQUIRE_FALSE(*answer);
  CHECK(answer->error().code == Errc::upstream_timeout);
  CHECK(answer->error().message == "https://registry.test began to answer and did not go on in time");
  at.loop.advance(60s);  // and nothing drips on
  CHECK(at.loop.timers() == 0);
}

TEST_CASE("a registry that never answers ends with the walk's deadline, in the flow's own words") {
  Upstreams at;
  at.configure("registry.test");
  Checking checking(at);
  at.client.reply("GET https://registry.test/v2/team/app/manifests/1", silent());
  CheckFetch fetch(at.loop, checking.flows, *at.rules, Deadline::in(at.loop.now(), 25s));
  std::optional<Result<upstream::FetchResponse>> answer;
  fetch.start(checking.request,
              [&](Result<upstream::FetchResponse> response) { answer.emplace(std::move(response)); });
  at.loop.advance(26s);
  REQUIRE(answer);
  REQUIRE_FALSE(*answer);
  CHECK(answer->error().code == Errc::upstream_timeout);
}

TEST_CASE("the callback of a check's request may let go of all of it") {
  Upstreams at;
  at.configure("registry.test");
  Checking checking(at);
  at.client.reply("GET https://registry.test/v2/team/app/manifests/1", ok("{}"));
  auto fetch =
      std::make_unique<CheckFetch>(at.loop, checking.flows, *at.rules, Deadline::in(at.loop.now(), 25s));
  std::string text;
  fetch->start(checking.request, [&](Result<upstream::FetchResponse> response) {
    REQUIRE(response);
    fetch->read(std::move(*response), 1_MiB, [&](Result<upstream::SmallBody> body) {
      REQUIRE(body);
      text = body->text;
      fetch.reset();
    });
  });
  at.loop.advance(1s);
  CHECK(text == "{}");
  CHECK_FALSE(fetch);
}
