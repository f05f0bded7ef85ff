// The dialer: happy eyeballs, the address rules, and which failure is called what.
#include "proxy/net/net_dialer.h"

#include <sys/socket.h>

#include "proxy/net/address.h"
#include "proxy/net/fd.h"
#include "tests/support/catch.h"
#include "tests/support/fake_dns.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::net;
using namespace std::chrono_literals;
using namespace layerd::test;

namespace {

// A listening socket; with a full backlog it is a black hole: connecting to it never ends.
struct Door {
  Fd listener{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::vector<Fd> fillers;
  Address address;
  explicit Door(bool is_black_hole = false) {
    sockaddr_storage storage{};
    socklen_t length = to_sockaddr({"127.0.0.1", 0, false}, storage);
    REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0);
    REQUIRE(listen(listener.get(), is_black_hole ? 0 : 16) == 0);
    getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    address = address_of(storage);
    for (int i = 0; is_black_hole && i < 4; ++i) {
      fillers.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      connect(fillers.back().get(), reinterpret_cast<sockaddr*>(&storage), length);
    }
  }
};

struct World : NetLoop {
  TempDir dir;
  FakeDns dns;
  std::optional<Resolver> resolver;
  std::optional<TlsContexts> contexts;
  std::optional<NetDialer> dialer;
  std::map<std::string, Address> routes;  // where a numeric host leads instead
  std::vector<std::string> attempts;

  World() {
    write_text(dir / "resolv.conf", "nameserver " + dns.address() + "\n");
    write_text(dir / "hosts", "");
    resolver.emplace(loop, ResolverSettings{.resolv_conf = dir / "resolv.conf",
                                            .hosts_file = dir / "hosts",
                                            .hosts = {},
                                            .zones = {},
                                            .try_timeout = 2s,
                                            .next_server = 3s,
                                            .other_family = 4s,
                                            .look_up_timeout = 4s,
                                            .look_again = 1s});
    contexts.emplace(loop, workers());
    DialerSettings settings;
    settings.next_address = 50ms;
    settings.route = [this](const Address& address) {
      attempts.push_back(address.host);
      const auto found = routes.find(address.host);
      return found == routes.end() ? address : found->second;
    };
    dialer.emplace(loop, workers(), *resolver, *contexts, std::move(settings));
  }
  Result<ByteStreamPtr> dial(const std::string& host, std::uint16_t port, AddressPolicy policy,
                             Duration wait = 3s) {
    std::optional<Result<ByteStreamPtr>> got;
    DialRequest request{host, port, false, {}, policy, Deadline::in(loop.now(), wait), {}};
    Ticket ticket = dialer->dial(request, [&](Result<ByteStreamPtr> result) { got = std::move(result); });
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
};

}  // namespace

TEST_CASE("a silent first address costs one attempt delay, not a time-out") {
  World world;
  Door good, hole(true);
  world.dns.set("r.test", {{"2606:4700::1", "8.8.8.8"}});
  world.routes["2606:4700::1"] = hole.address;
  world.routes["8.8.8.8"] = good.address;
  auto stream = world.dial("r.test", 80, AddressPolicy::public_only, 2s);
  REQUIRE(stream);
  CHECK(world.attempts == std::vector<std::string>{"2606:4700::1", "8.8.8.8"});
  // The family that won goes first the next time.
  world.attempts.clear();
  REQUIRE(world.dial("r.test", 80, AddressPolicy::public_only));
  CHECK(world.attempts == std::vector<std::string>{"8.8.8.8"});
}

TEST_CASE("a refused address is followed by the next at once, families in turns") {
  World world;
  Door good;
  Address refusing = Door().address;
  world.dns.set("r.test", {{"2606:4700::1", "2606:4700::2", "8.8.8.8", "8.8.4.4"}});
  for (const char* host : {"2606:4700::1", "2606:4700::2", "8.8.8.8"}) world.routes[host] = refusing;
  world.routes["8.8.4.4"] = good.address;
  REQUIRE(world.dial("r.test", 80, AddressPolicy::public_only));
  CHECK(world.attempts == std::vector<std::string>{"2606:4700::1", "8.8.8.8", "2606:4700::2", "8.8.4.4"});
}

TEST_CASE("connect failures are told apart") {
  World world;
  const Address refusing = Door().address;
  auto refused = world.dial("127.0.0.1", refusing.port, AddressPolicy::any);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().diagnosis == "connect_refused");
  CHECK(refused.error().message.find(refusing.str()) != std::string::npos);
  Door hole(true);
  auto late = world.dial("127.0.0.1", hole.address.port, AddressPolicy::any, 100ms);
  REQUIRE_FALSE(late);
  CHECK(late.error().diagnosis == "connect_timeout");
  CHECK(late.error().message.find(hole.address.str()) != std::string::npos);
  auto unknown = world.dial("absent.test", 80, AddressPolicy::any);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().diagnosis == "dns_not_found");
}

// rules: private-refused
TEST_CASE("a name nobody configured is not dialled at an inside address, and the sentence gives the remedy") {
  World world;
  world.dns.set("harbor.corp", {{"10.1.2.3"}});
  auto refused = world.dial("harbor.corp", 80, AddressPolicy::public_only);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::refused_by_policy);
  CHECK(refused.error().diagnosis == "address_not_allowed");
  CHECK(refused.error().message ==
        "harbor.corp resolves to 10.1.2.3 and is not configured; add configs: {harbor.corp: {}}");
  for (const char* host :
       {"127.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "0.0.0.0", "localhost"}) {
    INFO(host);
    auto numeric = world.dial(host, 5000, AddressPolicy::public_only);
    REQUIRE_FALSE(numeric);
    CHECK(numeric.error().diagnosis == "address_not_allowed");
  }
  CHECK(world.attempts.empty());
}

TEST_CASE(
    "where a configured registry leads may be of the site, never of this machine, its links or its cloud") {
  World world;
  Door good;
  world.dns.set("storage.corp", {{"10.1.2.3"}});
  world.routes["10.1.2.3"] = good.address;
  CHECK(world.dial("storage.corp", 80, AddressPolicy::site));
  for (const char* host :
       {"127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", "0.0.0.0",
        "::", "100.100.100.200", "fd00:ec2::254", "168.63.129.16", "224.0.0.1"}) {
    INFO(host);
    auto refused = world.dial(host, 5000, AddressPolicy::site);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().diagnosis == "address_not_allowed");
    CHECK(refused.error().message.find("add configs: {") != std::string::npos);
  }
  CHECK(world.attempts == std::vector<std::string>{"10.1.2.3"});
}

TEST_CASE("the rule is applied to the address connected to, at each dial: rebinding does not help") {
  World world;
  Door good;
  world.dns.set("evil.test", {{"8.8.8.8"}, 0, 1});
  world.routes["8.8.8.8"] = good.address;
  REQUIRE(world.dial("evil.test", 80, AddressPolicy::public_only));
  world.dns.set("evil.test", {{"127.0.0.1"}, 0, 1});
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE(world.until([&] { return std::chrono::steady_clock::now() - begin > 1050ms; }));
  auto refused = world.dial("evil.test", 80, AddressPolicy::public_only);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().diagnosis == "address_not_allowed");
}

TEST_CASE("of a name with inside and public addresses only the public ones are tried") {
  World world;
  Door good;
  world.dns.set("mixed.test", {{"127.0.0.1", "10.0.0.1", "8.8.8.8"}});
  world.routes["8.8.8.8"] = good.address;
  REQUIRE(world.dial("mixed.test", 80, AddressPolicy::public_only));
  CHECK(world.attempts == std::vector<std::string>{"8.8.8.8"});
}

// rules: own-listeners
TEST_CASE("our own listeners are dialled for nobody, under whatever name") {
  World world;
  Door door;
  world.dialer->set_listeners({{"127.0.0.1", door.address.port, false}});
  for (const char* host : {"127.0.0.1", "localhost", "::ffff:127.0.0.1", "0.0.0.0"}) {
    INFO(host);
    auto refused = world.dial(host, door.address.port, AddressPolicy::any);
    if (refused) continue;
    CHECK((refused.error().diagnosis == "address_not_allowed" ||
           refused.error().diagnosis == "connect_refused"));
  }
  auto refused = world.dial("127.0.0.1", door.address.port, AddressPolicy::any);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find("layerd itself") != std::string::npos);
  world.dialer->set_listeners({{"::", door.address.port, true}});
  CHECK_FALSE(world.dial("127.0.0.1", door.address.port, AddressPolicy::any));
  world.dialer->set_listeners({});
  CHECK(world.dial("127.0.0.1", door.address.port, AddressPolicy::any));
}

TEST_CASE("a dropped dial closes what it had begun") {
  World world;
  Door hole(true);
  {
    DialRequest request{"127.0.0.1", hole.address.port, false, {}, AddressPolicy::any, Deadline::never(), {}};
    Ticket ticket = world.dialer->dial(request, [](Result<ByteStreamPtr>) { FAIL("taken back"); });
    for (int i = 0; i < 3; ++i) world.loop.run_once(5ms);
  }
  for (int i = 0; i < 3; ++i) world.loop.run_once(5ms);
  for (const auto& row : world.loop.ledger().rows()) CHECK(std::string_view(row.what) == "run_once");
}
