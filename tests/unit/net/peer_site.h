// Two members of a site on loopback: one listens, one dials; each with files of its own.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "proxy/net/peer_dialer.h"
#include "proxy/net/peer_listener.h"
#include "proxy/net/peer_stream.h"
#include "tests/support/catch.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_server.h"

namespace layerd::test {

using namespace std::chrono_literals;
using namespace layerd::net;

inline constexpr const char* kListens = "127.0.0.2:5152";
inline constexpr const char* kDials = "127.0.0.1:5152";

struct PeerSite : NetLoop {
  TempDir dir;
  Metrics metrics;
  Identity authority = Identity::make({.common_name = "Site CA", .is_authority = true});
  std::string secret = PeerSecret::make();
  std::optional<PeerIdentity> here, there;  // here dials, there listens
  std::optional<PeerListener> listener;
  std::optional<PeerDialer> dialer;
  std::vector<ByteStreamPtr> admitted;
  Address address;

  ~PeerSite() {
    admitted.clear();
    dialer.reset();
    listener.reset();
    here.reset();
    there.reset();
  }

  void write_secret(const std::string& name, const std::string& text, mode_t mode = 0600) {
    write_text(dir / (name + ".new"), text);
    REQUIRE(::chmod((dir / (name + ".new")).c_str(), mode) == 0);
    REQUIRE(::rename((dir / (name + ".new")).c_str(), (dir / name).c_str()) == 0);
  }
  PeerIdentitySettings with_secret(const std::string& name, const std::string& text) {
    write_secret(name, text);
    PeerIdentitySettings settings;
    settings.site = "berlin";
    settings.secret_file = dir / name;
    return settings;
  }
  PeerIdentitySettings with_certificate(const std::string& name, CertificateWish wish,
                                        std::vector<std::string> names = {"*.nodes.example"}) {
    const Identity made = Identity::make(wish, &authority);
    write_text(dir / (name + ".crt"), made.certificate);
    write_text(dir / (name + ".key"), made.key);
    write_text(dir / (name + ".ca"), authority.certificate);
    PeerIdentitySettings settings;
    settings.site = "berlin";
    settings.cert_file = dir / (name + ".crt");
    settings.key_file = dir / (name + ".key");
    settings.ca_file = dir / (name + ".ca");
    settings.names = std::move(names);
    return settings;
  }

  void start(PeerIdentitySettings dials, PeerIdentitySettings listens, PeerListenerLimits limits = {},
             const char* dials_as = kDials) {
    here.emplace(loop, workers(), std::move(dials), dials_as, 50ms);
    there.emplace(loop, workers(), std::move(listens), kListens, 50ms);
    REQUIRE(here->load());
    REQUIRE(there->load());
    listener.emplace(
        loop, workers(), *there, metrics,
        [this](ByteStreamPtr stream) { admitted.push_back(std::move(stream)); }, limits);
    const auto bound = listener->listen({"127.0.0.1", 0, false});
    REQUIRE(bound);
    address = *bound;
    dialer.emplace(loop, workers(), *here, PeerDialerSettings{2s, 4s, {}});  // the machine may be busy
  }
  // Both with the same secret.
  void start() { start(with_secret("here", secret), with_secret("there", secret)); }

  Result<ByteStreamPtr> dial() {
    std::optional<Result<ByteStreamPtr>> got;
    DialRequest request;
    request.host = address.host;
    request.port = address.port;
    Ticket ticket = dialer->dial(request, [&](Result<ByteStreamPtr> result) { got = std::move(result); });
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
  Error failure() {
    auto stream = dial();
    REQUIRE_FALSE(stream);
    UNSCOPED_INFO(stream.error().message);
    return stream.error();
  }
  void pass(Duration time) {
    bool is_over = false;
    Ticket timer = loop.after(time, "test", [&is_over] { is_over = true; });
    REQUIRE(until([&is_over] { return is_over; }));
  }
  // The end of a stream: what its read answers.
  Result<Bytes> read(ByteStream& stream) {
    std::optional<Result<Bytes>> got;
    Ticket ticket = stream.read(64_KiB, [&](Result<Bytes> bytes) { got = std::move(bytes); });
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
  ByteStream& accepted(std::size_t at = 0) {
    REQUIRE(until([&] { return admitted.size() > at; }));
    return *admitted[at];
  }
  bool counts(const std::string& why, const char* family = "layerd_peers_refused_total") {
    return until([&] {
      return metrics.text().find(std::string(family) + "{why=\"" + why + "\"}") != std::string::npos;
    });
  }
};

inline bool says(const std::string& message, const std::string& text) {
  return message.find(text) != std::string::npos;
}

}  // namespace layerd::test
