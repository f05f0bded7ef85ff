// As whom upstream is asked: the node, nobody, a client.
#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::test;
using Who = registry::AskAs::Who;

namespace {

const std::string kBlobAt = "GET https://reg.example/v2/app/blobs/" + kDigest;
const std::string kTokenAt = "GET https://reg.example/token?service=s&scope=repository%3Aapp%3Apull";
const std::string kWantsToken = "Bearer realm=\"https://reg.example/token\",service=\"s\"";

FetchRequest as(FetchRequest request, Who who, const std::string& user = {},
                const std::string& password = {}) {
  auto target = std::make_shared<registry::Target>(*request.target);
  target->as = {who, {user, password, {}, {}, "the client"}, user};
  request.target = std::move(target);
  return request;
}

struct Registry : Upstreams {
  explicit Registry(int refusals) {
    configure("reg.example", login("node", "node-secret"));
    for (int i = 0; i < refusals; ++i) client.reply(kBlobAt, challenge("Basic realm=\"r\""));
    client.reply(kBlobAt, ok());
  }
};

}  // namespace

TEST_CASE("who asks as nobody brings no credentials, whatever the node has") {
  Registry up(2);
  const auto answer = up.fetch(as(up.blob("reg.example", "app"), Who::nobody));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  for (const auto& sent : up.client.sent()) CHECK(sent.header("Authorization").empty());
  // And the node is not kept back by that.
  up.client.reply(kBlobAt, ok());
  const auto node = up.fetch(up.blob("reg.example", "app"));
  REQUIRE(node);
  CHECK(node->authenticated);
}

TEST_CASE("a client's credentials are used in place of the node's, and by nobody else") {
  Registry up(1);
  const auto answer = up.fetch(as(up.blob("reg.example", "app"), Who::client, "alice", "a"));
  REQUIRE(answer);
  CHECK(answer->authenticated);
  CHECK(up.client.sent().back().header("Authorization") == "Basic YWxpY2U6YQ==");
  up.client.reply(kBlobAt, ok());
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent().back().header("Authorization") == "Basic bm9kZTpub2RlLXNlY3JldA==");
}

TEST_CASE("what the node's client certificate opened does not count as open to everybody") {
  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  host->cert_file = "/node.crt", host->key_file = "/node.key";
  up.configure("reg.example", host);
  up.client.reply(kBlobAt, ok());
  const auto answer = up.fetch(as(up.blob("reg.example", "app"), Who::nobody));
  REQUIRE(answer);
  CHECK(answer->authenticated);
}

TEST_CASE("a client's token is his own") {
  Upstreams up;
  up.configure("reg.example", up.login("node", "node-secret"));
  up.client.reply(kBlobAt, challenge(kWantsToken));
  for (int i = 0; i < 3; ++i) up.client.reply(kBlobAt, ok());
  for (const char* user : {"&account=alice", "&account=bob", "&account=node"})
    up.client.reply(kTokenAt + user, token("T" + std::string(user)));
  REQUIRE(up.fetch(as(up.blob("reg.example", "app"), Who::client, "alice", "a")));
  CHECK(up.client.sent().back().header("Authorization") == "Bearer T&account=alice");
  REQUIRE(up.fetch(as(up.blob("reg.example", "app"), Who::client, "bob", "b")));
  CHECK(up.client.sent().back().header("Authorization") == "Bearer T&account=bob");
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent().back().header("Authorization") == "Bearer T&account=node");
}

TEST_CASE("a client's wrong password is said to be the client's, and does not keep the node's back") {
  Registry other(4);
  const auto refused = other.fetch(as(other.blob("reg.example", "app"), Who::client, "alice", "wrong"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("to the credentials of the client") != std::string::npos);
  CHECK(refused.error().message.find("wrong") == std::string::npos);
  const auto sent = other.client.sent().size();
  const auto again = other.fetch(as(other.blob("reg.example", "app"), Who::client, "alice", "wrong"));
  CHECK_FALSE(again);
  for (auto i = sent; i < other.client.sent().size(); ++i)
    CHECK(other.client.sent()[i].header("Authorization").empty());  // held back
  CHECK(other.fetch(other.blob("reg.example", "app")));
}

// rules: strangers-from-the-beginning
// rules: strangers-tokens-apart
TEST_CASE(
    "a stranger gets the same words about a private repository, whether it was asked for before or not") {
  Upstreams up;
  up.configure("reg.example", up.login("node", "node-secret"));
  const bool is_basic = GENERATE(true, false);
  const auto asked_for = [&](const std::string& repository) {
    auto request = up.blob("reg.example", repository);
    return as(std::move(request), Who::stranger);
  };
  const std::string blob_at = "GET https://reg.example/v2/app/blobs/" + kDigest;
  for (int i = 0; i < 2; ++i)
    up.client.reply(blob_at, challenge(is_basic ? "Basic realm=\"r\"" : kWantsToken));
  up.client.reply(kTokenAt, status(401));
  up.client.reply(kTokenAt, down());  // from the second question on
  up.client.reply(kTokenAt + "&account=node", token("T"));
  up.client.reply(blob_at, ok());
  // As nobody first, as the class of a repository is found out, then as the node.
  REQUIRE_FALSE(up.fetch(as(up.blob("reg.example", "app"), Who::nobody)));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  const std::string elsewhere_at = "GET https://reg.example/v2/never/blobs/" + kDigest;
  SECTION("the WAN is cut") {
    for (const auto& line : {blob_at, elsewhere_at}) up.client.reply(line, down());
  }
  SECTION("only the token server is away") {
    if (is_basic) return;
    for (const auto& line : {blob_at, elsewhere_at}) up.client.reply(line, challenge(kWantsToken));
    up.client.reply("GET https://reg.example/token?service=s&scope=repository%3Anever%3Apull", down());
  }
  REQUIRE(up.fetch(up.blob("reg.example", "app")));  // takes the last good answer
  const auto known = up.fetch(asked_for("app"));
  up.loop.advance(1100ms);  // a failure stands for a second
  const auto unknown = up.fetch(asked_for("never"));
  REQUIRE_FALSE(known);
  REQUIRE_FALSE(unknown);
  CHECK(known.error().code == Errc::upstream_unreachable);
  CHECK(known.error().code == unknown.error().code);
  CHECK(known.error().message == unknown.error().message);
}

// rules: rate-limit-per-account
TEST_CASE("who is limited by a registry holds back nobody else") {
  Upstreams up;
  up.configure("reg.example", up.login("node", "node-secret"));
  const auto limited = status(429, {{"Retry-After", "100"}});
  const auto alice = [&] { return as(up.blob("reg.example", "app"), Who::client, "alice", "a"); };
  const auto nobody = [&] { return as(up.blob("reg.example", "app"), Who::nobody); };
  up.client.reply(kBlobAt, challenge(kWantsToken));
  up.client.reply(kBlobAt, limited);
  up.client.reply(kBlobAt, ok());
  for (const char* account : {"", "&account=alice", "&account=bob", "&account=node"})
    up.client.reply(kTokenAt + account, token("T"));
  SECTION("a client") {
    CHECK(up.fetch(alice()).error().status == 429);
    CHECK(up.fetch(as(up.blob("reg.example", "app"), Who::client, "bob", "b")));
    CHECK(up.fetch(up.blob("reg.example", "app")));
    CHECK(up.fetch(nobody()));
    const auto asked = up.client.count(kBlobAt);
    CHECK(up.fetch(alice()).error().status == 429);
    CHECK(up.client.count(kBlobAt) == asked);
  }
  SECTION("the node") {
    CHECK(up.fetch(up.blob("reg.example", "app")).error().status == 429);
    CHECK(up.fetch(alice()));
    CHECK(up.fetch(nobody()));
    CHECK(up.fetch(up.blob("reg.example", "app")).error().status == 429);
  }
  SECTION("those without an account") {
    CHECK(up.fetch(nobody()).error().status == 429);
    CHECK(up.fetch(alice()));
    CHECK(up.fetch(up.blob("reg.example", "app")));
    CHECK(up.fetch(nobody()).error().status == 429);
  }
}

TEST_CASE("what a registry said of one account's pulls is not told of another's") {
  Upstreams up;
  up.configure("reg.example", up.login("node", "node-secret"));
  up.client.reply(kBlobAt, challenge(kWantsToken));
  up.client.reply(
      kBlobAt, status(200, {{"ratelimit-limit", "100;w=21600"}, {"ratelimit-remaining", "0;w=21600"}}, "x"));
  up.client.reply(kBlobAt, status(429));
  for (const char* account : {"&account=alice", "&account=node"})
    up.client.reply(kTokenAt + account, token("T"));
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  const auto refused = up.fetch(as(up.blob("reg.example", "app"), Who::client, "alice", "a"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().status == 429);
  CHECK(refused.error().message.find("pulls") == std::string::npos);
  CHECK_FALSE(refused.error().retry_after);
}

TEST_CASE("a 404 without credentials may hide something only where credentials are wanted") {
  Upstreams up;
  up.client.reply(kBlobAt, challenge(kWantsToken));
  up.client.reply(kBlobAt, status(404, {{"Docker-Distribution-Api-Version", "registry/2.0"}}));
  up.client.reply(kTokenAt, token("T"));
  const auto hidden = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(hidden);
  CHECK(hidden.error().code == Errc::not_found);
  CHECK(hidden.error().may_be_hidden);
  Upstreams plain;
  plain.client.reply(kBlobAt, status(404, {{"Docker-Distribution-Api-Version", "registry/2.0"}}));
  const auto missing = plain.fetch(plain.blob("reg.example", "app"));
  REQUIRE_FALSE(missing);
  CHECK_FALSE(missing.error().may_be_hidden);
}
