// The wall clock steps while members are connected: a node without a battery that gets its time late, or a
// clock that was a year ahead and is set back.
#include "tests/unit/net/peer_site.h"

namespace layerd::test {
namespace {

// The real loop with another wall clock.
class SteppedLoop final : public Loop {
 public:
  explicit SteppedLoop(UvLoop& loop) : loop_(loop) {}
  Duration step{};

  TimePoint now() const override { return loop_.now(); }
  WallTime wall_now() const override { return loop_.wall_now() + step; }
  Ticket post(Callback<void()> task) override { return loop_.post(std::move(task)); }
  void post_detached(Callback<void()> task) override { loop_.post_detached(std::move(task)); }
  Ticket after(Duration wait, const char* what, Callback<void()> task) override {
    return loop_.after(wait, what, std::move(task));
  }
  void post_remote(Callback<void()> task) override { loop_.post_remote(std::move(task)); }
  bool on_loop_thread() const override { return loop_.on_loop_thread(); }

 private:
  UvLoop& loop_;
};

constexpr std::chrono::hours kDay{24};

CertificateWish node(const char* name) { return {.common_name = "node", .names = {name}}; }

// Both ends are there, and the one that listens looks at the stepped clock.
struct SteppedSite {
  PeerSite site;
  SteppedLoop stepped{site.loop};
  ByteStreamPtr stream;

  ~SteppedSite() {  // before the clock that it looks at
    stream.reset();
    site.admitted.clear();
    site.dialer.reset();
    site.listener.reset();
    site.here.reset();
    site.there.reset();
  }
  void meet(PeerIdentitySettings dials, PeerIdentitySettings listens) {
    site.here.emplace(site.loop, site.workers(), std::move(dials), kDials, 50ms);
    site.there.emplace(stepped, site.workers(), std::move(listens), kListens, 50ms);
    REQUIRE(site.here->load());
    REQUIRE(site.there->load());
    site.listener.emplace(site.loop, site.workers(), *site.there, site.metrics,
                          [this](ByteStreamPtr admitted) { site.admitted.push_back(std::move(admitted)); });
    const auto bound = site.listener->listen({"127.0.0.1", 0, false});
    REQUIRE(bound);
    site.address = *bound;
    site.dialer.emplace(site.loop, site.workers(), *site.here, PeerDialerSettings{2s, 4s, {}});
    auto dialed = site.dial();
    REQUIRE(dialed);
    stream = std::move(*dialed);
    site.accepted();
  }
  // Does what is written arrive, some looks at the clock later?
  bool talks() {
    site.pass(200ms);
    stream->write_detached(Bytes::copy_of("still here"));
    const auto got = site.read(*site.admitted.front());
    return got && got->view() == "still here";
  }
};

}  // namespace

TEST_CASE(
    "a clock that jumps behind a certificate's end closes the connection, and set right it admits again") {
  SteppedSite both;
  PeerSite& site = both.site;
  both.meet(site.with_certificate("here", node("DNS:a.nodes.example")),
            site.with_certificate("there", node("DNS:b.nodes.example")));
  both.stepped.step = 10 * kDay;  // they are good for thirty
  CHECK(both.talks());
  both.stepped.step = 40 * kDay;
  const auto got = site.read(*site.admitted.front());
  REQUIRE_FALSE(got);
  CHECK(got.error().diagnosis == "peer_revoked");
  CHECK(says(got.error().message, "expired"));
  both.stepped.step = {};
  site.admitted.clear();
  both.stream.reset();
  auto again = site.dial();
  REQUIRE(again);
  both.stream = std::move(*again);
  site.accepted();
  CHECK(both.talks());
}

TEST_CASE("a clock that steps back, and any step where members have a secret, disturbs no connection") {
  SteppedSite both;
  PeerSite& site = both.site;
  Duration step = -400 * kDay;
  SECTION("certificates, back") {
    both.meet(site.with_certificate("here", node("DNS:a.nodes.example")),
              site.with_certificate("there", node("DNS:b.nodes.example")));
  }
  SECTION("a secret, back") {
    both.meet(site.with_secret("here", site.secret), site.with_secret("there", site.secret));
  }
  SECTION("a secret, ahead") {
    step = 4000 * kDay;
    both.meet(site.with_secret("here", site.secret), site.with_secret("there", site.secret));
  }
  both.stepped.step = step;
  CHECK(both.talks());
}

}  // namespace layerd::test
