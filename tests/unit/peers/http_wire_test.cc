// Members speak over real sockets: every message, streams of bytes, and how they end.
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/net/fd.h"
#include "proxy/peers/peer_text.h"
#include "tests/unit/peers/wire_fixture.h"

namespace layerd::test {
namespace {

Ask some_ask() {
  Ask ask;
  ask.unit = unit_name(3);
  ask.have = 4096;
  ask.load = 2;
  ask.zone = "rack-1";
  ask.rights = Rights::open;
  ask.avoid = {"10.0.0.7:5152"};
  return ask;
}

FilePtr file_of(const TempDir& dir, const std::string& content) {
  write_text(dir / "blob", content);
  auto file = File::open(dir / "blob", O_RDONLY);
  REQUIRE(file);
  return *file;
}

}  // namespace

TEST_CASE("an ask and its answer come through as they were said, and from whom") {
  WireFixture site;
  site.desk->ask_answer.kind = AskAnswer::Kind::from;
  site.desk->ask_answer.sources = {"10.0.0.3:5152", "10.0.0.4:5152"};
  const auto answer = site.ask(some_ask());
  REQUIRE(answer);
  CHECK(answer->kind == AskAnswer::Kind::from);
  CHECK(answer->sources == site.desk->ask_answer.sources);
  REQUIRE(site.desk->asked);
  CHECK(site.desk->asked->unit.unit == 3);
  CHECK(site.desk->asked->zone == "rack-1");
  CHECK(site.desk->asked->avoid == some_ask().avoid);
  CHECK(site.desk->froms == std::vector<std::string>{kAsker});
}

TEST_CASE("probe, who, recall and tell come through as well") {
  WireFixture site;
  site.desk->probe_answer.load = 3;
  site.desk->probe_answer.has_slot = true;
  site.desk->who_answer.holders = {"10.0.0.9:5152"};
  site.desk->recall_answer.known = true;
  site.desk->recall_answer.digest = unit_name().blob.digest;
  site.desk->recall_answer.size = 12;
  site.desk->recall_answer.media_type = "application/vnd.oci.image.index.v1+json";
  const auto probe = site.wait<ProbeAnswer>(
      [&](Done<ProbeAnswer> done) { return site.wire->probe(site.to, {unit_name()}, std::move(done)); });
  REQUIRE(probe);
  CHECK(probe->load == 3);
  CHECK(probe->has_slot);
  const auto who = site.wait<WhoAnswer>(
      [&](Done<WhoAnswer> done) { return site.wire->who(site.to, {unit_name().blob}, std::move(done)); });
  REQUIRE(who);
  CHECK(who->holders == site.desk->who_answer.holders);
  const Recall question{"docker.io", "library/nginx", "1.27"};
  const auto recall = site.wait<RecallAnswer>(
      [&](Done<RecallAnswer> done) { return site.wire->recall(site.to, question, std::move(done)); });
  REQUIRE(recall);
  CHECK(recall->known);
  CHECK(recall->digest == unit_name().blob.digest);
  CHECK(site.desk->recalled->reference == "1.27");
  Tell tell;
  tell.done.push_back({unit_name(1), unit_name().blob.digest, true});
  REQUIRE(site.tell(tell));
  REQUIRE(site.desk->told);
  REQUIRE(site.desk->told->done.size() == 1);
  CHECK(site.desk->told->done[0].from_upstream);
  CHECK(site.wire->idle_connections() == 1);  // all of it over one connection
}

TEST_CASE("a unit comes from a finished file, with rights, size and path") {
  WireFixture site;
  const std::string content = noise(9_MiB);
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, content);
  site.desk->source->committed = file_of(site.dir, content);
  site.desk->path = {"10.0.0.5:5152", "10.0.0.6:5152"};
  UnitGet get{unit_name(1), {8_MiB, 9_MiB}, {kAsker, "[fd00::7]:5152"}};
  auto answer = site.get(get);
  REQUIRE(answer);
  CHECK(answer->total == 9_MiB);
  CHECK(answer->range == get.range);
  CHECK(answer->rights == Rights::node);
  CHECK(answer->path == site.desk->path);
  CHECK(site.desk->got->path == get.path);
  const auto body = site.all(*answer->body);
  REQUIRE(body);
  CHECK(*body == content.substr(8_MiB));
  CHECK(site.until([&] { return site.desk->uploads == 0; }));
  CHECK(site.service->streams() == 0);
  CHECK(site.here_traffic.of(site.to.id)->received == 1_MiB);
  CHECK(site.there_traffic.of(kAsker)->sent == 1_MiB);
}

// rules: giving-is-counted
TEST_CASE("how fast a node gives is known after it has given, and told to who asks") {
  struct OneBlob final : Shelf {
    explicit OneBlob(std::shared_ptr<ScriptedSource> s) : source(std::move(s)) {}
    std::optional<Held> held(const BlobName&, ByteRange range) override {
      return Held{true, false, source->content.size(), range.size()};
    }
    Rights rights(const std::string&, const std::string&) override { return Rights::open; }
    Ticket open(const BlobName&, Done<cache::SourcePtr> done) override {
      return source->loop.post([this, done = std::move(done)]() mutable { done(cache::SourcePtr(source)); });
    }
    std::vector<Digest> units(const Digest&) override { return {}; }
    RecallAnswer recall(const Recall&) override { return {}; }
    std::vector<Digest> list(std::optional<Digest>, std::size_t) override { return {}; }
    std::shared_ptr<ScriptedSource> source;
  };
  WireFixture site;
  const std::string content = noise(1_MiB);
  OneBlob shelf(std::make_shared<ScriptedSource>(site.loop, content));
  const bool is_file = GENERATE(true, false);
  shelf.source->here = content.size();
  if (is_file) shelf.source->committed = file_of(site.dir, content);
  const SiteSettings settings;
  SiteMetrics counts(site.metrics);
  Acquaintances acquaintances(settings, counts);
  Speeds speeds;
  const Streams streams(site.loop, acquaintances, speeds, counts);
  const SharePolicy everything = [](const std::string&, const std::string&) { return true; };
  Uploads uploads(site.loop, shelf, streams, acquaintances, speeds, settings, counts, everything);
  site.desk->giving = &uploads;
  const auto rate = [&site] {
    return site.wait<ProbeAnswer>([&](Done<ProbeAnswer> done) {
      return site.wire->probe(site.to, Probe{unit_name()}, std::move(done));
    });
  };
  const auto before = rate();
  REQUIRE(before);
  CHECK(before->rate == 0);
  // It measures by seconds: what is given in a later one ends the first.
  ByteCount given = 0;
  REQUIRE(site.until([&] {
    const auto answer = site.get({unit_name(), {0, content.size()}, {kAsker}});
    REQUIRE(answer);
    REQUIRE(site.all(*answer->body).ok());
    given += content.size();
    const auto told = rate();
    return told && told->rate > 0;
  }));
  CHECK(site.until([&] { return acquaintances.all().at(kAsker).bytes_out == given; }));
}

TEST_CASE("a unit that still grows is cut through as it comes") {
  WireFixture site;
  const std::string content = noise(600'000);
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, content);
  auto answer = site.get({unit_name(), {0, content.size()}, {kAsker}});
  REQUIRE(answer);
  std::string got;
  std::optional<Result<Bytes>> piece;
  for (ByteCount here = 100'000; here <= content.size(); here += 100'000) {
    site.desk->source->grow(here);
    while (got.size() < here) {
      const auto more = site.read(*answer->body);
      REQUIRE(more);
      got += more->view();
    }
    CHECK(got.size() == here);
  }
  CHECK(got == content);
  for (const ByteCount read : site.desk->source->reads) CHECK(read <= 256_KiB);
}

TEST_CASE("a range past the end of a whole blob ends with the blob") {
  WireFixture site;
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(5000));
  site.desk->source->grow(5000);
  auto answer = site.get({unit_name(0, true), {1000, 1_GiB}, {}});
  REQUIRE(answer);
  CHECK(answer->range == ByteRange{1000, 5000});
  CHECK(site.all(*answer->body)->size() == 4000);
}

// rules: no-bytes-are-an-answer
TEST_CASE("no bytes are asked of nobody, and that is an answer") {
  WireFixture site;
  const auto answer = site.get({unit_name(), {0, 0}, {}});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::invalid_request);
  CHECK(site.desk->froms.empty());
}

TEST_CASE("a source that fails breaks the body off short of its length, with FIN") {
  WireFixture site;
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(500'000));
  site.desk->source->grow(100'000);
  auto answer = site.get({unit_name(), {0, 500'000}, {}});
  REQUIRE(answer);
  std::string got;
  while (got.size() < 100'000) got += site.read(*answer->body)->view();
  site.desk->source->fail({Errc::upstream_timeout, "upstream stalled"});
  const auto rest = site.read(*answer->body);
  REQUIRE_FALSE(rest);
  CHECK(rest.error().code == Errc::truncated);
  CHECK(site.until([&] { return site.desk->uploads == 0; }));
}

TEST_CASE("who lets go of a body in the middle ends the upload at the other end") {
  WireFixture site;
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(8_MiB));
  site.desk->source->grow(8_MiB);
  auto answer = site.get({unit_name(), {0, 8_MiB}, {}});
  REQUIRE(answer);
  REQUIRE(site.read(*answer->body));
  CHECK(site.desk->uploads == 1);
  answer->body.reset();
  CHECK(site.until([&] { return site.desk->uploads == 0; }));
  CHECK(site.ask(some_ask()));
}

TEST_CASE("a question that is taken back is not answered") {
  WireFixture site;
  site.desk->is_silent = true;
  bool answered = false;
  Ticket ticket =
      site.wire->get(site.to, {unit_name(), {0, 100}, {}}, [&](Result<UnitAnswer>) { answered = true; });
  REQUIRE(site.until([&] { return site.desk->got.has_value(); }));
  ticket.reset();
  CHECK(site.until([&] { return site.service->streams() == 0; }));
  CHECK_FALSE(answered);
}

TEST_CASE("what a desk refuses comes through as what it is") {
  WireFixture site;
  const std::pair<Errc, Errc> cases[] = {
      {Errc::not_found, Errc::not_found}, {Errc::denied, Errc::denied}, {Errc::overloaded, Errc::overloaded}};
  for (const auto& [said, heard] : cases) {
    site.desk->refusal = Error{said, "the reason"};
    site.desk->refusal->retry_after = 3s;
    const auto answer = site.get({unit_name(), {0, 100}, {}});
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == heard);
    CHECK(answer.error().message.find("the reason") != std::string::npos);
    if (heard == Errc::overloaded) CHECK(answer.error().retry_after == 3s);
  }
}

TEST_CASE("a slow reader holds up nobody") {
  WireFixture site;
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(8_MiB));
  site.desk->source->committed = file_of(site.dir, site.desk->source->content);
  auto slow = site.get({unit_name(), {0, 8_MiB}, {}});
  REQUIRE(slow);  // and is not read
  auto quick = site.get({unit_name(), {0, 8_MiB}, {}});
  REQUIRE(quick);
  CHECK(site.all(*quick->body)->size() == 8_MiB);
  CHECK(site.ask(some_ask()));
  CHECK(site.desk->uploads == 1);
  CHECK(*site.all(*slow->body) == site.desk->source->content);
}

TEST_CASE("twenty-four streams at once come whole, over as many connections") {
  WireFixture site;
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(300'000));
  site.desk->source->committed = file_of(site.dir, site.desk->source->content);
  std::vector<Ticket> tickets;
  std::vector<std::unique_ptr<http::BodyReader>> bodies;
  int failures = 0;
  for (int i = 0; i < 24; ++i) {
    tickets.push_back(site.wire->get(site.to, {unit_name(), {0, 300'000}, {}}, [&](Result<UnitAnswer> got) {
      if (!got) UNSCOPED_INFO(got.error().message);
      got ? bodies.push_back(std::move(got->body)) : void(++failures);
    }));
  }
  REQUIRE(site.until([&] { return bodies.size() + static_cast<std::size_t>(failures) == 24; }));
  CHECK(failures == 0);
  for (auto& body : bodies) CHECK(*site.all(*body) == site.desk->source->content);
  CHECK(site.until([&] { return site.wire->idle_connections() == 24; }));
}

TEST_CASE("a member gets so many streams and no more") {
  PeerServiceLimits limits;
  limits.streams = 2;
  WireFixture site(limits);
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(100'000));
  auto one = site.get({unit_name(), {0, 100'000}, {}});
  auto two = site.get({unit_name(), {0, 100'000}, {}});
  REQUIRE(one);
  REQUIRE(two);
  const auto three = site.get({unit_name(), {0, 100'000}, {}});
  REQUIRE_FALSE(three);
  CHECK(three.error().code == Errc::overloaded);
  CHECK(three.error().retry_after == 1s);
}

TEST_CASE("a member that asks too often is told to wait") {
  PeerServiceLimits limits;
  limits.requests_per_second = 1;
  WireFixture site(limits);
  CHECK(site.ask(some_ask()));
  CHECK(site.ask(some_ask()));
  const auto third = site.ask(some_ask());
  REQUIRE_FALSE(third);
  CHECK(third.error().code == Errc::overloaded);
}

// rules: over-the-bound-is-no-fact
TEST_CASE("a member that asks more than the book can bear is refused, and not told an empty fact") {
  WireFixture site;
  site.desk->patience = 0;
  const auto probe = site.wait<ProbeAnswer>(
      [&](Done<ProbeAnswer> done) { return site.wire->probe(site.to, {unit_name()}, std::move(done)); });
  REQUIRE_FALSE(probe);
  CHECK(probe.error().code == Errc::overloaded);
  const auto who = site.wait<WhoAnswer>(
      [&](Done<WhoAnswer> done) { return site.wire->who(site.to, {unit_name().blob}, std::move(done)); });
  REQUIRE_FALSE(who);
  CHECK(who.error().code == Errc::overloaded);
  CHECK(site.ask(some_ask()));  // of asks and tells the book itself decides
  CHECK(site.desk->froms.size() == 1);
}

TEST_CASE("the upload limit holds for all streams together") {
  WireFixture site;
  site.service->set_upload_limit(400'000);
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(100'000));
  const bool is_file = GENERATE(true, false);
  if (is_file) site.desk->source->committed = file_of(site.dir, site.desk->source->content);
  site.desk->source->grow(100'000);
  auto one = site.get({unit_name(), {0, 100'000}, {}});
  auto two = site.get({unit_name(), {0, 100'000}, {}});
  REQUIRE(one);
  REQUIRE(two);
  const auto begun = std::chrono::steady_clock::now();
  CHECK(*site.all(*one->body) == site.desk->source->content);
  CHECK(*site.all(*two->body) == site.desk->source->content);
  CHECK(std::chrono::steady_clock::now() - begun > 100ms);
}

TEST_CASE("a member whose secret is gone is denied, and its connections end") {
  WireFixture site;
  CHECK(site.ask(some_ask()));
  write_text(site.dir / "next", net::PeerSecret::make());
  ::chmod((site.dir / "next").c_str(), 0600);
  net::PeerIdentitySettings other;
  other.site = "berlin";
  other.secret_file = site.dir / "next";
  site.there->configure(other);
  CHECK(site.until([&] { return site.service->connections() == 0; }));
  const auto answer = site.ask(some_ask());
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::denied);
  CHECK(site.here_traffic.of(site.to.id)->faults == 1);
}

TEST_CASE("a member that is gone is dead at once, and alive when it is back") {
  WireFixture site;
  CHECK(site.ask(some_ask()));
  site.service.emplace(site.loop, *site.there, *site.desk, site.there_traffic, site.metrics);
  site.listener->stop();
  const auto dead = site.ask(some_ask());
  REQUIRE_FALSE(dead);
  CHECK(dead.error().code == Errc::upstream_unreachable);
  REQUIRE(site.listener->listen(site.to.address));
  CHECK(site.ask(some_ask()));
}

TEST_CASE("a member that died silently costs its time once, not once for each idle connection") {
  HttpWireSettings settings = WireFixture::patient();
  settings.answer = 1s;
  WireFixture site({}, settings);
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(1000));
  site.desk->source->grow(1000);
  {
    auto one = site.get({unit_name(), {0, 1000}, {}});
    auto two = site.get({unit_name(), {0, 1000}, {}});
    REQUIRE(site.all(*one->body));
    REQUIRE(site.all(*two->body));
  }
  CHECK(site.until([&] { return site.wire->idle_connections() == 2; }));
  site.desk->is_silent = true;
  const auto silent = site.get({unit_name(), {0, 1000}, {}});
  REQUIRE_FALSE(silent);
  CHECK(silent.error().code == Errc::upstream_timeout);
  CHECK(site.wire->idle_connections() == 0);
}

TEST_CASE("an answer that does not come is given up in time") {
  HttpWireSettings settings = WireFixture::patient();
  settings.answer = 200ms;
  WireFixture site({}, settings);
  site.desk->is_silent = true;
  const auto answer = site.get({unit_name(), {0, 100}, {}});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_timeout);
}

TEST_CASE("a member that calls itself by another name is noticed, not refused") {
  WireFixture site;
  site.there->set_own("10.0.0.77:5152");
  CHECK(site.ask(some_ask()));
  CHECK(site.here_traffic.of(site.to.id)->calls_itself == "10.0.0.77:5152");
}

TEST_CASE("a member whose own name changes goes on under the new one") {
  WireFixture site;
  CHECK(site.ask(some_ask()));
  site.here->set_own("127.0.0.44:5152");
  CHECK(site.ask(some_ask()));
  CHECK(site.desk->froms == std::vector<std::string>{kAsker, "127.0.0.44:5152"});
}

}  // namespace layerd::test
