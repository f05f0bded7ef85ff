// Names to addresses against a scripted DNS server.
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

// The times are so long that no answer of a fake comes late, however busy the machine: a test that wants a
// time to run out shortens it.
struct Names : NetLoop {
  TempDir dir;
  FakeDns dns;
  ResolverSettings settings{.resolv_conf = dir / "resolv.conf",
                            .hosts_file = dir / "hosts",
                            .hosts = {},
                            .zones = {},
                            .try_timeout = 2s,
                            .next_server = 3s,
                            .other_family = 4s,
                            .look_up_timeout = 4s,
                            .look_again = 1s};
  std::optional<Resolver> resolver;

  explicit Names(const std::string& conf = "", const std::string& hosts = "") {
    write_text(dir / "resolv.conf", conf.empty() ? "nameserver " + dns.address() + "\n" : conf);
    write_text(dir / "hosts", hosts);
  }
  Result<std::vector<Address>> lookup(const std::string& host) {
    if (!resolver) resolver.emplace(loop, settings);
    std::optional<Result<std::vector<Address>>> got;
    Ticket ticket =
        resolver->lookup(host, [&](Result<std::vector<Address>> result) { got = std::move(result); });
    REQUIRE_FALSE(got);
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
  std::string hosts_of(const std::string& host) {
    auto found = lookup(host);
    if (!found) return found.error().diagnosis;
    std::string text;
    for (const Address& address : *found) text += (text.empty() ? "" : " ") + address.host;
    return text;
  }
  void pause(Duration wait) {
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(until([&] { return std::chrono::steady_clock::now() - begin > wait; }));
  }
};

}  // namespace

TEST_CASE("both families are asked for and answered together") {
  Names names;
  names.dns.set("r.test", {{"10.1.2.3", "10.1.2.4", "fd00::3"}});
  CHECK(names.hosts_of("R.test") == "fd00::3 10.1.2.3 10.1.2.4");
  CHECK(names.hosts_of("r.test.") == "fd00::3 10.1.2.3 10.1.2.4");
}

TEST_CASE("an address of one family is not kept waiting for long by the silence about the other") {
  Names names;
  names.settings.other_family = 50ms;
  FakeDns::Answer half{{"10.1.2.3"}};
  half.is_silent_on_v6 = true;
  names.dns.set("r.test", half);
  names.settings.try_timeout = 1h;  // it is not the end of a try that brings the answer
  names.settings.look_up_timeout = 1h;
  CHECK(names.hosts_of("r.test") == "10.1.2.3");
}

TEST_CASE("numeric hosts, fixed hosts, the hosts file and localhost need no DNS") {
  Names names("nameserver 127.0.0.1:1\n", "10.9.9.9 box box.lan # comment\n::5 box\nnonsense\n");
  names.settings.hosts["fixed.test"] = {{"10.8.8.8", 0, false}};
  CHECK(names.hosts_of("10.1.1.1") == "10.1.1.1");
  CHECK(names.hosts_of("::1") == "::1");
  CHECK(names.hosts_of("fixed.test") == "10.8.8.8");
  CHECK(names.hosts_of("BOX") == "10.9.9.9 ::5");
  CHECK(names.hosts_of("box.lan.") == "10.9.9.9");
  CHECK(names.hosts_of("localhost") == "::1 127.0.0.1");
  CHECK(names.hosts_of("a.localhost") == "::1 127.0.0.1");
}

TEST_CASE("no such name, no address, SERVFAIL, REFUSED and silence are told apart and name the server") {
  Names names;
  names.settings.try_timeout = 300ms;
  names.dns.set("empty.test", {});
  names.dns.set("broken.test", {{}, 2});
  names.dns.set("refused.test", {{}, 5});
  names.dns.set("silent.test", {.is_silent = true});
  const std::pair<const char*, const char*> table[] = {{"absent.test", "dns_not_found"},
                                                       {"empty.test", "dns_not_found"},
                                                       {"broken.test", "dns_failed"},
                                                       {"refused.test", "dns_failed"},
                                                       {"silent.test", "dns_timeout"}};
  for (const auto& [host, diagnosis] : table) {
    INFO(host);
    auto found = names.lookup(host);
    REQUIRE_FALSE(found);
    CHECK(found.error().code == Errc::upstream_unreachable);
    CHECK(found.error().diagnosis == diagnosis);
    CHECK(found.error().message.find(names.dns.address()) != std::string::npos);
    CHECK(found.error().message.find(host) != std::string::npos);
  }
  CHECK(names.lookup("broken.test").error().message.find("SERVFAIL") != std::string::npos);
  CHECK(names.lookup("refused.test").error().message.find("REFUSED") != std::string::npos);
  CHECK(names.lookup("empty.test").error().message.find("no address") != std::string::npos);
}

TEST_CASE("a truncated answer is fetched whole over TCP") {
  Names names;
  names.dns.set("long.test", {{"10.1.2.3", "10.1.2.4"}, 0, 60, false, true});
  CHECK(names.hosts_of("long.test") == "10.1.2.3 10.1.2.4");
}

TEST_CASE("the search list serves names without a dot; a dot at the end turns it off") {
  Names names;
  write_text(names.dir / "resolv.conf", "search one.test two.test\nnameserver " + names.dns.address() + "\n");
  names.dns.set("nexus.two.test", {{"10.2.2.2"}});
  names.dns.set("a.b", {{"10.3.3.3"}});
  CHECK(names.hosts_of("nexus") == "10.2.2.2");
  CHECK(names.dns.asked("nexus.one.test") == 2);
  CHECK(names.hosts_of("a.b") == "10.3.3.3");
  CHECK(names.dns.asked("a.b.one.test") == 0);
  CHECK(names.hosts_of("nexus.") == "dns_not_found");
}

TEST_CASE("ndots makes names with few dots go through the search list first") {
  ResolvConf conf =
      parse_resolv_conf("search x.test\noptions ndots:2 rotate\nnameserver 10.0.0.1\nnameserver ::1\n");
  CHECK(conf.servers == std::vector<std::string>{"10.0.0.1:53", "[::1]:53"});
  CHECK(candidate_names("a.b", conf) == std::vector<std::string>{"a.b.x.test", "a.b"});
  CHECK(candidate_names("a.b.c", conf) == std::vector<std::string>{"a.b.c", "a.b.c.x.test"});
  CHECK(candidate_names("a.", conf) == std::vector<std::string>{"a"});
  CHECK(parse_resolv_conf("").servers == std::vector<std::string>{"127.0.0.1:53"});
  CHECK(parse_resolv_conf("options ndots:99\n").ndots == 15);
}

TEST_CASE("a positive answer is kept for its TTL, a negative one only for seconds, and asked once by many") {
  Names names;
  names.dns.set("kept.test", {{"10.1.2.3"}, 0, 60});
  CHECK(names.hosts_of("kept.test") == "10.1.2.3");
  CHECK(names.hosts_of("kept.test") == "10.1.2.3");
  CHECK(names.dns.asked("kept.test") == 2);  // A and AAAA
  names.dns.set("r.test", {{"10.1.2.3"}, 0, 1});
  CHECK(names.hosts_of("r.test") == "10.1.2.3");
  names.dns.set("r.test", {{"10.1.2.9"}, 0, 1});
  names.pause(1100ms);
  CHECK(names.hosts_of("r.test") == "10.1.2.9");
  CHECK(names.hosts_of("no.test") == "dns_not_found");
  CHECK(names.hosts_of("no.test") == "dns_not_found");
  CHECK(names.dns.asked("no.test") == 2);
  names.dns.set("many.test", {{"10.4.4.4"}});
  int answers = 0;
  std::vector<Ticket> tickets;
  for (int i = 0; i < 10; ++i) {
    tickets.push_back(
        names.resolver->lookup("many.test", [&](Result<std::vector<Address>> got) { answers += got.ok(); }));
  }
  REQUIRE(names.until([&] { return answers == 10; }));
  CHECK(names.dns.asked("many.test") == 2);
}

TEST_CASE("when no server answers any more an answer that ran out serves on") {
  Names names;
  names.dns.set("r.test", {{"10.1.2.3"}, 0, 1});
  CHECK(names.hosts_of("r.test") == "10.1.2.3");
  names.dns.set("r.test", {{}, 2});
  names.pause(1100ms);
  CHECK(names.hosts_of("r.test") == "10.1.2.3");
  names.dns.set("r.test", {{}, 3});
  CHECK(names.hosts_of("r.test") == "dns_not_found");
}

TEST_CASE("a dead or refusing first server costs little and is asked last afterwards") {
  FakeDns dead;
  dead.set("three.test", {{}, 5});
  Names names;
  names.settings.try_timeout = names.settings.next_server = 200ms;
  write_text(names.dir / "resolv.conf",
             "nameserver " + dead.address() + "\nnameserver " + names.dns.address() + "\n");
  names.dns.set("three.test", {{"10.1.1.1"}});
  const auto ask = [&](const std::string& name) {
    dead.set(name, {.is_silent = true});
    names.dns.set(name, {{"10.1.1.1"}});
    CHECK(names.hosts_of(name) == "10.1.1.1");
    return dead.asked(name);
  };
  CHECK(ask("first.test") > 0);
  // Its silence is known when the two tries of one question have run out.
  int names_asked = 0;
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (ask(std::to_string(++names_asked) + ".test") > 0 && std::chrono::steady_clock::now() < limit)
    names.pause(200ms);
  CHECK(dead.asked(std::to_string(names_asked) + ".test") == 0);
  Names fresh;
  write_text(fresh.dir / "resolv.conf",
             "nameserver " + dead.address() + "\nnameserver " + names.dns.address() + "\n");
  CHECK(fresh.hosts_of("three.test") == "10.1.1.1");
}

TEST_CASE("names under a zone are asked at the zone's servers") {
  FakeDns cluster;
  cluster.set("svc.cluster.local", {{"10.43.0.7"}});
  Names names;
  names.settings.zones = {{"local", {"127.0.0.1:1"}}, {"cluster.local", {cluster.address()}}};
  CHECK(names.hosts_of("svc.cluster.local") == "10.43.0.7");
  CHECK(names.dns.asked("svc.cluster.local") == 0);
}

TEST_CASE("a zone has several servers, IPv6 addresses and answers over TCP") {
  FakeDns refusing, cluster;
  for (const char* name : {"a.cluster.local", "big.cluster.local", "absent.cluster.local"})
    refusing.set(name, {{}, 5});
  cluster.set("a.cluster.local", {{"fd00::7"}});
  cluster.set("big.cluster.local", {{"10.43.0.7", "fd00::8"}, 0, 60, false, true});
  Names names;
  names.settings.zones = {{"cluster.local", {"127.0.0.1:1", refusing.address(), cluster.address()}}};
  names.settings.other_family = 20s;  // however busy the machine is, both answers are waited for
  CHECK(names.hosts_of("a.cluster.local") == "fd00::7");
  CHECK(names.hosts_of("big.cluster.local") == "fd00::8 10.43.0.7");
  // What the zone's servers say of a name is the last word.
  names.dns.set("absent.cluster.local", {{"10.1.1.1"}});
  CHECK(names.hosts_of("absent.cluster.local") == "dns_not_found");
  CHECK(names.dns.asked("absent.cluster.local") == 0);
  // A server that failed before does not make a doubt of the answer: it is kept for a moment.
  const int asked = cluster.asked("absent.cluster.local");
  CHECK(names.hosts_of("absent.cluster.local") == "dns_not_found");
  CHECK(cluster.asked("absent.cluster.local") == asked);
}

TEST_CASE("the zone of every name asks other servers and leaves the search list") {
  FakeDns own, cluster;
  own.set("r.test", {{"10.1.1.1"}});
  own.set("nexus.two.test", {{"10.2.2.2"}});
  cluster.set("a.cluster.local", {{"10.43.0.7"}});
  Names names;
  write_text(names.dir / "resolv.conf", "search two.test\nnameserver " + names.dns.address() + "\n");
  names.settings.zones = {{"", {own.address()}}, {"cluster.local", {cluster.address()}}};
  CHECK(names.hosts_of("r.test") == "10.1.1.1");
  CHECK(names.hosts_of("nexus") == "10.2.2.2");
  CHECK(names.hosts_of("a.cluster.local") == "10.43.0.7");
  CHECK(names.dns.asked("r.test") == 0);
}

TEST_CASE("a search list of our own replaces that of the file and leads into zones") {
  FakeDns cluster;
  cluster.set("nexus.platform.svc.cluster.local", {{"10.43.0.9"}});
  Names names;
  write_text(names.dir / "resolv.conf", "search one.test\nnameserver " + names.dns.address() + "\n");
  names.settings.zones = {{"cluster.local", {cluster.address()}}};
  names.settings.search = {"platform.svc.cluster.local"};
  CHECK(names.hosts_of("nexus") == "10.43.0.9");
  CHECK(names.dns.asked("nexus.one.test") == 0);
  CHECK(names.hosts_of("nexus.") == "dns_not_found");
}

TEST_CASE("new settings count at once, for look-ups under way as well, and keep what they do not touch") {
  FakeDns old_zone, new_zone;
  old_zone.set("a.cluster.local", {{"10.43.0.1"}});
  old_zone.set("waiting.cluster.local", {.is_silent = true});
  old_zone.set("fixed.cluster.local", {.is_silent = true});
  for (const char* name : {"a.cluster.local", "waiting.cluster.local"}) new_zone.set(name, {{"10.43.0.2"}});
  Names names;
  names.dns.set("r.test", {{"10.1.2.3"}});
  names.settings.zones = {{"cluster.local", {old_zone.address()}}};
  CHECK(names.hosts_of("a.cluster.local") == "10.43.0.1");
  CHECK(names.hosts_of("r.test") == "10.1.2.3");
  std::string waiting, fixed;
  const auto first_of = [](std::string& out) {
    return
        [&out](Result<std::vector<Address>> got) { out = got ? got->front().host : got.error().diagnosis; };
  };
  Ticket one = names.resolver->lookup("waiting.cluster.local", first_of(waiting));
  Ticket two = names.resolver->lookup("fixed.cluster.local", first_of(fixed));
  names.settings.zones = {{"cluster.local", {new_zone.address()}}};
  names.settings.hosts["fixed.cluster.local"] = {{"10.8.8.8", 0, false}};
  names.resolver->set(names.settings);
  REQUIRE(names.until([&] { return !waiting.empty() && !fixed.empty(); }));
  CHECK(waiting == "10.43.0.2");
  CHECK(fixed == "10.8.8.8");
  CHECK(names.hosts_of("a.cluster.local") == "10.43.0.2");
  CHECK(names.hosts_of("r.test") == "10.1.2.3");
  CHECK(names.dns.asked("r.test") == 2);  // the answer from before was kept
}

TEST_CASE("changed files are read again") {
  Names names;
  names.settings.look_again = 0s;
  CHECK(names.hosts_of("later.test") == "dns_not_found");
  write_text(names.dir / "hosts", "10.7.7.7 later.test\n");
  CHECK(names.hosts_of("later.test") == "10.7.7.7");
  FakeDns other;
  other.set("moved.test", {{"10.6.6.6"}});
  CHECK(names.hosts_of("moved.test") == "dns_not_found");
  write_text(names.dir / "resolv.conf", "nameserver " + other.address() + "\n");
  CHECK(names.hosts_of("moved.test") == "10.6.6.6");
}

TEST_CASE("what is no host name is refused without asking") {
  Names names;
  for (const std::string& bad : {std::string(""), std::string("a..b"), std::string("a b"),
                                 std::string(64, 'x'), std::string("."), std::string("x\x01y")}) {
    CHECK(names.hosts_of(bad) == "dns_not_found");
  }
}

TEST_CASE("questions come from changing ports, so that an answer is hard to forge") {
  Names names;
  for (int i = 0; i < 4; ++i) {
    const std::string name = "r" + std::to_string(i) + ".test";
    names.dns.set(name, {{"10.1.2.3"}});
    CHECK(names.hosts_of(name) == "10.1.2.3");
  }
  CHECK(names.dns.ports().size() > 1);
}

namespace {
Result<DnsAnswer> records(Names& names, const std::string& host, DnsType type) {
  if (!names.resolver) names.resolver.emplace(names.loop, names.settings);
  std::optional<Result<DnsAnswer>> got;
  Ticket ticket =
      names.resolver->records(host, type, [&](Result<DnsAnswer> result) { got = std::move(result); });
  REQUIRE_FALSE(got);
  REQUIRE(names.until([&] { return got.has_value(); }));
  return std::move(*got);
}
}  // namespace

TEST_CASE("services are answered with their ports, their TTL and the addresses that came along") {
  Names names;
  names.dns.set("_layerd._tcp.site.test", {{},
                                           0,
                                           17,
                                           false,
                                           false,
                                           {{"N1.site.test", 5152, "10.0.0.1"},
                                            {"n2.site.test", 6000},
                                            {"n3.site.test", 5152, "fd00::3"},
                                            {"n4.site.test", 0}}});
  const auto found = records(names, "_layerd._tcp.site.test", DnsType::srv);
  REQUIRE(found.ok());
  CHECK(found->ttl == 17s);
  REQUIRE(found->services.size() == 3);
  CHECK(found->services[0].target == "n1.site.test");
  REQUIRE(found->services[1].target == "n2.site.test");
  CHECK(found->services[1].port == 6000);
  CHECK(found->services[1].addresses.empty());
  REQUIRE(found->services[2].addresses.size() == 1);
  CHECK(found->services[2].addresses[0].str() == "[fd00::3]:5152");
}

TEST_CASE("a name has as many addresses as its message holds when they are a list") {
  Names names;
  FakeDns::Answer many;
  for (int i = 0; i < 100; ++i) many.addresses.push_back("10.1.0." + std::to_string(i));
  many.is_truncated = true;
  names.dns.set("site.test", many);
  const auto found = records(names, "site.test", DnsType::a);
  REQUIRE(found.ok());
  CHECK(found->addresses.size() == 100);
  CHECK(names.lookup("site.test")->size() == 32);
}

TEST_CASE("records that are not there are told from servers that do not answer") {
  Names names("", "10.9.9.9 listed.test\n");
  names.dns.set("a.test", {{"10.0.0.1"}});
  names.dns.set("bad.test", {{}, 2});
  CHECK(records(names, "a.test", DnsType::srv).error().diagnosis == "dns_not_found");
  CHECK(records(names, "a.test", DnsType::aaaa).error().diagnosis == "dns_not_found");
  CHECK(records(names, "none.test", DnsType::a).error().diagnosis == "dns_not_found");
  CHECK(records(names, "bad.test", DnsType::a).error().diagnosis == "dns_failed");
  CHECK(records(names, "no name", DnsType::a).error().diagnosis == "dns_not_found");
  CHECK(records(names, "listed.test", DnsType::a)->addresses.at(0).host == "10.9.9.9");
  CHECK(records(names, "10.2.3.4", DnsType::a)->addresses.at(0).host == "10.2.3.4");
  CHECK(names.dns.asked("listed.test") == 0);
}

TEST_CASE("a list in DNS is asked for at the next server when one fails, and past the cache") {
  FakeDns second;
  Names names;
  write_text(names.dir / "resolv.conf",
             "nameserver " + names.dns.address() + "\nnameserver " + second.address() + "\n");
  names.dns.set("a.test", {{}, 5});
  second.set("a.test", {{"10.0.0.1"}});
  CHECK(records(names, "a.test", DnsType::a)->addresses.size() == 1);
  CHECK(records(names, "a.test", DnsType::a)->addresses.size() == 1);
  CHECK(second.asked("a.test") == 2);
}
