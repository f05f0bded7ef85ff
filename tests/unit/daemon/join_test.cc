// Invitations and what joining by one changes.
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "daemon/config.h"
#include "daemon/invitation.h"
#include "daemon/join_command.h"
#include "daemon/join_plan.h"
#include "daemon/peers_command.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_server.h"

using namespace layerd;
using namespace layerd::daemon;
using namespace std::chrono_literals;

namespace {

const WallTime kNow{std::chrono::seconds(1'764'500'000)};
constexpr const char* kSecret = "c2VjcmV0IG9mIHRoZSBzaXRlLCAzMiBieXRlcyBsb25nISE=\n";

Invitation invitation() {
  Invitation made;
  made.site = "plant-7";
  made.members = {"10.0.0.1:5152", "10.0.0.2:5152 rack-2"};
  made.secret = kSecret;
  made.expires = kNow + 24h;
  return made;
}

struct Case {
  JoinInput input;
  std::map<std::string, std::string> files;
  Case() {
    input.config_path = "/etc/layerd/config.yaml";
    input.invitation = invitation();
    input.read = [this](const std::string& path) -> Result<std::optional<std::string>> {
      const auto found = files.find(path);
      return found == files.end() ? std::optional<std::string>() : found->second;
    };
  }
  // Makes it so and answers what was planned.
  JoinPlan join() {
    auto plan = plan_join(input);
    INFO((plan ? "" : plan.error().message));
    REQUIRE(plan.ok());
    for (const JoinFile& file : plan->files)
      (file.path == input.config_path ? input.config_text.emplace() : files[file.path]) = file.text;
    return std::move(*plan);
  }
  std::string refusal() {
    auto plan = plan_join(input);
    return plan ? "" : plan.error().message;
  }
  PeersSettings outcome() const {
    const ReadText read = [](const std::string&) -> Result<std::string> { return std::string(); };
    const auto loaded = parse_config("c", *input.config_text, read, {.check_files = false});
    REQUIRE(loaded.ok());
    return loaded.settings->peers;
  }
};

}  // namespace

TEST_CASE("an invitation is read as it was written") {
  Invitation made = invitation();
  made.dns = "layerd.site.internal";
  made.dns_port = 6000;
  const auto read = parse_invitation(invitation_text(made), kNow);
  REQUIRE(read.ok());
  CHECK(read->site == "plant-7");
  CHECK(read->members == made.members);
  CHECK(read->secret == kSecret);
  CHECK(read->dns == made.dns);
  CHECK(read->dns_port == 6000);
  CHECK(read->expires == made.expires);
  CHECK(utc_text(kNow) == "2025-11-30T10:53:20Z");
}

TEST_CASE("an invitation that is old, damaged or none is refused without its secret being shown") {
  const std::string text = invitation_text(invitation());
  const auto expired = parse_invitation(text, kNow + 24h);
  REQUIRE_FALSE(expired.ok());
  CHECK_THAT(expired.error().message,
             Catch::Contains("expired at 2025-12-01T10:53:20Z") && Catch::Contains("layerd peers invite"));
  const auto with = [&](const char* from, const char* to) {
    std::string changed = text;
    changed.replace(changed.find(from), std::string_view(from).size(), to);
    const auto read = parse_invitation(changed, kNow);
    CAPTURE(changed);
    REQUIRE_FALSE(read.ok());
    CHECK_THAT(read.error().message, !Catch::Contains("c2VjcmV0"));
    return read.error().message;
  };
  CHECK_THAT(with("\"layerd_invitation\": 1", "\"layerd_invitation\": 2"),
             Catch::Contains("another version"));
  CHECK_THAT(with("\"layerd_invitation\"", "\"invitation\""), Catch::Contains("no invitation"));
  CHECK_THAT(with("10.0.0.1:5152", "10.0.0.1/5152"), Catch::Contains("members"));
  CHECK_THAT(with("rack-2", "a\\n  b: c"), Catch::Contains("members"));
  CHECK_THAT(with("plant-7", "plant 7"), Catch::Contains("site"));
  CHECK_THAT(with("\"secret\"", "\"secrets\""), Catch::Contains("either a secret or a CA"));
  CHECK_THAT(with("T10:", "X10:"), Catch::Contains("expires"));
  CHECK_THAT(with("\"port\": 5152", "\"port\": 0"), Catch::Contains("port"));
  // A secret that the daemon would not take.
  CHECK_THAT(with("LCAzMiBieXRlcyBsb25nISE=", ""), Catch::Contains("its secret: line 1"));
  const std::string three = std::string(kSecret) + kSecret + kSecret;
  Invitation many = invitation();
  many.secret = three;
  const auto refused = parse_invitation(invitation_text(many), kNow);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Errc::config);
  CHECK_THAT(refused.error().message, Catch::Contains("more than 2 secrets"));
  CHECK_FALSE(parse_invitation("", kNow).ok());
  CHECK_FALSE(parse_invitation(text.substr(0, text.size() / 2), kNow).ok());
}

TEST_CASE("an invitation counts by the clock of who joins, in either direction") {
  const std::string text = invitation_text(invitation());
  CHECK(parse_invitation(text, kNow + 24h - 1s).ok());
  CHECK_FALSE(parse_invitation(text, kNow + 24h * 4000).ok());
  // A node that thinks it is 1970 can still become a member: the secret does not depend on the time.
  CHECK(parse_invitation(text, WallTime{}).ok());
}

TEST_CASE("a node without a configuration joins") {
  Case node;
  const JoinPlan plan = node.join();
  CHECK(plan.needs_restart);
  REQUIRE(plan.files.size() == 2);
  CHECK(plan.files[0].path == "/etc/layerd/peer.key");
  CHECK(plan.files[0].is_secret);
  CHECK(plan.files[0].text == kSecret);
  const PeersSettings peers = node.outcome();
  CHECK(peers.listen->str() == "[::]:5152");
  CHECK(peers.members.site == "plant-7");
  CHECK(peers.secret_file == "/etc/layerd/peer.key");
  REQUIRE(peers.members.members.size() == 2);
  CHECK(peers.members.members[1].zone == "rack-2");
  CHECK_THAT(*node.input.config_text, !Catch::Contains("c2VjcmV0"));
}

TEST_CASE("joining twice changes nothing the second time, new members are added") {
  Case node;
  node.input.config_text =
      "# mine\nlisten: 127.0.0.1:5151 # keep\n\nmirrors:\n  docker.io:\n    endpoint: "
      "[\"https://m.example\"]\n";
  node.join();
  CHECK(node.input.config_text->starts_with("# mine\nlisten: 127.0.0.1:5151 # keep\n\nmirrors:\n"));
  CHECK(node.join().files.empty());
  const std::string before = *node.input.config_text;
  node.input.invitation.members.push_back("10.0.0.3:5152");
  const JoinPlan more = node.join();
  CHECK_FALSE(more.needs_restart);
  REQUIRE(more.files.size() == 1);
  CHECK(*node.input.config_text == before + "    - \"10.0.0.3:5152\"\n");
  node.input.invitation.secret = "bmV3IHNlY3JldCBvZiB0aGUgc2l0ZSwgMzIgYnl0ZXMhISE=\n";
  // It may be older than the secret that is there.
  CHECK_THAT(node.refusal(), Catch::Contains("/etc/layerd/peer.key") && Catch::Contains("--replace"));
  node.input.replace = true;
  const JoinPlan rotated = node.join();
  REQUIRE(rotated.files.size() == 1);
  CHECK(rotated.files[0].is_secret);
}

// rules: join-keeps-the-site
TEST_CASE("a node of another site is not taken away from it unless that is said") {
  Case node;
  node.input.config_text =
      "# of plant 8\npeers:\n  listen: \"[::]:5152\"\n  site: plant-8\n  secret_file: /etc/layerd/peer.key\n"
      "  members: [10.8.0.1]\n\n# what follows stays\noffline: false\n";
  node.files["/etc/layerd/peer.key"] = "of plant 8";
  CHECK_THAT(node.refusal(), Catch::Contains("/etc/layerd/config.yaml:4") && Catch::Contains("\"plant-8\"") &&
                                 Catch::Contains("--replace"));
  node.input.replace = true;
  node.join();
  CHECK(node.outcome().members.site == "plant-7");
  CHECK(node.outcome().members.members.size() == 2);
  CHECK(node.files["/etc/layerd/peer.key"] == kSecret);
  CHECK(
      node.input.config_text->starts_with("# of plant 8\n\n# what follows stays\noffline: false\npeers:\n"));
}

TEST_CASE("another secret that lies where ours would be is not overwritten") {
  Case node;
  node.files["/etc/layerd/peer.key"] = "somebody's";
  CHECK_THAT(node.refusal(),
             Catch::Contains("/etc/layerd/peer.key is there already") && !Catch::Contains("somebody"));
}

TEST_CASE("a configuration that cannot be edited, or is wrong already, is refused and not spoilt") {
  Case node;
  node.input.config_text = "{listen: 127.0.0.1:5151}";
  CHECK_THAT(node.refusal(), Catch::Contains("write this there yourself"));
  node.input.config_text = "listne: x\n";
  CHECK_THAT(node.refusal(), Catch::Contains("would not be valid") && Catch::Contains("did you mean"));
  node.input.config_text = "a: [";
  CHECK_FALSE(node.refusal().empty());
}

TEST_CASE("members that other sources list are not written down by hand") {
  Case node;
  node.input.config_text =
      "peers:\n  listen: \"[::]:5152\"\n  site: plant-7\n  secret_file: /k\n  dns: layerd.site\n";
  node.files["/k"] = kSecret;
  const JoinPlan plan = node.join();
  CHECK(plan.files.empty());
  CHECK_FALSE(plan.notes.empty());
}

TEST_CASE("who is not in the list of who invites is told to have itself added, and nobody else") {
  const auto is_told = [](const Case& node) {
    const auto plan = plan_join(node.input);
    REQUIRE(plan.ok());
    return std::any_of(plan->notes.begin(), plan->notes.end(), [](const std::string& note) {
      return note.find("add its address") != std::string::npos;
    });
  };
  Case node;
  CHECK(is_told(node));
  node.input.own = {{"127.0.0.1", 0, false}, {"10.0.0.3", 0, false}};
  CHECK(is_told(node));
  node.input.own.push_back({"10.0.0.2", 0, false});
  CHECK_FALSE(is_told(node));
  // A loopback address is everybody's.
  node.input.invitation.members = {"127.0.0.1:5152", "n3.site:5152"};
  CHECK(is_told(node));
  node.input.invitation.dns = "layerd.site.internal";
  node.input.invitation.dns_port = 5152;
  CHECK_FALSE(is_told(node));
}

TEST_CASE("with certificates the CA is written and this node's own certificate is needed") {
  Case node;
  node.input.invitation.secret.clear();
  node.input.invitation.ca = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
  node.input.invitation.names = {"*.plant-7.example", "spiffe://plant-7/**"};
  CHECK_FALSE(parse_invitation(invitation_text(node.input.invitation), kNow).ok());  // it was cut short
  node.input.invitation.ca = test::Identity::make({.common_name = "ca"}).certificate;
  REQUIRE(parse_invitation(invitation_text(node.input.invitation), kNow).ok());
  CHECK_THAT(node.refusal(), Catch::Contains("--cert-file"));
  node.input.cert_file = "/etc/layerd/node.crt";
  node.input.key_file = "/etc/layerd/node.key";
  const JoinPlan plan = node.join();
  CHECK_FALSE(plan.files[0].is_secret);
  CHECK(node.outcome().tls.ca_file == "/etc/layerd/peer-ca.pem");
  CHECK(node.outcome().tls.names == std::vector<std::string>{"*.plant-7.example", "spiffe://plant-7/**"});
  CHECK(node.join().files.empty());
}

TEST_CASE("an invitation says which sources of members do not go along") {
  PeersSettings peers;
  peers.members.dns.emplace().name = "n.site";
  CHECK(left_out_of_invitation(peers).empty());
  peers.members.members_file = "/etc/layerd/members";
  CHECK_THAT(left_out_of_invitation(peers), Catch::Contains("not peers.members_file, by which"));
  peers.members.kubernetes.emplace();
  CHECK_THAT(left_out_of_invitation(peers),
             Catch::Contains("not peers.members_file and peers.kubernetes, by which"));
}

TEST_CASE("invite and join by files: what the one writes the other takes") {
  test::TempDir folder;
  const std::string key = folder / "site.key", config = folder / "a/config.yaml",
                    file = folder / "invitation";
  test::write_text(key, kSecret);
  ::chmod(key.c_str(), 0600);
  Settings settings;
  settings.admin_socket.clear();
  settings.peers.listen = ListenAddress{"::", 5152};
  settings.peers.secret_file = key;
  settings.peers.members.site = "plant-7";
  settings.peers.members.address = "10.0.0.1";
  settings.peers.members.listen = net::Address{"::", 5152, true};
  settings.peers.members.members = {{"10.0.0.2", 5152, ""}, {"n3.site", 5152, "b"}};
  CHECK(invite_command(settings, {file, "30s"}) == 2);
  for (const char* bad : {"c2hvcnQ=\n", ""}) {
    test::write_text(key, bad);
    CHECK(invite_command(settings, {file, "24h"}) == 2);
    CHECK(::access(file.c_str(), F_OK) != 0);
  }
  test::write_text(key, kSecret);
  ::chmod(key.c_str(), 0644);
  CHECK(invite_command(settings, {file, "24h"}) == 2);
  ::chmod(key.c_str(), 0600);
  REQUIRE(invite_command(settings, {file, "24h"}) == 0);
  struct stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  CHECK(invite_command(settings, {key, "24h"}) == 2);  // no invitation: not overwritten
  CHECK(test::read_text(key) == kSecret);
  test::write_text(config, "cache: {path: " + folder.path() + "}\n");
  JoinOptions options;
  options.file = file;
  options.zone = "rack-1";
  REQUIRE(join_command(config, options) == 0);
  CHECK(test::read_text(folder / "a/peer.key") == kSecret);
  REQUIRE(::stat((folder / "a/peer.key").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  const auto loaded = load_config(config);
  REQUIRE(loaded.ok());
  CHECK(loaded.settings->peers.members.zone == "rack-1");
  std::string members;
  for (const auto& member : loaded.settings->peers.members.members) members += member.str() + " ";
  CHECK(members == "n3.site:5152 10.0.0.2:5152 10.0.0.1:5152 ");
  const std::string before = test::read_text(config);
  CHECK(join_command(config, options) == 0);
  CHECK(test::read_text(config) == before);
  options.file = key;
  CHECK(join_command(config, options) == 2);
  options.file = folder / "nothing";
  CHECK(join_command(config, options) == 1);
}
