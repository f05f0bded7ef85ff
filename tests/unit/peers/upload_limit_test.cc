// limits.upload among several members, over real sockets.
#include <fcntl.h>

#include <algorithm>
#include <list>

#include "tests/unit/peers/wire_fixture.h"

namespace layerd::test {
namespace {

// Further members that ask the one of the fixture.
struct Asker {
  Asker(WireFixture& site, const std::string& id) {
    net::PeerIdentitySettings trust;
    trust.site = "berlin";
    trust.secret_file = site.dir / "secret";
    identity.emplace(site.loop, site.workers(), trust, id, 50ms);
    REQUIRE(identity->load());
    wire.emplace(site.loop, site.workers(), *identity, traffic, site.metrics);
  }
  void begin(const Member& to, ByteCount size) {
    step = wire->get(to, {unit_name(), {0, size}, {}}, [this](Result<UnitAnswer> answer) {
      REQUIRE(answer);
      body = std::move(answer->body);
    });
  }
  void read() {
    step = body->read(64_KiB, [this](Result<Bytes> bytes) {
      REQUIRE(bytes);
      is_done = bytes->empty();
      text += bytes->view();
      if (!is_done) read();
    });
  }
  Traffic traffic;
  std::optional<net::PeerIdentity> identity;
  std::optional<HttpWire> wire;
  std::unique_ptr<http::BodyReader> body;
  std::string text;
  bool is_done = false;
  Ticket step;
};

}  // namespace

TEST_CASE("the upload limit holds for all members together, and each gets its part") {
  constexpr ByteCount kSize = 1'000'000;
  WireFixture site;
  site.service->set_upload_limit(1'500'000);
  site.desk->source = std::make_shared<ScriptedSource>(site.loop, noise(kSize));
  write_text(site.dir / "blob", site.desk->source->content);
  const int file = ::open((site.dir / "blob").c_str(), O_RDONLY | O_CLOEXEC);
  site.desk->source->committed = std::make_shared<File>(file, "blob");
  std::list<Asker> askers;
  for (const char* id : {"127.0.0.1:5153", "127.0.0.1:5154", "127.0.0.1:5155"})
    askers.emplace_back(site, id).begin(site.to, kSize);
  REQUIRE(site.until([&] {
    return std::all_of(askers.begin(), askers.end(), [](const Asker& one) { return one.body != nullptr; });
  }));
  const auto begun = std::chrono::steady_clock::now();
  for (auto& one : askers) one.read();
  const auto some_done = [&] {
    return std::any_of(askers.begin(), askers.end(), [](const Asker& one) { return one.is_done; });
  };
  REQUIRE(site.until(some_done));
  for (const auto& one : askers) CHECK(one.text.size() > kSize / 4);
  const auto all_done = [&] {
    return std::all_of(askers.begin(), askers.end(), [](const Asker& one) { return one.is_done; });
  };
  REQUIRE(site.until(all_done));
  for (const auto& one : askers) CHECK((one.text == site.desk->source->content));
  // 3 MB at 1.5 MB/s; a limit for each member alone would let them go after two thirds of a second.
  CHECK(std::chrono::steady_clock::now() - begun > 1s);
  for (auto& one : askers) one.step.reset();
}

}  // namespace layerd::test
