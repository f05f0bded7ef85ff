#include <sys/stat.h>

#include <fstream>

#include "daemon/config.h"
#include "daemon/config_kubeconfig.h"
#include "daemon/settings_table.h"
#include "tests/support/catch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_server.h"

using namespace layerd;
using namespace layerd::daemon;

namespace {

constexpr const char* kKubeconfig = R"(
apiVersion: v1
kind: Config
current-context: site
contexts:
- {name: site, context: {cluster: lan, user: layerd}}
- {name: lost, context: {cluster: nowhere, user: layerd}}
clusters:
- name: lan
  cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: Y2EtcGVt}
users:
- {name: layerd, user: {token: t0ken}}
)";

LoadedConfig parse(const std::string& text, const std::string& kubeconfig = kKubeconfig) {
  const ReadText read = [&](const std::string& path) -> Result<std::string> {
    if (path == "/kube/config") return kubeconfig;
    return errno_error("cannot open " + path, ENOENT);
  };
  return parse_config("c.yaml", text, read);
}

std::string all(const std::vector<Problem>& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.str() + "\n";
  return text;
}

struct Files {
  test::TempDir folder;
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = folder.path() + "/" + name;
    std::ofstream(path) << text;
    ::chmod(path.c_str(), 0600);
    return path;
  }
};

}  // namespace

TEST_CASE("members, site and what is shared are read") {
  Files files;
  const auto key = files.write("peer.key", std::string(64, 'a'));
  const auto loaded = parse("peers:\n  listen: \"[::]:6152\"\n  site: plant-7\n  secret_file: " + key +
                            "\n  members: [n1.site, \"10.0.0.2:7000 rack-2\", \"[fd00::1]\"]\n"
                            "  share: [{match: \"registry.example.com/secret/**\", with: none}, {match: "
                            "harbor.corp, with: none}]\n"
                            "limits: {upload: 500Mbit, site_download: 50Mbit}\ntags: {from_peers: never}\n");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  const PeersSettings& peers = loaded.settings->peers;
  CHECK(peers.listen->str() == "[::]:6152");
  CHECK(peers.members.listen->port == 6152);
  CHECK(peers.members.site == "plant-7");
  REQUIRE(peers.members.members.size() == 3);
  CHECK(peers.members.members[0] == peers::ListedMember{"n1.site", 6152, ""});
  CHECK(peers.members.members[1] == peers::ListedMember{"10.0.0.2", 7000, "rack-2"});
  CHECK(peers.members.members[2].str() == "[fd00::1]:6152");
  CHECK_FALSE(peers.share.is_shared("registry.example.com/secret/app"));
  CHECK(peers.share.is_shared("registry.example.com/open/app"));
  // A registry alone is all it holds, whichever way its name is written.
  CHECK_FALSE(peers.share.is_shared("harbor.corp/team/app"));
  CHECK_FALSE(peers.share.is_shared("harbor.corp:443/app"));
  CHECK(peers.share.is_shared("harbor.corp:5000/app"));
  CHECK(loaded.settings->upload_limit == 62'500'000);
  CHECK(loaded.settings->site_download_limit == 6'250'000);
  CHECK_FALSE(loaded.settings->tags_from_peers);
}

TEST_CASE("without peers nothing is shared and nothing is asked for") {
  const auto loaded = parse("");
  REQUIRE(loaded.ok());
  CHECK_FALSE(loaded.settings->peers.is_on());
  CHECK_FALSE(loaded.settings->peers.members.has_source());
  CHECK(loaded.settings->tags_from_peers);
}

// rules: no-listener-for-everybody
TEST_CASE("what is wrong with peers is told with its line and what would be right") {
  Files files;
  const auto key = files.write("peer.key", std::string(64, 'a'));
  const std::string on = "peers:\n  listen: \"[::]:5152\"\n  secret_file: " + key + "\n";
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"peers: {listen: \"[::]:5152\"}", "peers secret"},
           {"peers: {listen: here}", "an address to listen on"},
           {on + "  tls: {cert_file: " + key + ", key_file: " + key + ", ca_file: " + key +
                ", names: [\"*\"]}",
            "secret_file and tls are both there"},
           {"peers:\n  listen: \"[::]:5152\"\n  secret_file: peer.key\n", "c.yaml:3:16"},
           {on + "  members_file: members", "members_file: \"members\" must be an absolute path"},
           {on + "  kubernetes: {kubeconfig: config}", "must be an absolute path"},
           {on + "  kubernetes: {server: \"https://10.0.0.1\", token_file: token}",
            "must be an absolute path"},
           {on + "  member: [n1]", "did you mean \"members\"?"},
           {on + "  kubernetes: {kubeconfg: /x}", "kubeconfig"},
           {on + "  tls: {certfile: /x}", "cert_file"},
           {on + "  site: \"plant 7\"", "is no name"},
           {on + "  address: n1", "is no address"},
           {on + "  dns: \"layerd.site:5152\"", "a port stands apart"},
           {on + "  dns: {port: 5152}", "a name is needed"},
           {on + "  dns: {nam: x}", "name"},
           {on + "  share: [{match: \"a b\", with: none}]", "match"},
           {on + "  share: [{match: \"x\", with: some}]", "neither all nor none"},
           {on + "  share: [{match: \"x\"}]", "both needed"},
           {on + "  kubernetes: {}", "kubeconfig is needed"},
           {on + "  kubernetes: {kubeconfig: /kube/config, in_cluster: true}", "not beside it"},
           {on + "  kubernetes: {kubeconfig: /kube/config, site_label: site}", "peers.site is missing"},
           {on + "  kubernetes: {server: \"https://10.0.0.1\"}", "token_file is needed"},
           {"tags: {from_peers: sometimes}", "neither offline nor never"},
           {"limits: {upload: fast}", "a rate"}}) {
    CAPTURE(text);
    const auto wrong = parse(text);
    CHECK_FALSE(wrong.ok());
    CHECK_THAT(all(wrong.errors), Catch::Contains(words));
  }
}

// rules: bad-member-costs-itself
TEST_CASE("an entry that is no member is told with its line, and the other members count") {
  Files files;
  const auto key = files.write("peer.key", std::string(64, 'a'));
  const std::string on = "peers:\n  listen: \"[::]:5152\"\n  secret_file: " + key + "\n";
  for (const auto& [entry, words] :
       std::vector<std::pair<std::string, std::string>>{{"n1.site:99999", "c.yaml:4:13"},
                                                        {"\"https://n1.site\"", "without https://"},
                                                        {"10.0.0.300", "neither an address nor a host name"},
                                                        {"0.0.0.0", "no single machine"},
                                                        {"\"n1 a zone\"", "one word"}}) {
    CAPTURE(entry);
    const auto loaded = parse(on + "  members: [" + entry + ", n2.site]");
    REQUIRE(loaded.ok());
    CHECK_THAT(all(loaded.warnings), Catch::Contains(words));
    CHECK(loaded.settings->peers.members.members == std::vector<peers::ListedMember>{{"n2.site", 5152, ""}});
    CHECK(loaded.settings->peers.unread_members.size() == 1);
  }
}

TEST_CASE("names of certificates are patterns of DNS names, addresses and URIs") {
  Files files;
  const auto identity = test::Identity::make({.common_name = "n1"});
  const auto cert = files.write("n.crt", identity.certificate), key = files.write("n.key", identity.key);
  const std::string on = "peers:\n  listen: \"[::]:5152\"\n  members: [n2]\n  tls: {cert_file: " + cert +
                         ", key_file: " + key + ", ca_file: " + cert + ", names: ";
  const auto loaded =
      parse(on + "[\"*.plant-7.example\", \"10.1.*.*\", \"spiffe://plant-7/**\", \"https://x/*\"]}\n");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  const std::vector<std::string> names{"*.plant-7.example", "10.1.*.*", "spiffe://plant-7/**", "https://x/*"};
  CHECK(loaded.settings->peers.tls.names == names);
  const auto again = parse(print_settings(*loaded.settings));
  REQUIRE(again.ok());
  CHECK(again.settings->peers.tls.names == names);
  for (const auto& [list, words] : std::vector<std::pair<std::string, std::string>>{
           {"[\"a b\"]", "no blanks"}, {"[\"\"]", "1 to 255 characters"}, {"[]", "names is needed"}}) {
    CAPTURE(list);
    const auto wrong = parse(on + list + "}\n");
    REQUIRE(wrong.errors.size() == 1);  // what is told of an entry is told once
    CHECK_THAT(all(wrong.errors), Catch::Contains(words));
  }
}

TEST_CASE("sources without a listener, and a listener without sources, are warned of") {
  Files files;
  const auto key = files.write("peer.key", std::string(64, 'a'));
  CHECK_THAT(all(parse("peers: {members: [n1]}").warnings), Catch::Contains("without peers.listen"));
  CHECK_THAT(all(parse("peers: {listen: \"[::]:5152\", secret_file: " + key + "}").warnings),
             Catch::Contains("nobody to share with"));
}

TEST_CASE("a kubeconfig says where the API server is and by what it is asked") {
  Files files;
  const auto key = files.write("peer.key", std::string(64, 'a'));
  const auto loaded =
      parse("peers:\n  listen: \"[::]:5152\"\n  site: plant-7\n  secret_file: " + key +
            "\n  kubernetes: {kubeconfig: /kube/config, site_label: example.com/site, port: 6000}\n");
  INFO(all(loaded.errors));
  REQUIRE(loaded.ok());
  const auto& kubernetes = *loaded.settings->peers.members.kubernetes;
  CHECK(kubernetes.server() == "https://10.0.0.1:6443");
  CHECK(kubernetes.token == "t0ken");
  CHECK(kubernetes.tls.ca_pem == "ca-pem");
  CHECK_FALSE(kubernetes.tls.system_cas);
  CHECK(kubernetes.site_label == "example.com/site");
  CHECK(kubernetes.zone_label == "topology.kubernetes.io/zone");
  CHECK(kubernetes.member_port == 6000);
  CHECK_THAT(print_settings(*loaded.settings), !Catch::Contains("t0ken"));
}

TEST_CASE("paths of a kubeconfig count from its folder, programs in it are refused") {
  const std::string head =
      "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
      "clusters: [{name: c, cluster: {server: \"https://api.example:6443\", certificate-authority: ca.crt, "
      "tls-server-name: kubernetes}}]\n";
  const auto found = parse_kubeconfig(
      "/etc/kube/config",
      head + "users: [{name: u, user: {client-certificate: u.crt, client-key: /k/u.key, tokenFile: tok}}]",
      "");
  REQUIRE(found.ok());
  CHECK(found->tls.ca_file == "/etc/kube/ca.crt");
  CHECK(found->tls.cert_file == "/etc/kube/u.crt");
  CHECK(found->tls.key_file == "/k/u.key");
  CHECK(found->tls.server_name == "kubernetes");
  CHECK(found->token_file == "/etc/kube/tok");
  for (const auto& [user, words] : std::vector<std::pair<std::string, std::string>>{
           {"{exec: {command: aws}}", "a program that layerd does not run"},
           {"{client-certificate: u.crt}", "no key to it"},
           {"{client-certificate-data: YQ==, client-key: u.key}", "write both"},
           {"{client-certificate-data: \"%%\", client-key-data: YQ==}", "not base64"}}) {
    CAPTURE(user);
    const auto wrong =
        parse_kubeconfig("/etc/kube/config", head + "users: [{name: u, user: " + user + "}]", "");
    REQUIRE_FALSE(wrong.ok());
    CHECK_THAT(wrong.error().message, Catch::Contains(words) && Catch::Contains("/etc/kube/config:"));
  }
  CHECK_FALSE(parse_kubeconfig("/k", "a: b", "").ok());
  CHECK_FALSE(parse_kubeconfig("/k", "clusters: {", "").ok());
}

TEST_CASE("the printed configuration with peers reads back") {
  Files files;
  const auto key = files.write("peer.key", std::string(64, 'a'));
  const auto loaded = parse("peers:\n  listen: \"[::]:5152\"\n  secret_file: " + key +
                            "\n  members: [\"10.0.0.1:5152 a\"]\n  dns: layerd.site\n  share: [{match: "
                            "\"a.example/**\", with: none}]\n");
  REQUIRE(loaded.ok());
  const std::string printed = print_settings(*loaded.settings);
  const auto again = parse(printed);
  INFO(printed << all(again.errors));
  REQUIRE(again.ok());
  CHECK(print_settings(*again.settings) == printed);
}
