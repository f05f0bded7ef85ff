// How a name becomes addresses, server by server, past the cache.
#include "proxy/net/resolver.h"
#include "tests/support/catch.h"
#include "tests/support/fake_dns.h"
#include "tests/support/net_loop.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::net;
using namespace std::chrono_literals;
using namespace layerd::test;

namespace {

struct World : NetLoop {
  TempDir dir;
  FakeDns first, second;
  std::optional<Resolver> resolver;

  void build(const std::string& more = "") {
    write_text(dir / "resolv.conf",
               "nameserver 127.0.0.1\n" + more);  // replaced by the zone below; only its search list counts
    write_text(dir / "hosts", "10.9.8.7 in-file.test\n");
    ResolverSettings settings;
    settings.resolv_conf = dir / "resolv.conf";
    settings.hosts_file = dir / "hosts";
    settings.hosts["fixed.test"] = {{"10.1.1.1", 0, false}};
    settings.zones = {{"", {first.address(), second.address()}}};
    settings.try_timeout = 500ms;
    resolver.emplace(loop, settings);
  }
  DnsReport ask(const std::string& host) {
    std::optional<DnsReport> got;
    auto ticket = resolver->inquire(host, [&](Result<DnsReport> report) { got = std::move(*report); });
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
};

}  // namespace

TEST_CASE("every server is asked, and the first one with a word counts") {
  World world;
  world.build();
  world.first.set("a.test", {.is_silent = true});
  world.second.set("a.test", {{"10.0.0.2", "fd00::2"}});
  const auto report = world.ask("a.test");
  REQUIRE(report.answers.size() == 2);
  CHECK(report.answers[0].server == world.first.address());
  CHECK(report.answers[0].outcome == DnsOutcome::timed_out);
  CHECK_FALSE(report.answers[0].counts);
  CHECK(report.answers[1].outcome == DnsOutcome::found);
  CHECK(report.answers[1].counts);
  CHECK(report.addresses.size() == 2);
  CHECK(report.source == DnsReport::Source::zone);
  CHECK(world.resolver->cached() == 0);
}

TEST_CASE("that a name does not exist is a word that counts, whatever later servers say") {
  World world;
  world.build();
  world.second.set("a.test", {{"10.0.0.2"}});
  const auto report = world.ask("a.test");
  REQUIRE(report.answers.size() == 2);
  CHECK(report.answers[0].outcome == DnsOutcome::not_found);
  CHECK(report.answers[0].counts);
  CHECK(report.answers[1].outcome == DnsOutcome::found);
  CHECK(report.addresses.empty());
}

TEST_CASE("the search list is walked as by a look-up") {
  World world;
  world.build("search corp.test\n");
  world.second.set("nexus.corp.test", {{"10.0.0.3"}});
  world.first.set("nexus.corp.test", {{"10.0.0.2"}});
  const auto report = world.ask("nexus");
  INFO(report.answers.size());
  REQUIRE_FALSE(report.addresses.empty());
  CHECK(report.addresses[0].host == "10.0.0.2");
  CHECK(report.answers.front().name == "nexus.corp.test");
}

TEST_CASE("what needs no DNS says where it is from") {
  World world;
  world.build();
  CHECK(world.ask("fixed.test").source == DnsReport::Source::fixed);
  CHECK(world.ask("in-file.test").source == DnsReport::Source::hosts_file);
  CHECK(world.ask("127.0.0.1").source == DnsReport::Source::numeric);
  CHECK(world.ask("localhost").source == DnsReport::Source::localhost);
  CHECK_FALSE(world.resolver->is_asked_in_dns("fixed.test"));
  CHECK(world.resolver->is_asked_in_dns("a.test"));
  CHECK(world.first.asked("fixed.test") == 0);
}

TEST_CASE("an inquiry that is dropped answers nobody") {
  World world;
  world.build();
  world.first.set("a.test", {.is_silent = true});
  bool called = false;
  {
    auto ticket = world.resolver->inquire("a.test", [&](Result<DnsReport>) { called = true; });
    world.loop.run_once(10ms);
  }
  for (int i = 0; i < 20; ++i) world.loop.run_once(20ms);
  CHECK_FALSE(called);
}
