// Endpoints in order, retries, the breaker, and leaving early.
#include "proxy/upstream/failover.h"
#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

const std::string kOne = "GET https://one.test/v2/app/blobs/" + kDigest + "?ns=reg.example";
const std::string kTwo = "GET https://two.test/v2/app/blobs/" + kDigest + "?ns=reg.example";
const std::string kOnly = "GET https://reg.example/v2/app/blobs/" + kDigest;

struct TwoEndpoints : Upstreams {
  TwoEndpoints() { mirror("reg.example", {"https://one.test/v2", "https://two.test/v2"}, false); }
};

}  // namespace

TEST_CASE("the next endpoint answers for one that is down, limited or broken") {
  TwoEndpoints up;
  const int which = GENERATE(0, 1, 2, 3);
  up.client.reply(kOne, std::vector<ClientReply>{down(), status(503), status(429, {{"Retry-After", "60"}}),
                                                 status(403)}[static_cast<std::size_t>(which)]);
  up.client.reply(kTwo, ok());
  auto answer = up.fetch(up.blob("reg.example", "app"), 1s);
  REQUIRE(answer);
  CHECK(answer->endpoint == 1);
  CHECK(answer->endpoint_name == "https://two.test");
  CHECK(up.metrics.total("layerd_upstream_retries_total") == 1);
}

// rules: 404-is-404, not-found-needs-all
TEST_CASE("not found means that every endpoint said so") {
  TwoEndpoints up;
  up.client.reply(kOne, status(404));
  SECTION("both") {
    up.client.reply(kTwo, status(404));
    auto answer = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::not_found);
  }
  SECTION("one and a failure") {
    up.client.reply(kTwo, down());
    auto answer = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::upstream_unreachable);
    CHECK(up.client.count(kOne) == 1);  // its answer stands
  }
  SECTION("one and a page of HTML") {
    up.client.reply(kTwo, status(404, {{"Content-Type", "text/html"}}, "<html>"));
    auto answer = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::upstream_protocol);
  }
}

// An upstream's 416 is about the range we asked for: it must not hide what the others said.
TEST_CASE("a range that one endpoint does not have tells less than another's failure") {
  TwoEndpoints up;
  up.client.reply(kOne, status(416, {{"Content-Range", "bytes */100"}}));
  up.client.reply(kTwo, status(400));
  auto request = up.blob("reg.example", "app");
  request.range = ByteRange{500, upstream::kOpenEnd};
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_status);
  CHECK(answer.error().status == 400);
}

TEST_CASE("the most telling error is told, with the others behind it") {
  TwoEndpoints up;
  up.client.reply(kOne, down());
  up.client.reply(kTwo, status(403, {}, R"({"errors":[{"code":"DENIED","message":"not yours"}]})"));
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(answer.error().status == 403);
  CHECK(answer.error().message.find("not yours") != std::string::npos);
  CHECK(answer.error().message.find("cannot connect") != std::string::npos);
}

TEST_CASE("the first endpoint to ask can be chosen, and be the only one") {
  TwoEndpoints up;
  up.client.reply(kOne, ok());
  up.client.reply(kTwo, status(403));
  auto request = up.blob("reg.example", "app");
  request.first_endpoint = 1;
  SECTION("then the others") {
    auto answer = up.fetch(request);
    REQUIRE(answer);
    CHECK(up.client.lines() == std::vector<std::string>{kTwo, kOne});
  }
  SECTION("alone") {
    request.only_first_endpoint = true;
    REQUIRE_FALSE(up.fetch(request));
    CHECK(up.client.lines() == std::vector<std::string>{kTwo});
  }
}

TEST_CASE("a silent endpoint leaves half of the time to the next") {
  TwoEndpoints up;
  up.client.reply(kOne, silent());
  up.client.reply(kTwo, ok());
  auto request = up.blob("reg.example", "app");
  request.deadline = Deadline::in(up.loop.now(), 10s);
  const auto began = up.loop.now();
  REQUIRE(up.fetch(request));
  CHECK(up.loop.now() - began >= 5s);
  CHECK(up.loop.now() - began < 6s);
  CHECK(up.client.sent()[0].head_deadline.at <= began + 5s);
}

TEST_CASE("no source within 20 s is a timeout that names the place") {
  Upstreams up;
  up.client.reply(kOnly, silent());
  const auto began = up.loop.now();
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_timeout);
  CHECK(answer.error().message.find("https://reg.example") != std::string::npos);
  CHECK(up.loop.now() - began <= 21s);
}

// rules: 5xx-asked-again
TEST_CASE("the only endpoint is asked again after a pause") {
  Upstreams up;
  up.client.reply(kOnly, status(500));
  up.client.reply(kOnly, ok());
  const auto began = up.loop.now();
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kOnly) == 2);
  CHECK(up.loop.now() - began >= 100ms);
}

TEST_CASE("errors that will not change are not tried again") {
  Upstreams up;
  ClientReply reply = down();
  const std::string diagnosis = GENERATE("dns_not_found", "tls_unknown_ca");
  reply.error->diagnosis = diagnosis;
  up.client.reply(kOnly, reply);
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().diagnosis == diagnosis);
  CHECK(up.client.count(kOnly) == 1);
}

// rules: retry-after
TEST_CASE("Retry-After is waited for if it fits, else told at once") {
  Upstreams up;
  SECTION("fits") {
    up.client.reply(kOnly, status(429, {{"Retry-After", "3"}}));
    up.client.reply(kOnly, ok());
    const auto began = up.loop.now();
    REQUIRE(up.fetch(up.blob("reg.example", "app")));
    CHECK(up.loop.now() - began >= 3s);
  }
  SECTION("does not fit") {
    up.client.reply(kOnly, status(429, {{"Retry-After", "3600"}}));
    const auto began = up.loop.now();
    auto answer = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().status == 429);
    CHECK(answer.error().retry_after == 3600s);
    CHECK(answer.error().message.find("3600 s") != std::string::npos);
    CHECK(up.loop.now() - began < 1s);
    CHECK(up.client.count(kOnly) == 1);
  }
}

// rules: breaker
TEST_CASE("an endpoint that stays silent is left alone, then one request finds out") {
  TwoEndpoints up;
  up.client.reply(kOne, down());
  up.client.reply(kTwo, ok());
  for (int i = 0; i < 3; ++i) REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kOne) == 3);
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kOne) == 3);
  const auto health = up.fetcher->health();
  REQUIRE(health.size() == 2);
  CHECK(health[0].endpoint == "https://one.test");
  CHECK(health[0].state == upstream::EndpointState::open);
  CHECK(health[0].last_error == "cannot connect: refused");
  CHECK(health[1].state == upstream::EndpointState::well);
  up.loop.advance(1100ms);
  const auto request = up.blob("reg.example", "app");
  const auto probe = up.begin(request), other = up.begin(request);
  up.loop.advance(1s);
  CHECK(probe->has_value());
  CHECK(other->has_value());
  CHECK(up.client.count(kOne) == 4);  // one of the two asked; it stays open for longer now
  up.loop.advance(500ms);
  REQUIRE(up.fetch(request));
  CHECK(up.client.count(kOne) == 4);
  up.loop.advance(2s);
  up.client.reply(kOne, ok());
  REQUIRE(up.fetch(request));  // takes the last refusal
  up.loop.advance(5s);
  REQUIRE(up.fetch(request));
  CHECK(up.fetcher->health()[0].state == upstream::EndpointState::well);
}

TEST_CASE("the only endpoint fails at once only for a second after it failed") {
  Upstreams up;
  up.client.reply(kOnly, down());
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  const auto before = up.client.count(kOnly);
  CHECK(before == 3);
  auto answer = up.fetch(up.blob("reg.example", "app"), 100ms);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_unreachable);
  CHECK(up.client.count(kOnly) == before);
  up.client.reply(kOnly, ok());
  up.loop.advance(1100ms);
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));  // asks, and takes the last refusal
  CHECK(up.client.count(kOnly) == before + 1);
  up.loop.advance(1100ms);
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
}

TEST_CASE("a storage that is down is not held against the registry") {
  TwoEndpoints up;
  up.client.reply(kOne, redirect("https://cdn.other.net/x"));
  up.client.reply("GET https://cdn.other.net/x", down());
  up.client.reply(kTwo, ok());
  for (int i = 0; i < 5; ++i) REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kOne) == 5);
}

TEST_CASE("leaving at any step asks nothing further and leaves nothing behind") {
  const auto realm = R"(Bearer realm="https://reg.example/token")";
  const std::string token_line = "GET https://reg.example/token?scope=repository%3Aapp%3Apull";
  for (int steps = 0; steps < 40; ++steps) {
    Upstreams up;
    up.client.reply(kOnly, challenge(realm));
    up.client.reply(kOnly, redirect("https://cdn.other.net/x"));
    up.client.reply(token_line, token("T"));
    up.client.reply("GET https://cdn.other.net/x", status(500, {}, "words"));
    const auto result = up.begin(up.blob("reg.example", "app"));
    for (int i = 0; i < steps; ++i)
      if (!up.loop.run_one()) up.loop.advance(10ms);
    const bool had_answer = result->has_value();
    const auto sent = up.client.sent().size();
    up.tickets.clear();
    up.loop.advance(60s);
    CHECK(result->has_value() == had_answer);
    CHECK(up.client.sent().size() == sent);
    CHECK(up.loop.ledger().size() == 0);
  }
}

TEST_CASE("whoever is answered may destroy the fetcher") {
  Upstreams up;
  up.client.reply(kOnly, ok());
  const auto request = up.blob("reg.example", "app");
  bool answered = false;
  up.tickets.push_back(up.fetcher->fetch(request, [&](Result<FetchResponse> response) {
    response->body.reset();
    answered = true;
    up.tickets.clear();
    up.fetcher.reset();
  }));
  up.loop.advance(1s);
  CHECK(answered);
}

// rules: rate-limit-remembered
TEST_CASE("a registry that said when to come back is not asked the same before") {
  Upstreams up;
  const std::string head = "HEAD https://reg.example/v2/app/blobs/" + kDigest;
  const bool is_date = GENERATE(false, true);
  // The virtual loop's wall clock begins at 1 700 003 600: Tue, 14 Nov 2023 23:13:20.
  up.client.reply(kOnly, status(429, {{"Retry-After", is_date ? "Tue, 14 Nov 2023 23:15:00 GMT" : "100"}}));
  up.client.reply(kOnly, ok());
  up.client.reply(head, ok());
  REQUIRE_FALSE(up.fetch(up.blob("reg.example", "app")));
  up.loop.advance(90s);
  auto answer = up.fetch(up.blob("reg.example", "app"), 1s);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().status == 429);
  CHECK(up.client.count(kOnly) == 1);
  auto other = up.blob("reg.example", "app");
  other.head_only = true;
  CHECK(up.fetch(other));  // counted apart
  up.loop.advance(15s);
  CHECK(up.fetch(up.blob("reg.example", "app")));
}

// rules: pulls-used-up
TEST_CASE("a registry whose pulls are used up is left alone for a minute, and how many there were is told") {
  Upstreams up;
  up.client.reply(kOnly,
                  status(429, {{"ratelimit-limit", "100;w=21600"}, {"ratelimit-remaining", "0;w=21600"}}));
  up.client.reply(kOnly, ok());
  const auto refused = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("0 of 100 pulls in 6 h are left") != std::string::npos);
  REQUIRE(up.fetcher->pull_limit("https://reg.example"));
  CHECK(up.fetcher->pull_limit("https://reg.example")->limit.left == 0);
  CHECK_FALSE(up.fetcher->pull_limit("https://other.example"));
  CHECK(up.metrics.total("layerd_upstream_pull_limit") == 100);
  up.loop.advance(50s);
  CHECK_FALSE(up.fetch(up.blob("reg.example", "app"), 1s));
  CHECK(up.client.count(kOnly) == 1);
  up.loop.advance(15s);
  CHECK(up.fetch(up.blob("reg.example", "app")));
}

TEST_CASE("a spare request is tried once and gives way") {
  Upstreams up;
  ClientReply busy;
  busy.error = Error{Errc::overloaded, "no connection is to spare"};
  up.client.reply(kOnly, busy);
  auto request = up.blob("reg.example", "app");
  request.is_spare = true;
  const auto began = up.loop.now();
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::overloaded);
  CHECK(up.loop.now() - began <= 50ms);
  CHECK(up.client.count(kOnly) == 1);
}

TEST_CASE("another chance lets the next request through to an endpoint that is left alone") {
  TwoEndpoints up;
  up.client.reply(kOne, down());
  up.client.reply(kTwo, ok());
  for (int i = 0; i < 4; ++i) REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kOne) == 3);
  up.fetcher->give_another_chance();
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kOne) == 4);
  // It failed again: left alone again at once.
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.count(kOne) == 4);
  CHECK(up.fetcher->health()[0].state == upstream::EndpointState::open);
}
