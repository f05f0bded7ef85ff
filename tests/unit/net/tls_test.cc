// TLS over streams: what is verified, how failures are told apart, sessions, bulk data.
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <thread>

#include <fcntl.h>

#include "proxy/net/address.h"
#include "tests/unit/net/tls_site.h"

using namespace layerd;
using namespace layerd::test;

TEST_CASE("a certificate of a configured authority for the dialled name is accepted, with SNI") {
  Site site;
  TlsServer server(site.served({.names = {"DNS:registry.test"}}), say_hello);
  auto stream = site.dial(server.port(), site.trusting());
  REQUIRE(stream);
  CHECK((*stream)->tls_version() == "TLSv1.3");
  CHECK(site.read_all(**stream) == "hello");
  CHECK(server.last_sni() == "registry.test");
}

TEST_CASE("a certificate for another name is refused with both names in the sentence") {
  Site site;
  TlsServer server(site.served({.common_name = "registry.test", .names = {"DNS:*.github.io", "IP:10.0.0.1"}}),
                   say_hello);
  const Error error = failure(site, server.port(), site.trusting());
  CHECK(error.diagnosis == "tls_name_mismatch");
  CHECK(says(error, "certificate is valid for *.github.io, 10.0.0.1, not registry.test"));
}

TEST_CASE("the common name never counts") {
  Site site;
  TlsServer server(site.served({.common_name = "registry.test"}), say_hello);
  CHECK(failure(site, server.port(), site.trusting()).diagnosis == "tls_name_mismatch");
}

TEST_CASE("a numeric host is verified by its address and gets no SNI") {
  Site site;
  TlsServer good(site.served({.names = {"IP:127.0.0.1"}}), say_hello);
  auto stream = site.dial(good.port(), site.trusting(), "127.0.0.1");
  REQUIRE(stream);
  CHECK(site.read_all(**stream) == "hello");
  CHECK(good.last_sni().empty());
  TlsServer bad(site.served({.names = {"DNS:127.0.0.1"}}), say_hello);
  CHECK(failure(site, bad.port(), site.trusting(), "127.0.0.1").diagnosis == "tls_name_mismatch");
}

TEST_CASE("server_name replaces the dialled name for SNI and verification") {
  Site site;
  TlsServer server(site.served({.names = {"DNS:inner.test"}}), say_hello);
  TlsSettings settings = site.trusting();
  settings.server_name = "inner.test";
  auto stream = site.dial(server.port(), settings);
  REQUIRE(stream);
  CHECK(site.read_all(**stream) == "hello");
  CHECK(server.last_sni() == "inner.test");
}

// rules: tls-verified
TEST_CASE("every way a certificate can be wrong is told apart") {
  Site site;
  SECTION("unknown authority") {
    TlsServer server(site.served({.names = {"DNS:registry.test"}}), say_hello);
    const Error error = failure(site, server.port(), {});
    CHECK(error.diagnosis == "tls_unknown_ca");
    CHECK(says(error, "Site CA"));
  }
  SECTION("self-signed") {
    const Identity self = Identity::make({.common_name = "lonely", .names = {"DNS:registry.test"}});
    TlsServer server({self.certificate, self.key, {}, 0}, say_hello);
    CHECK(failure(site, server.port(), {}).diagnosis == "tls_self_signed");
    write_text(site.dir / "self.crt", self.certificate);
    CHECK(site.dial(server.port(), site.trusting("self.crt")));
  }
  SECTION("expired") {
    TlsServer server(site.served({.names = {"DNS:registry.test"}, .from_days = -30, .to_days = -2}),
                     say_hello);
    const Error error = failure(site, server.port(), site.trusting());
    CHECK(error.diagnosis == "tls_expired");
    CHECK(says(error, "expired on 20"));
  }
  SECTION("not yet valid") {
    TlsServer server(site.served({.names = {"DNS:registry.test"}, .from_days = 2, .to_days = 9}), say_hello);
    const Error error = failure(site, server.port(), site.trusting());
    CHECK(error.diagnosis == "tls_not_yet_valid");
    CHECK(says(error, "clock"));
  }
  SECTION("without its intermediate") {
    const Identity middle =
        Identity::make({.common_name = "Middle CA", .is_authority = true}, &site.authority);
    const Identity leaf = Identity::make({.names = {"DNS:registry.test"}, .names_issuer_url = true}, &middle);
    TlsServer server({leaf.certificate, leaf.key, {}, 0}, say_hello);
    const Error error = failure(site, server.port(), site.trusting());
    CHECK(error.diagnosis == "tls_incomplete_chain");
    CHECK(says(error, "Middle CA"));
    TlsServer whole({leaf.certificate + middle.certificate, leaf.key, {}, 0}, say_hello);
    CHECK(site.dial(whole.port(), site.trusting()));
  }
}

TEST_CASE("insecure_skip_verify takes any certificate") {
  Site site;
  const Identity self = Identity::make({.names = {"DNS:other.test"}, .to_days = 1});
  TlsServer server({self.certificate, self.key, {}, 0}, say_hello);
  TlsSettings settings;
  settings.insecure_skip_verify = true;
  auto stream = site.dial(server.port(), settings);
  REQUIRE(stream);
  CHECK(site.read_all(**stream) == "hello");
}

TEST_CASE("a port that speaks plain HTTP is named as that") {
  Site site;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage storage{};
  const socklen_t length = to_sockaddr({"127.0.0.1", 0, false}, storage);
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&storage), length) == 0);
  REQUIRE(listen(listener, 4) == 0);
  socklen_t size = sizeof storage;
  getsockname(listener, reinterpret_cast<sockaddr*>(&storage), &size);
  bool is_http = true;
  SECTION("HTTP") {}
  SECTION("silence and a FIN") { is_http = false; }
  std::thread plain([&] {
    const int fd = accept(listener, nullptr, nullptr);
    char buffer[4096];
    static_cast<void>(recv(fd, buffer, sizeof buffer, 0));
    const char answer[] = "HTTP/1.0 400 Bad Request\r\n\r\n";
    if (is_http) send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
    close(fd);
  });
  const Error error = failure(site, address_of(storage).port, {});
  plain.join();
  close(listener);
  CHECK(error.diagnosis == (is_http ? "scheme_mismatch" : "tls_handshake"));
  CHECK(says(error, is_http ? "plain HTTP" : "closed during the handshake"));
}

TEST_CASE("nothing below TLS 1.2 is spoken") {
  Site site;
  TlsServerSettings old = site.served({.names = {"DNS:registry.test"}});
  old.most_version = TLS1_1_VERSION;
  TlsServer server(old, say_hello);
  const Error error = failure(site, server.port(), site.trusting());
  CHECK(error.diagnosis == "tls_protocol");
  CHECK(says(error, "no TLS version from 1.2 on"));
}

TEST_CASE("the second connection resumes the session of the first") {
  Site site;
  TlsServerSettings settings = site.served({.names = {"DNS:registry.test"}});
  SECTION("TLS 1.3") {}
  SECTION("TLS 1.2") { settings.most_version = TLS1_2_VERSION; }
  TlsServer server(settings, say_hello);
  for (int i = 0; i < 3; ++i) {
    auto stream = site.dial(server.port(), site.trusting());
    REQUIRE(stream);
    CHECK(site.read_all(**stream) == "hello");
  }
  CHECK(server.handshakes() == 3);
  CHECK(server.resumed() == 2);
}

// rules: reports-by-full-handshakes
TEST_CASE("a dial reports the chain it met and the authority that counted") {
  Site site;
  site.report = std::make_shared<DialReport>();
  const Identity middle = Identity::make({.common_name = "Middle CA", .is_authority = true}, &site.authority);
  const Identity leaf =
      Identity::make({.common_name = "leaf", .names = {"DNS:registry.test", "IP:10.1.1.1"}}, &middle);
  TlsServer server({leaf.certificate + middle.certificate, leaf.key, {}, 0}, say_hello);
  const auto& tls = site.report->tls;
  SECTION("accepted") {
    REQUIRE(site.dial(server.port(), site.trusting()));
    REQUIRE(tls);
    CHECK(tls->verdict == PeerCertificates::Verdict::trusted);
    CHECK(tls->version == "TLSv1.3");
    REQUIRE(tls->authority);
    CHECK(tls->authority->subject == "Site CA");
    CHECK(tls->authority_source == (site.dir / "ca.crt"));
    CHECK(site.report->connected->port == server.port());
    CHECK(site.report->addresses.size() == 1);
  }
  SECTION("accepted, with a session of earlier that others resume") {
    const auto report = std::exchange(site.report, nullptr);
    for (int i = 0; i < 2; ++i) {
      auto stream = site.dial(server.port(), site.trusting());
      REQUIRE(stream);
      CHECK(site.read_all(**stream) == "hello");
    }
    REQUIRE(server.resumed() == 1);
    site.report = report;
    REQUIRE(site.dial(server.port(), site.trusting()));
    CHECK(server.resumed() == 1);
    REQUIRE(tls);
    CHECK(tls->verdict == PeerCertificates::Verdict::trusted);
    REQUIRE(tls->authority);
    CHECK(tls->authority_source == (site.dir / "ca.crt"));
  }
  SECTION("refused") {
    failure(site, server.port(), {});
    REQUIRE(tls);
    CHECK(tls->verdict == PeerCertificates::Verdict::refused);
    CHECK(tls->version.empty());
    CHECK_FALSE(tls->authority);
  }
  SECTION("not looked at") {
    TlsSettings settings;
    settings.insecure_skip_verify = true;
    REQUIRE(site.dial(server.port(), settings));
    REQUIRE(tls);
    CHECK(tls->verdict == PeerCertificates::Verdict::unchecked);
  }
  CHECK(tls->name == "registry.test");
  REQUIRE(tls->chain.size() == 2);
  CHECK(tls->chain[0].subject == "leaf");
  CHECK(tls->chain[0].issuer == "Middle CA");
  CHECK(tls->chain[0].names == std::vector<std::string>{"registry.test", "10.1.1.1"});
  CHECK(tls->chain[0].not_before < tls->chain[0].not_after);
  CHECK(tls->chain[0].fingerprint.size() == 64);
  CHECK(tls->chain[1].issuer == "Site CA");
}

TEST_CASE("a session is not shared between servers or settings") {
  Site site;
  TlsServer one(site.served({.names = {"DNS:registry.test"}}), say_hello);
  TlsServer two(site.served({.names = {"DNS:registry.test"}}), say_hello);
  TlsSettings skipping;
  skipping.insecure_skip_verify = true;
  for (auto* server : {&one, &two}) {
    auto stream = site.dial(server->port(), skipping);
    REQUIRE(stream);
    site.read_all(**stream);
  }
  auto verified = site.dial(one.port(), site.trusting());
  REQUIRE(verified);
  CHECK(one.resumed() + two.resumed() == 0);
}

TEST_CASE("a client certificate is shown, and its lack told") {
  Site site;
  const Identity mine = Identity::make({.common_name = "node"}, &site.authority);
  write_text(site.dir / "node.crt", mine.certificate);
  write_text(site.dir / "node.key", mine.key);
  TlsServerSettings settings = site.served({.names = {"DNS:registry.test"}});
  settings.client_ca = site.authority.certificate;
  TlsServer server(settings, say_hello);
  TlsSettings with = site.trusting();
  with.cert_file = site.dir / "node.crt";
  with.key_file = site.dir / "node.key";
  auto stream = site.dial(server.port(), with);
  REQUIRE(stream);
  CHECK(site.read_all(**stream) == "hello");
  auto bare = site.dial(server.port(), site.trusting());
  REQUIRE(bare);  // TLS 1.3 tells it with the first read
  std::optional<Error> error;
  Ticket read = (*bare)->read(64, [&](Result<Bytes> bytes) { error = bytes ? Error{} : bytes.error(); });
  REQUIRE(site.until([&] { return error.has_value(); }));
  CHECK(error->diagnosis == "tls_client_certificate");
}

TEST_CASE("files that cannot be used are named") {
  Site site;
  TlsServer server(site.served({.names = {"DNS:registry.test"}}), say_hello);
  const Error error = failure(site, server.port(), site.trusting("absent.crt"));
  CHECK(error.diagnosis == "tls_ca_file");
  CHECK(says(error, "absent.crt"));
  write_text(site.dir / "empty.crt", "no certificate");
  CHECK(failure(site, server.port(), site.trusting("empty.crt")).diagnosis == "tls_ca_file");
}

TEST_CASE("a changed ca_file is read again; a broken one leaves the old") {
  Site site(0s);
  const Identity other = Identity::make({.common_name = "Other CA", .is_authority = true});
  const Identity leaf = Identity::make({.names = {"DNS:registry.test"}}, &other);
  TlsServer server({leaf.certificate, leaf.key, {}, 0}, say_hello);
  CHECK(failure(site, server.port(), site.trusting()).diagnosis == "tls_unknown_ca");
  write_text(site.dir / "ca.crt", site.authority.certificate + other.certificate);
  REQUIRE(site.dial(server.port(), site.trusting()));
  write_text(site.dir / "ca.crt", "garbage");
  CHECK(site.dial(server.port(), site.trusting()));
}

TEST_CASE("megabytes pass in both directions unchanged") {
  Site site;
  const std::size_t size = 8_MiB + 5;
  std::string sent(size, '\0');
  for (std::size_t i = 0; i < size; ++i) sent[i] = static_cast<char>((i * 2654435761u) >> 13);
  std::string received;
  TlsServer server(site.served({.names = {"DNS:registry.test"}}), [&](TlsServer::Line& line) {
    std::vector<char> buffer(64 << 10);
    while (received.size() < size) {
      const std::size_t n = line.read(buffer.data(), buffer.size());
      if (n == 0) return;
      received.append(buffer.data(), n);
    }
    line.write(received.data(), received.size());
  });
  auto stream = site.dial(server.port(), site.trusting());
  REQUIRE(stream);
  bool written = false;
  Ticket write = (*stream)->write(Bytes::copy_of(sent), [&](Result<Ok> ok) { written = ok.ok(); });
  REQUIRE(site.until([&] { return written; }));
  CHECK(site.read_all(**stream) == sent);
}

TEST_CASE("a file leaves over TLS byte-exact") {
  Site site;
  const std::string content(700'001, 'q');
  write_text(site.dir / "blob", content);
  auto file = File::open(site.dir / "blob", O_RDONLY);
  REQUIRE(file);
  std::size_t received = 0;
  TlsServer server(site.served({.names = {"DNS:registry.test"}}), [&](TlsServer::Line& line) {
    char buffer[16384];
    while (received < content.size() - 1) {
      const std::size_t n = line.read(buffer, sizeof buffer);
      if (n == 0) return;
      received += n;
    }
    line.write("got it", 6);
  });
  auto stream = site.dial(server.port(), site.trusting());
  REQUIRE(stream);
  bool sent = false;
  Ticket send =
      (*stream)->send_file(*file, {1, content.size()}, false, [&](Result<Ok> ok) { sent = ok.ok(); });
  REQUIRE(site.until([&] { return sent; }));
  CHECK(site.read_all(**stream) == "got it");
}
