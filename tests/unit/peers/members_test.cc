#include "proxy/peers/members.h"

#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "proxy/net/address.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/virtual_loop.h"
#include "tests/unit/peers/fake_api.h"

using namespace layerd;
using namespace layerd::peers;
using namespace layerd::test;
using namespace std::chrono_literals;

namespace {

Machine machine_at(const std::string& host) {
  return {
      [host] {
        return std::vector<net::Address>{*net::parse_address("127.0.0.1", 0), *net::parse_address(host, 0)};
      },
      [host](const net::Address&) { return net::parse_address(host, 0); }};
}

// Names by a table; a name that is not there does not exist, one with "down" gets no answer.
struct TableNames final : MemberNames {
  explicit TableNames(Loop& l) : loop(l) {}
  Ticket records(const std::string& name, net::DnsType type, Done<net::DnsAnswer> done) override {
    ++asked[name];
    Result<net::DnsAnswer> result =
        Error{Errc::upstream_unreachable, name + " does not exist", 0, 0, "dns_not_found", {}};
    if (is_down)
      result = Error{Errc::upstream_unreachable, "DNS gave no answer for " + name, 0, 0, "dns_failed", {}};
    if (const auto found = table.find(name); found != table.end() && !is_down) {
      net::DnsAnswer answer{net::DnsOutcome::found, {}, {}, ttl};
      for (const std::string& text : found->second) {
        const auto address = net::parse_address(text, 0);
        if (address && address->is_ipv6 == (type == net::DnsType::aaaa) && type != net::DnsType::srv)
          answer.addresses.push_back(*address);
        if (!address && type == net::DnsType::srv) {
          const auto parsed = net::parse_host_port(text, 0);
          answer.services.push_back({parsed->host, parsed->port, {}});
        }
      }
      if (!answer.addresses.empty() || !answer.services.empty()) result = std::move(answer);
    }
    return loop.post(
        [done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  Loop& loop;
  std::map<std::string, std::vector<std::string>> table;
  std::map<std::string, int> asked;
  std::chrono::seconds ttl{60};
  bool is_down = false;
};

struct Node {
  TempDir folder;
  VirtualLoop loop;
  Workers workers{loop, 1};
  TableNames names{loop};
  FakeApi api{loop};
  std::map<std::string, Callback<void()>*> watches;
  MembersSettings settings;
  std::unique_ptr<Members> members;
  int changes = 0;

  Node() {
    settings.site = "plant-7";
    settings.listen = net::Address{"::", 5152, true};
    settings.state_file = folder / "members.json";
  }
  void start() {
    members.reset();
    members = std::make_unique<Members>(
        Members::Parts{loop, workers, names, api,
                       [this](const std::string& path, Callback<void()> changed) {
                         auto held = std::make_shared<Callback<void()>>(std::move(changed));
                         watches[path] = held.get();
                         return ticket_for([this, path, held] { watches.erase(path); });
                       },
                       machine_at("10.0.0.1")},
        settings);
    members->set_listener([this] { ++changes; });
    pass(0s);
  }
  void pass(Duration time) {
    loop.run();
    loop.advance(time);
    loop.run();
  }
  // Workers are real threads.
  template <class Predicate>
  bool until(Predicate is_so, int most = 3000) {
    for (int i = 0; i < most && !is_so(); ++i) {
      loop.run();
      std::this_thread::sleep_for(1ms);
    }
    return is_so();
  }
  std::string ids() const {
    std::string text;
    for (const Member& member : members->list()->all()) text += (text.empty() ? "" : " ") + member.id;
    return text;
  }
  std::string complaints() const {
    std::string text;
    for (const auto& complaint : members->complaints()) text += complaint + "\n";
    return text;
  }
};

ListedMember listed(const std::string& host, const std::string& zone = "") { return {host, 5152, zone}; }

}  // namespace

TEST_CASE("numeric members are there at once, named ones when DNS answers") {
  Node node;
  node.names.table["n3.site"] = {"fd00::3", "10.0.0.33", "10.0.0.3"};
  node.settings.members = {listed("10.0.0.1"), listed("10.0.0.2", "b"), listed("n3.site", "c"),
                           listed("n4.site")};
  node.start();
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.2:5152 10.0.0.3:5152");
  CHECK(node.members->list()->self() == "10.0.0.1:5152");
  CHECK(node.members->list()->find("10.0.0.3:5152")->zone == "c");
  CHECK(node.members->list()->find("10.0.0.3:5152")->name == "n3.site:5152");
  CHECK(node.complaints() == "peers.members: n4.site:5152: n4.site does not exist\n");
  CHECK(node.changes >= 1);
}

TEST_CASE("a name is asked for again when its TTL has run out, and keeps its address while DNS is down") {
  Node node;
  node.names.ttl = 30s;
  node.names.table["n2.site"] = {"10.0.0.2"};
  node.settings.members = {listed("n2.site")};
  node.start();
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.2:5152");
  node.names.table["n2.site"] = {"10.0.0.22"};
  node.pass(29s);
  CHECK(node.names.asked["n2.site"] == 1);
  node.pass(5s);
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.22:5152");
  node.names.is_down = true;
  node.pass(1h);
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.22:5152");
  CHECK_THAT(node.complaints(), Catch::Contains("its last address 10.0.0.22 counts"));
  CHECK(node.names.asked["n2.site"] < 150);
  node.names.is_down = false;
  node.pass(61s);
  CHECK(node.complaints().empty());
}

TEST_CASE("SRV records name the members with their ports, else the name's own addresses do") {
  Node node;
  node.settings.dns = DnsMembers{"layerd.site", 7000};
  node.names.table["layerd.site"] = {"10.0.0.5", "10.0.0.4", "fd00::4"};
  node.start();
  CHECK(node.ids() == "10.0.0.4:7000 10.0.0.5:7000");
  node.names.table["_layerd._tcp.layerd.site"] = {"n2.site:5152", "n3.site:6000", "n4.site:5152"};
  node.names.table["n2.site"] = {"10.0.0.2"};
  node.names.table["n3.site"] = {"10.0.0.3"};
  node.pass(70s);
  CHECK(node.ids() == "10.0.0.2:5152 10.0.0.3:6000");
  CHECK_THAT(node.complaints(), Catch::Contains("peers.dns: n4.site: n4.site does not exist"));
  node.names.is_down = true;
  node.pass(10min);
  CHECK(node.ids() == "10.0.0.2:5152 10.0.0.3:6000");
  CHECK_THAT(node.complaints(), Catch::Contains("the members it had count"));
}

TEST_CASE("a name that begins with an underscore is one of services only") {
  Node node;
  node.settings.dns = DnsMembers{"_peers._tcp.site", 5152};
  node.names.table["_peers._tcp.site"] = {"n2.site:5152"};
  node.names.table["n2.site"] = {"10.0.0.2"};
  node.start();
  CHECK(node.ids() == "10.0.0.2:5152");
  CHECK(node.names.asked["_layerd._tcp._peers._tcp.site"] == 0);
}

// rules: members-file-read-again
TEST_CASE("a file of members that was not there is read once it is, by no watch as well") {
  Node node;
  node.settings.members_file = node.folder / "members";
  node.start();
  REQUIRE(node.until([&] { return node.complaints().find("cannot open") != std::string::npos; }));
  write_text(node.folder / "members", "10.0.0.2\n");
  node.pass(3s);
  CHECK(node.until([&] { return node.ids() == "10.0.0.1:5152 10.0.0.2:5152"; }));
  CHECK(node.complaints().empty());
  write_text(node.folder / "members", "10.0.0.3\n");
  node.pass(11s);
  CHECK(node.until([&] { return node.ids() == "10.0.0.1:5152 10.0.0.3:5152"; }));
  const int changes = node.changes;
  node.pass(11s);
  node.until([] { return false; }, 50);
  CHECK(node.changes == changes);
}

TEST_CASE("a file of members is read, and again when it is swapped") {
  Node node;
  node.settings.members_file = node.folder / "members";
  node.start();
  CHECK(node.until([&] { return node.complaints().find("cannot open") != std::string::npos; }));
  write_text(node.folder / "members", "10.0.0.2 a\nnonsense line here\n10.0.0.3:6000\n");
  (*node.watches.at(node.settings.members_file))();
  CHECK(node.until([&] { return node.ids() == "10.0.0.1:5152 10.0.0.2:5152 10.0.0.3:6000"; }));
  CHECK_THAT(node.complaints(),
             Catch::Contains("members line 2: \"nonsense line here\"") && !Catch::Contains("cannot open"));
  ::unlink((node.folder / "members").c_str());
  (*node.watches.at(node.settings.members_file))();
  CHECK(node.until([&] { return node.complaints().find("the members it had count") != std::string::npos; }));
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.2:5152 10.0.0.3:6000");
}

// rules: kept-while-silent
TEST_CASE("the last good lists are kept on disk and begun from") {
  Node node;
  node.names.table["n2.site"] = {"10.0.0.2"};
  node.settings.members = {listed("n2.site")};
  node.settings.dns = DnsMembers{"layerd.site", 5152};
  node.names.table["layerd.site"] = {"10.0.0.4"};
  node.start();
  node.pass(3s);
  REQUIRE(
      node.until([&] { return read_text(node.settings.state_file).find("10.0.0.4") != std::string::npos; }));
  struct stat info {};
  REQUIRE(::stat(node.settings.state_file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);

  node.names.is_down = true;
  node.start();
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.2:5152 10.0.0.4:5152");
  CHECK(node.members->sources().at(1).is_kept);
  node.pass(1h);
  CHECK_THAT(read_text(node.settings.state_file), Catch::Contains("10.0.0.4") && Catch::Contains("10.0.0.2"));

  node.settings.site = "plant-8";
  node.start();
  CHECK(node.ids().empty());
}

TEST_CASE("damage in the kept lists is no reason not to begin") {
  Node node;
  write_text(node.settings.state_file, "{]");
  node.settings.members = {listed("10.0.0.2")};
  node.start();
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.2:5152");
}

TEST_CASE("new settings change what they change and leave the rest") {
  Node node;
  node.settings.dns = DnsMembers{"layerd.site", 5152};
  node.names.table["layerd.site"] = {"10.0.0.4"};
  node.settings.members = {listed("10.0.0.2")};
  node.start();
  const int asked = node.names.asked["layerd.site"];
  node.settings.members = {listed("10.0.0.3")};
  node.members->set(node.settings);
  node.pass(0s);
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.3:5152 10.0.0.4:5152");
  CHECK(node.names.asked["layerd.site"] == asked);
  const int changes = node.changes;
  node.members->set(node.settings);
  node.pass(0s);
  CHECK(node.changes == changes);
  node.settings.listen.reset();
  node.members->set(node.settings);
  node.pass(10min);
  CHECK(node.ids().empty());
  CHECK(node.names.asked["layerd.site"] == asked);
}

TEST_CASE("nodes of a cluster are members beside what people list") {
  Node node;
  node.settings.kubernetes = KubernetesMembers{};
  node.settings.kubernetes->host = "10.0.0.100";
  node.settings.members = {listed("10.0.0.2", "people")};
  node.start();
  REQUIRE(node.api.is_asked());
  node.api.answer(200,
                  node_list({{"n1", "10.0.0.1"}, {"n2", "10.0.0.2", "cluster"}, {"n3", "10.0.0.3"}}, "1"));
  node.pass(0s);
  CHECK(node.ids() == "10.0.0.1:5152 10.0.0.2:5152 10.0.0.3:5152");
  CHECK_THAT(node.complaints(), Catch::Contains("zone people by peers.members and in zone cluster"));
  CHECK(node.members->sources().size() == 2);
}

TEST_CASE("members destroyed in the middle of everything leave nothing behind") {
  Node node;
  node.settings.kubernetes = KubernetesMembers{};
  node.settings.members = {listed("n2.site")};
  node.settings.members_file = node.folder / "members";
  node.settings.dns = DnsMembers{"layerd.site", 5152};
  node.start();
  node.members.reset();
  CHECK(node.watches.empty());
  node.pass(1h);
  CHECK(node.loop.timers() == 0);
}
