// Members over the daemon's own resolver and watch of files.
#include "proxy/peers/members.h"

#include <unistd.h>

#include <cstdio>

#include "daemon/file_watch.h"
#include "proxy/net/address.h"
#include "proxy/net/resolver.h"
#include "tests/support/catch.h"
#include "tests/support/fake_dns.h"
#include "tests/support/net_loop.h"
#include "tests/support/scripted_client.h"
#include "tests/support/temp_dir.h"

using namespace layerd;
using namespace layerd::peers;
using namespace layerd::test;

TEST_CASE("a file that kubernetes swaps by a link is read again, on real sockets and files") {
  NetLoop real;
  TempDir folder;
  FakeDns dns;
  dns.set("n2.test", {{"10.0.0.2"}});
  dns.set("_layerd._tcp.site.test",
          {{}, 0, 60, false, false, {{"n3.test", 6000, "10.0.0.3"}, {"n4.test", 6000}}});
  dns.set("n4.test", {{"10.0.0.4"}});
  write_text(folder / "resolv.conf", "nameserver " + dns.address() + "\n");
  write_text(folder / "hosts", "");
  write_text(folder / "one/members", "n2.test\n");
  write_text(folder / "two/members", "10.0.0.9\n");
  REQUIRE(::symlink("one", (folder / "data").c_str()) == 0);
  net::ResolverSettings settings;
  settings.resolv_conf = folder / "resolv.conf";
  settings.hosts_file = folder / "hosts";
  net::Resolver resolver(real.loop, settings);
  ResolverNames names(resolver);
  ScriptedClient api(real.loop);
  MembersSettings wanted;
  wanted.listen = net::Address{"0.0.0.0", 5152, false};
  wanted.members_file = folder / "data/members";
  wanted.dns = DnsMembers{"site.test", 5152};
  Members members({real.loop,
                   real.workers(),
                   names,
                   api,
                   [&](const std::string& path, Callback<void()> changed) {
                     return daemon::watch_file(real.loop, path, std::move(changed));
                   },
                   {[] {
                      return std::vector<net::Address>{{"10.0.0.1", 0, false}};
                    },
                    [](const net::Address&) { return net::parse_address("10.0.0.1", 0); }}},
                  wanted);
  const auto ids = [&] {
    std::string text;
    for (const Member& member : members.list()->all()) text += (text.empty() ? "" : " ") + member.id;
    return text;
  };
  CHECK(real.until([&] { return ids() == "10.0.0.1:5152 10.0.0.2:5152 10.0.0.3:6000 10.0.0.4:6000"; }));
  REQUIRE(::symlink("two", (folder / "next").c_str()) == 0);
  REQUIRE(::rename((folder / "next").c_str(), (folder / "data").c_str()) == 0);
  CHECK(real.until([&] { return ids() == "10.0.0.1:5152 10.0.0.3:6000 10.0.0.4:6000 10.0.0.9:5152"; }));
}
