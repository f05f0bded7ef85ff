// What HttpWire makes of ends that are no members, of other versions, or die.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/net/address.h"
#include "proxy/net/fd.h"
#include "proxy/peers/peer_text.h"
#include "tests/support/tls_server.h"
#include "tests/unit/peers/wire_fixture.h"

namespace layerd::test {
namespace {

// A member that says what a test wants.
struct OddService final : http::Service {
  std::unique_ptr<http::Handler> serve(http::Exchange& exchange) override {
    exchange.respond(head, body);
    return nullptr;
  }
  void ended(const Summary&) override {}
  http::ResponseHead head;
  std::string body;
};

struct OddEnd : WireFixture {
  OddService odd;
  Metrics unseen;
  std::optional<http::Server> server;
  OddEnd() {
    server.emplace(loop, odd, unseen);
    listener.emplace(loop, workers(), *there, metrics,
                     [this](net::ByteStreamPtr stream) { server->adopt(std::move(stream)); });
    REQUIRE(listener->listen(to.address));
    says(200, "1; id=" + to.id + "; site=berlin", "{}");
  }
  ~OddEnd() {
    wire.reset();
    listener.reset();
    server.reset();
  }
  void says(int status, const std::string& card, std::string text = {}) {
    odd.head = {};
    odd.head.status = status;
    if (!card.empty()) odd.head.headers.add(kPeerHeader, card);
    odd.body = std::move(text);
  }
};

Ask an_ask() {
  Ask ask;
  ask.unit = unit_name();
  return ask;
}

// Ends the connections to `port` as a kernel does whose process was killed with data unread.
int reset_connections_of(std::uint16_t port) {
  int count = 0;
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in local{}, peer{};
    socklen_t length = sizeof local;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &length) != 0) continue;
    length = sizeof peer;
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) continue;
    if (ntohs(local.sin_port) != port) continue;
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    REQUIRE(::connect(fd, &nowhere, sizeof nowhere) == 0);
    ++count;
  }
  return count;
}

}  // namespace

TEST_CASE("a member of another version is told apart from one that talks nonsense") {
  OddEnd site;
  SECTION("by its refusal") { site.says(426, "2; all else is unknown"); }
  SECTION("by its answer") { site.says(200, "2; all else is unknown", "{}"); }
  const auto answer = site.ask(an_ask());
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_protocol);
  CHECK(answer.error().diagnosis == "peer_version");
  CHECK(answer.error().message.find("version 2") != std::string::npos);
}

TEST_CASE("answers that are none are refused") {
  OddEnd site;
  const std::string card = "1; id=" + site.to.id + "; site=berlin";
  SECTION("no member") { site.says(200, "", "{}"); }
  SECTION("no JSON") { site.says(200, card, "hello"); }
  SECTION("another status") { site.says(500, card, "{}"); }
  SECTION("too long") { site.says(200, card, std::string(kMostMessage + 1, ' ')); }
  const auto answer = site.ask(an_ask());
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_protocol);
  CHECK(site.here_traffic.of(site.to.id)->faults == 1);
}

TEST_CASE("bytes that were not asked for are not taken") {
  OddEnd site;
  const std::string card = "1; id=" + site.to.id + "; site=berlin";
  site.says(206, card, std::string(100, 'x'));
  SECTION("elsewhere") { site.odd.head.headers.add("Content-Range", "bytes 100-199/1000"); }
  SECTION("more") { site.odd.head.headers.add("Content-Range", "bytes 0-199/1000"); }
  SECTION("fewer than there are") { site.odd.head.headers.add("Content-Range", "bytes 0-49/1000"); }
  SECTION("nothing said") {}
  SECTION("without a total") { site.odd.head.headers.add("Content-Range", "bytes 0-99/*"); }
  SECTION("all of it") {
    site.odd.head.status = 200;
    site.odd.head.headers.add("Content-Range", "bytes 0-99/1000");
  }
  SECTION("a path that is none") {
    site.odd.head.headers.add("Content-Range", "bytes 0-99/1000");
    site.odd.head.headers.add(kPathHeader, "me");
  }
  const auto answer = site.get({unit_name(), {0, 100}, {}});
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_protocol);
}

TEST_CASE("a stretch that is as asked is taken, rights unknown where none are told") {
  OddEnd site;
  site.says(206, "1; id=" + site.to.id + "; site=berlin", std::string(100, 'x'));
  site.odd.head.headers.add("Content-Range", "bytes 0-99/1000");
  auto answer = site.get({unit_name(), {0, 100}, {}});
  REQUIRE(answer);
  CHECK(answer->rights == Rights::unknown);
  CHECK(*site.all(*answer->body) == std::string(100, 'x'));
}

TEST_CASE("a member that is killed resets its bodies, and its idle connections are not used again") {
  WireFixture site;
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(1_MiB));
  site.desk->source->grow(100'000);
  auto answer = site.get({unit_name(), {0, 1_MiB}, {}});
  REQUIRE(answer);
  REQUIRE(site.ask(an_ask()));
  REQUIRE(site.read(*answer->body));
  CHECK(reset_connections_of(site.to.address.port) == 2);
  for (;;) {  // what had come is there; then the reset
    const auto got = site.read(*answer->body);
    if (got) continue;
    CHECK(got.error().code == Errc::upstream_unreachable);
    break;
  }
  CHECK(site.until([&] { return site.wire->idle_connections() == 0; }));
}

TEST_CASE("a member whose machine is gone is dead after a quarter of a second") {
  HttpWireSettings settings = WireFixture::patient();
  settings.dialer.connect = HttpWireSettings().dialer.connect;
  WireFixture site({}, settings);
  // A listener whose queue is full takes no connection and says nothing.
  net::Fd full(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  REQUIRE(::bind(full.get(), reinterpret_cast<sockaddr*>(&at), length) == 0);
  REQUIRE(::listen(full.get(), 0) == 0);
  REQUIRE(::getsockname(full.get(), reinterpret_cast<sockaddr*>(&at), &length) == 0);
  std::vector<net::Fd> queue;
  for (int i = 0; i < 4; ++i) {
    queue.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    static_cast<void>(::connect(queue.back().get(), reinterpret_cast<sockaddr*>(&at), length));
  }
  site.to.address.port = ntohs(at.sin_port);
  site.to.id = site.to.address.str();
  const auto begun = std::chrono::steady_clock::now();
  const auto answer = site.ask(an_ask());
  const auto took = std::chrono::steady_clock::now() - begun;
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_unreachable);
  CHECK(took >= 240ms);
  CHECK(took < 3s);
}

TEST_CASE("members with certificates ask and answer, each under the id it says") {
  WireFixture site;
  const Identity authority = Identity::make({.common_name = "Site CA", .is_authority = true});
  const auto trust = [&](const std::string& name, std::vector<std::string> names) {
    const Identity made = Identity::make({.common_name = name, .names = std::move(names)}, &authority);
    write_text(site.dir / (name + ".crt"), made.certificate);
    write_text(site.dir / (name + ".key"), made.key);
    write_text(site.dir / "ca.crt", authority.certificate);
    net::PeerIdentitySettings settings;
    settings.site = "berlin";
    settings.cert_file = site.dir / (name + ".crt");
    settings.key_file = site.dir / (name + ".key");
    settings.ca_file = site.dir / "ca.crt";
    settings.names = {"*.nodes.example"};
    return settings;
  };
  site.there->configure(trust("b", {"DNS:b.nodes.example"}));
  const std::string id = "127.0.0.2:5152";  // and the connection comes from 127.0.0.1
  site.here->set_own(id);
  SECTION("a plausible id") {
    site.here->configure(trust("a", {"DNS:a.nodes.example", "IP:127.0.0.2"}));
    REQUIRE(site.ask(an_ask()));
    CHECK(site.desk->froms == std::vector<std::string>{id});
  }
  SECTION("an id that is not the certificate's") {
    site.here->configure(trust("a", {"DNS:a.nodes.example", "IP:10.0.0.9"}));
    const auto answer = site.ask(an_ask());
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::denied);
    CHECK(site.desk->froms.empty());
  }
  SECTION("a name that is not meant") {
    site.here->configure(trust("a", {"DNS:a.printers.example"}));
    const auto answer = site.ask(an_ask());
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::denied);
  }
}

}  // namespace layerd::test
