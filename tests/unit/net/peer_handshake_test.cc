// Members meet: by secrets and by certificates, and everybody who is none of them.
#include <arpa/inet.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "proxy/net/address.h"
#include "tests/unit/net/peer_site.h"

namespace layerd::test {
namespace {

Fd knock(const Address& address, std::string_view first = {}) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const socklen_t length = to_sockaddr(address, storage);
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0);
  if (!first.empty())
    REQUIRE(::send(fd.get(), first.data(), first.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(first.size()));
  return fd;
}

bool is_closed(PeerSite& site, const Fd& fd) {
  return site.until([&] {
    char byte;
    const ssize_t got = ::recv(fd.get(), &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN);
  });
}

CertificateWish node(const char* name) { return {.common_name = "node", .names = {name}}; }

}  // namespace

TEST_CASE("members with the same secret meet, know each other's name and talk") {
  PeerSite site;
  site.start();
  auto stream = site.dial();
  REQUIRE(stream);
  ByteStream& other = site.accepted();
  REQUIRE(other.card());
  CHECK(other.card()->id == kDials);
  CHECK(other.card()->site == "berlin");
  CHECK(other.card()->version == kPeerVersion);
  CHECK_FALSE(other.card()->by_certificate);
  CHECK(other.tls_version() == "TLSv1.3");
  (*stream)->write_detached(Bytes::copy_of("hello"));
  const auto got = site.read(other);
  REQUIRE(got);
  CHECK(got->view() == "hello");
  CHECK(site.listener->shaking() == 0);
}

TEST_CASE("a member with another secret is told so and is not admitted") {
  PeerSite site;
  site.start(site.with_secret("here", PeerSecret::make()), site.with_secret("there", site.secret));
  const Error error = site.failure();
  CHECK(error.code == Errc::denied);
  CHECK(error.diagnosis == "peer_other_secret");
  CHECK(says(error.message, site.here->describe().substr(12, 16)));
  CHECK(site.admitted.empty());
  CHECK(site.counts("peer_other_secret"));
}

TEST_CASE("a second secret is accepted, so that a new one can be handed out before it is offered") {
  PeerSite site;
  const std::string next = PeerSecret::make();
  site.start(site.with_secret("here", next), site.with_secret("there", site.secret + "\n" + next));
  CHECK(site.dial());
  site.accepted();
}

TEST_CASE("a removed secret closes its connections, at both ends") {
  PeerSite site;
  const std::string next = PeerSecret::make();
  site.start(site.with_secret("here", site.secret + "\n" + next),
             site.with_secret("there", site.secret + "\n" + next));
  auto stream = site.dial();
  REQUIRE(stream);
  ByteStream& other = site.accepted();
  std::optional<Result<Bytes>> here, there;
  Ticket one = (*stream)->read(100, [&](Result<Bytes> got) { here = std::move(got); });
  Ticket two = other.read(100, [&](Result<Bytes> got) { there = std::move(got); });
  site.write_secret("there", next);
  REQUIRE(site.until([&] { return here && there; }));
  REQUIRE_FALSE(*there);
  CHECK(says(there->error().message, "was removed"));
  REQUIRE(*here);
  CHECK((*here)->empty());  // FIN
  CHECK(site.failure().diagnosis == "peer_other_secret");
  site.write_secret("here", next);
  site.pass(60ms);
  CHECK(site.dial());
}

TEST_CASE("a file of secrets that went bad changes nothing but what is said of it") {
  PeerSite site;
  site.start();
  site.write_secret("there", "not a secret!");
  site.pass(60ms);
  CHECK(site.dial());
  CHECK(says(site.there->fault(), "neither base64 nor hex"));
  site.write_secret("there", site.secret);
  site.pass(60ms);
  CHECK(site.dial());
  CHECK(site.there->fault().empty());
}

TEST_CASE("our own greeting sent back to us is refused") {
  PeerSite site;
  site.start(site.with_secret("here", site.secret), site.with_secret("there", site.secret), {}, kListens);
  const Error error = site.failure();
  CHECK(error.code == Errc::denied);
  CHECK(error.diagnosis == "peer_not_admitted");
  CHECK(site.counts("peer_is_ourselves"));
  CHECK(site.admitted.empty());
}

TEST_CASE("a member of another site is refused though it has the secret") {
  PeerSite site;
  auto settings = site.with_secret("here", site.secret);
  settings.site = "munich";
  site.start(settings, site.with_secret("there", site.secret));
  CHECK(site.failure().diagnosis == "peer_not_admitted");
  CHECK(site.counts("peer_other_site"));
}

TEST_CASE("members with certificates of the authority and fitting names meet") {
  PeerSite site;
  site.start(site.with_certificate("here", node("DNS:a.nodes.example")),
             site.with_certificate("there", node("DNS:b.nodes.example")));
  auto stream = site.dial();
  REQUIRE(stream);
  const PeerCard& card = *site.accepted().card();
  CHECK(card.by_certificate);
  CHECK(card.names == std::vector<std::string>{"a.nodes.example"});
  CHECK(card.id.empty());
  CHECK((*stream)->card()->names == std::vector<std::string>{"b.nodes.example"});
}

TEST_CASE("a certificate of the authority with another name is nobody's", "[certificates]") {
  PeerSite site;
  SECTION("of who dials") {
    site.start(site.with_certificate("here", node("DNS:printer.example")),
               site.with_certificate("there", node("DNS:b.nodes.example")));
    auto stream = site.dial();  // of TLS 1.3 who dials hears the refusal when it reads
    REQUIRE(stream);
    const auto got = site.read(**stream);
    REQUIRE_FALSE(got);
    CHECK(got.error().code == Errc::denied);
    CHECK(site.counts("peer_certificate_name"));
  }
  SECTION("of who listens") {
    site.start(site.with_certificate("here", node("DNS:a.nodes.example")),
               site.with_certificate("there", node("DNS:printer.example")));
    const Error error = site.failure();
    CHECK(error.diagnosis == "peer_certificate_name");
    CHECK(says(error.message, "printer.example"));
  }
  CHECK(site.admitted.empty());
}

TEST_CASE("an expired certificate is refused") {
  PeerSite site;
  CertificateWish old = node("DNS:a.nodes.example");
  old.from_days = -10;
  old.to_days = -1;
  site.start(site.with_certificate("here", old), site.with_certificate("there", node("DNS:b.nodes.example")));
  auto stream = site.dial();
  if (stream) CHECK_FALSE(site.read(**stream));
  CHECK(site.counts("peer_certificate"));
  CHECK(site.admitted.empty());
}

TEST_CASE("a certificate of another authority is refused, whatever the system trusts") {
  PeerSite site;
  auto there = site.with_certificate("there", node("DNS:b.nodes.example"));
  site.authority = Identity::make({.common_name = "Other CA", .is_authority = true});
  site.start(site.with_certificate("here", node("DNS:a.nodes.example")), there);
  CHECK(site.failure().diagnosis == "peer_certificate");
  CHECK(site.admitted.empty());
}

TEST_CASE("who has no certificate is refused where certificates count") {
  PeerSite site;
  site.start(site.with_secret("here", site.secret),
             site.with_certificate("there", node("DNS:b.nodes.example")));
  CHECK(site.failure().code == Errc::denied);
  CHECK(site.admitted.empty());
}

TEST_CASE("certificates that do not count any more close their connections") {
  PeerSite site;
  auto there = site.with_certificate("there", node("DNS:b.nodes.example"));
  site.start(site.with_certificate("here", node("DNS:a.nodes.example")), there);
  auto stream = site.dial();
  REQUIRE(stream);
  ByteStream& other = site.accepted();
  const Identity next = Identity::make({.common_name = "Next CA", .is_authority = true});
  SECTION("the authority was taken out") { write_text(site.dir / "there.ca", next.certificate); }
  SECTION("the names were changed") {
    there.names = {"*.other.example"};
    site.there->configure(there);
  }
  const auto got = site.read(other);
  REQUIRE_FALSE(got);
  CHECK(got.error().diagnosis == "peer_revoked");
}

TEST_CASE("a further authority disturbs nobody") {
  PeerSite site;
  site.start(site.with_certificate("here", node("DNS:a.nodes.example")),
             site.with_certificate("there", node("DNS:b.nodes.example")));
  auto stream = site.dial();
  REQUIRE(stream);
  ByteStream& other = site.accepted();
  const Identity next = Identity::make({.common_name = "Next CA", .is_authority = true});
  write_text(site.dir / "there.ca", next.certificate + site.authority.certificate);
  site.pass(60ms);
  REQUIRE(site.dial());
  (*stream)->write_detached(Bytes::copy_of("still here"));
  CHECK(site.read(other));
}

TEST_CASE("certificates without names that count are no configuration") {
  PeerSite site;
  PeerIdentity identity(site.loop, site.workers(),
                        site.with_certificate("a", node("DNS:a.nodes.example"), {}), kDials);
  const auto loaded = identity.load();
  REQUIRE_FALSE(loaded);
  CHECK(says(loaded.error().message, "peers.tls.names"));
}

TEST_CASE("without a secret or certificates there is no port for members") {
  PeerSite site;
  PeerIdentity identity(site.loop, site.workers(), {}, kDials);
  CHECK_FALSE(identity.load());
  PeerListener listener(site.loop, site.workers(), identity, site.metrics, [](ByteStreamPtr) {});
  const auto bound = listener.listen({"127.0.0.1", 0, false});
  REQUIRE_FALSE(bound);
  CHECK(bound.error().code == Errc::config);
  CHECK(says(bound.error().message, "peers.secret_file"));
}

TEST_CASE("plain HTTP, garbage and nothing at all end at the port for members") {
  PeerSite site;
  site.start();
  const Fd http = knock(site.address, "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(is_closed(site, http));
  const Fd garbage = knock(site.address, std::string(300, '\x16'));
  CHECK(is_closed(site, garbage));
  { const Fd nothing = knock(site.address); }
  CHECK(site.counts("peer_no_tls"));
  CHECK(site.admitted.empty());
  CHECK(site.until([&] { return site.listener->shaking() == 0; }));
}

TEST_CASE("half-open handshakes are bounded in number and in time, and keep no member out") {
  PeerSite site;
  site.start(site.with_secret("here", site.secret), site.with_secret("there", site.secret),
             {.shaking = 64, .per_address = 4, .patience = 2s});
  std::vector<Fd> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(knock(site.address, i % 2 ? "\x16\x03\x01" : ""));
    site.loop.run_once(10ms);
    CHECK(site.listener->shaking() <= 4);
  }
  CHECK(site.dial());
  site.accepted();
  CHECK(site.until([&] { return site.listener->shaking() == 0; }));
  for (const Fd& fd : silent) CHECK(is_closed(site, fd));
}

// rules: peer-handshakes-per-second
TEST_CASE("an address that begins handshakes over and over is closed unheard") {
  PeerSite site;
  site.start(site.with_secret("here", site.secret), site.with_secret("there", site.secret),
             {.begun_at_once = 3, .begun_per_second = 0.001});
  std::vector<Fd> knocking;
  for (int i = 0; i < 5; ++i) knocking.push_back(knock(site.address, "\x16\x03\x01"));
  CHECK(site.counts("crowd"));
  CHECK(site.until([&] { return is_closed(site, knocking[4]); }));
  CHECK(site.listener->shaking() == 3);
}

// rules: peer-addresses
TEST_CASE("no member makes us dial what is on this machine alone") {
  PeerSite site;
  site.start(site.with_secret("here", site.secret), site.with_secret("there", site.secret), {},
             "10.0.0.1:5152");
  for (const char* host : {"127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"}) {
    site.address = *parse_address(host, site.address.port);
    const Error error = site.failure();
    CHECK(error.code == Errc::denied);
    CHECK(error.diagnosis == "peer_address");
  }
}

// rules: peer-files-patience
TEST_CASE("handshakes do not stand in line behind a disk that stalls") {
  PeerSite site;
  site.start();
  REQUIRE(site.dial());  // both have read their files
  site.accepted();
  std::atomic<bool> enough{false};
  std::vector<Ticket> busy;
  for (int i = 0; i < 2; ++i)  // as many as there are workers
    busy.push_back(site.workers().run<int>(
        "a stalling disk",
        [&enough]() -> Result<int> {
          while (!enough) std::this_thread::sleep_for(1ms);
          return 0;
        },
        [](Result<int>) {}));
  const auto stream = site.dial();
  enough = true;
  CHECK(stream);
}

TEST_CASE("a member that does not finish its greeting is given up in time") {
  PeerSite site;
  site.start();
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // accepts by its backlog, says nothing
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), length) == 0);
  REQUIRE(::listen(fd.get(), 4) == 0);
  REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &length) == 0);
  site.address.port = ntohs(at.sin_port);
  site.dialer.emplace(site.loop, site.workers(), *site.here, PeerDialerSettings{250ms, 100ms, {}});
  const Error error = site.failure();
  CHECK(error.code == Errc::upstream_timeout);
  CHECK(error.diagnosis == "peer_timeout");
}

TEST_CASE("a member that refuses the connection is unreachable at once") {
  PeerSite site;
  site.start();
  site.listener->stop();
  CHECK(site.failure().code == Errc::upstream_unreachable);
}

TEST_CASE("many dials at once wait for each other instead of crowding the listener") {
  PeerSite site;
  site.start();
  std::vector<Ticket> tickets;
  std::vector<ByteStreamPtr> streams;
  int failures = 0;
  for (int i = 0; i < 24; ++i) {
    DialRequest request;
    request.host = site.address.host;
    request.port = site.address.port;
    tickets.push_back(site.dialer->dial(request, [&](Result<ByteStreamPtr> got) {
      got ? streams.push_back(std::move(*got)) : void(++failures);
    }));
  }
  tickets[5].reset();
  tickets[20].reset();
  REQUIRE(site.until([&] { return streams.size() + static_cast<std::size_t>(failures) == 22; }));
  CHECK(failures == 0);
}

TEST_CASE("an address has no more connections than a member needs") {
  PeerSite site;
  PeerListenerLimits limits;
  limits.per_member = 3;
  site.start(site.with_secret("here", site.secret), site.with_secret("there", site.secret), limits);
  std::vector<ByteStreamPtr> streams;
  for (int i = 0; i < 3; ++i) {
    auto stream = site.dial();
    REQUIRE(stream);
    streams.push_back(std::move(*stream));
  }
  site.accepted(2);
  auto crowded = site.dial();
  if (crowded) {
    const auto got = site.read(**crowded);
    CHECK((!got || got->empty()));
  }
  CHECK(site.admitted.size() == 3);
}

}  // namespace layerd::test
