// GET /v1/peers, and what `layerd peers` is made of.
#include "daemon/peers_json.h"

#include "daemon/admin_api.h"
#include "proxy/net/address.h"
#include "tests/support/catch.h"
#include "tests/support/scripted_client.h"
#include "tests/support/virtual_loop.h"

using namespace layerd;
using namespace layerd::daemon;

namespace {

struct NoNames final : peers::MemberNames {
  explicit NoNames(Loop& l) : loop(l) {}
  Ticket records(const std::string& name, net::DnsType, Done<net::DnsAnswer> done) override {
    return loop.post([name, done = std::move(done)]() mutable {
      done(Error{Errc::upstream_unreachable, name + " does not exist", 0, 0, "dns_not_found", {}});
    });
  }
  Loop& loop;
};

}  // namespace

TEST_CASE("peers are told with who lists them, their figures and what is wrong") {
  test::VirtualLoop loop;
  Workers workers(loop, 1);
  NoNames names(loop);
  test::ScriptedClient client(loop);
  PeersSettings settings;
  settings.listen = ListenAddress{"::", 5152};
  settings.secret_file = "/k";
  settings.members.site = "plant-7";
  settings.members.listen = net::Address{"::", 5152, true};
  settings.members.members = {{"10.0.0.1", 5152, "a"}, {"10.0.0.2", 5152, ""}, {"n3.site", 5152, ""}};
  peers::Members members({loop,
                          workers,
                          names,
                          client,
                          {},
                          {[] {
                             return std::vector<net::Address>{{"10.0.0.1", 0, false}};
                           },
                           [](const net::Address&) { return net::parse_address("10.0.0.1", 0); }}},
                         settings.members);
  loop.run();
  const auto figures = [](const std::string& id) {
    PeerFigures known;
    known.state = "alive";
    known.latency_ms = 0.5;
    known.sent_bytes = id == "10.0.0.2:5152" ? 7 : 0;
    return known;
  };
  const Json json = peers_json(settings, members, "[::]:5152", figures, {"the secret is too short"});
  CHECK(json["self"] == "10.0.0.1:5152");
  CHECK(json["zone"] == "a");
  CHECK(json["trust"] == "secret");
  REQUIRE(json["members"].size() == 2);
  CHECK(json["members"][0]["is_self"] == true);
  CHECK_FALSE(json["members"][0].contains("state"));
  CHECK(json["members"][1]["sent_bytes"] == 7);
  CHECK(json["members"][1]["latency_ms"] == 0.5);
  CHECK(json["members"][1]["sources"][0] == "peers.members");
  CHECK(json["sources"][0]["members"] == 2);
  CHECK(json["complaints"] ==
        Json({"the secret is too short", "peers.members: n3.site:5152: n3.site does not exist"}));
  CHECK(peers_json(settings, members, "", {})["members"][1]["state"] == "unknown");

  // Who is in no list is shown as well, behind the others.
  const auto wrong = [](const std::string& id) {
    PeerFigures known;
    known.wrong_units = id == "10.0.0.9:5152" ? 3 : 0;
    return known;
  };
  const Json rows = peers_json(settings, members, "", wrong, {}, {"10.0.0.9:5152"})["members"];
  REQUIRE(rows.size() == 3);
  CHECK(rows[2]["id"] == "10.0.0.9:5152");
  CHECK(rows[2]["sources"] == Json::array());
  CHECK(rows[2]["is_self"] == false);
  CHECK(rows[2]["wrong_units"] == 3);
  CHECK(rows[1]["wrong_units"] == 0);
}
