// A TLS server on loopback under the name "registry.test", and a dialer that trusts what a test says.
#pragma once

#include <optional>
#include <string>

#include "proxy/net/net_dialer.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_server.h"

namespace layerd::test {

using namespace std::chrono_literals;
using namespace layerd::net;

// Dials "registry.test", which the fixed hosts lead to the server on loopback.
struct Site : NetLoop {
  TempDir dir;
  Identity authority = Identity::make({.common_name = "Site CA", .is_authority = true});
  std::optional<Resolver> resolver;
  std::optional<TlsContexts> contexts;
  std::optional<NetDialer> dialer;
  std::shared_ptr<DialReport> report;  // of the next dials; null: none is wanted

  explicit Site(Duration look_again = 1s) {
    write_text(dir / "ca.crt", authority.certificate);
    write_text(dir / "resolv.conf", "nameserver 127.0.0.1:1\n");
    write_text(dir / "hosts", "");
    ResolverSettings names{
        .resolv_conf = dir / "resolv.conf", .hosts_file = dir / "hosts", .hosts = {}, .zones = {}};
    names.hosts["registry.test"] = {{"127.0.0.1", 0, false}};
    resolver.emplace(loop, names);
    contexts.emplace(loop, workers(), look_again);
    dialer.emplace(loop, workers(), *resolver, *contexts);
  }
  TlsServerSettings served(CertificateWish wish) {
    const Identity made = Identity::make(wish, &authority);
    return {made.certificate, made.key, {}, 0};
  }
  TlsSettings trusting(const std::string& file = "ca.crt") {
    TlsSettings settings;
    settings.ca_file = dir / file;
    return settings;
  }
  Result<ByteStreamPtr> dial(unsigned short port, TlsSettings settings,
                             const std::string& host = "registry.test") {
    std::optional<Result<ByteStreamPtr>> got;
    DialRequest request{
        host, port, true, std::move(settings), AddressPolicy::any, Deadline::in(loop.now(), 4s), {}};
    request.report = report;
    Ticket ticket = dialer->dial(request, [&](Result<ByteStreamPtr> result) { got = std::move(result); });
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
  std::string read_all(ByteStream& stream) {
    std::string all;
    for (;;) {
      std::optional<Result<Bytes>> got;
      Ticket read = stream.read(64_KiB, [&](Result<Bytes> bytes) { got = std::move(bytes); });
      REQUIRE(until([&] { return got.has_value(); }));
      REQUIRE(got->ok());
      if ((*got)->empty()) return all;
      all += (*got)->view();
    }
  }
};

inline void say_hello(TlsServer::Line& line) { line.write("hello", 5); }

inline Error failure(Site& site, unsigned short port, TlsSettings settings,
                     const std::string& host = "registry.test") {
  auto stream = site.dial(port, std::move(settings), host);
  REQUIRE_FALSE(stream);
  CHECK(stream.error().code == Errc::upstream_unreachable);
  UNSCOPED_INFO(stream.error().message);
  return stream.error();
}

inline bool says(const Error& error, const char* text) {
  return error.message.find(text) != std::string::npos;
}

}  // namespace layerd::test
