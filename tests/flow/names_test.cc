// Names as the sites use them: short names, zones of a cluster, fixed addresses, patterns, and what a
// reload makes of them.
#include "tests/flow/flow.h"
#include "tests/support/fake_dns.h"

using namespace layerd::test;

namespace {

constexpr const char* kService = "nexus-nexus-repository-manager.platform.svc.cluster.local";

std::string asked_for(const std::string& ns, const std::string& repository, const std::string& reference) {
  return fmt::format("/v2/{}/manifests/{}?ns={}", repository, reference, ns);
}

// A Nexus that only the cluster's DNS knows, and images named nexus/... in the pods.
struct Site {
  Site() {
    dns.set(kService, {{"127.0.0.1"}});
    nexus.add(image, "admin-server", "1");
  }
  std::string aliases() const {
    return "aliases: [{from: \"docker.io/nexus/**\", to: \"docker.nexus.local/**\"}]\n";
  }
  std::string mirrors() const {
    return fmt::format(
        "mirrors:\n  docker.nexus.local: {{endpoint: [\"http://{}:{}\"], default_endpoint: false}}\n",
        kService, nexus.port());
  }
  std::string zones(const std::string& servers) const {
    return fmt::format("dns: {{zones: {{cluster.local: {}}}}}\n", servers);
  }
  std::string own_zones() const { return zones("[\"" + dns.address() + "\"]"); }

  TempDir dir{"layerd-names"};
  FakeDns dns;
  FaultyUpstream nexus;
  Image image = make_image({{20000}});
};

struct Named {
  explicit Named(Site& site, const std::string& more)
      : layerd({LAYERD_BINARY_DIR "/layerd", site.dir.path(), more}) {}
  ~Named() {
    if (layerd.process().running()) CHECK(layerd.stop() == 0);
    CHECK(layerd.complaints() == "");
    CHECK(layerd.wrong_blobs() == std::vector<std::string>{});
    if (std::uncaught_exceptions() > 0) WARN(layerd.log());
  }
  // A changed configuration, taken by SIGHUP without a restart.
  void reload(const std::string& more) {
    const auto count = [&] {
      int lines = 0;
      const std::string log = layerd.log();
      for (std::size_t at = log.find("reloaded"); at != log.npos; at = log.find("reloaded", at + 1)) ++lines;
      return lines;
    };
    const int before = count();
    layerd.configure(more);
    layerd.process().send(SIGHUP);
    REQUIRE(eventually([&] { return count() > before; }));
  }
  LayerdDaemon layerd;
};

}  // namespace

TEST_CASE("nexus/admin-server arrives through its alias at a service that only the cluster's DNS knows",
          "[names]") {
  Site site;
  Named node(site, site.aliases() + site.mirrors() + site.own_zones());
  const ProbeReply reply = node.layerd.get(asked_for("docker.io", "nexus/admin-server", "1"));
  INFO(reply.status << " " << reply.reason << " " << reply.body << node.layerd.log());
  CHECK(reply.status == 200);
  CHECK(reply.header("oci-namespace") == "docker.io");
  CHECK(site.dns.asked(kService) > 0);
  REQUIRE_FALSE(site.nexus.seen().empty());
  CHECK(site.nexus.seen().back().target.starts_with("/v2/admin-server/manifests/"));
  CHECK(site.nexus.seen().back().host == fmt::format("{}:{}", kService, site.nexus.port()));
  // Without ns and in the path's form, as podman and docker ask.
  CHECK(node.layerd.get("/v2/docker.io/nexus/admin-server/manifests/1").status == 200);
  // Blobs too; and what was fetched under the short name is there under the long one.
  const std::string layer = site.image.layers[0];
  CHECK(node.layerd.get(fmt::format("/v2/nexus/admin-server/blobs/{}?ns=docker.io", layer)).body ==
        site.image.blobs.at(layer));
  const ProbeReply direct =
      node.layerd.get(fmt::format("/v2/admin-server/blobs/{}?ns=docker.nexus.local", layer));
  CHECK(direct.status == 200);
  CHECK(direct.header("layerd-source") != "upstream");
  CHECK(site.nexus.count("GET", "/blobs/" + layer) == 1);
}

TEST_CASE("an alias decides alone: docker.io is not asked for what the private registry does not have",
          "[names]") {
  Site site;
  FaultyUpstream hub;
  hub.add(site.image, "nexus/other", "1");
  Named node(site,
             site.aliases() + site.mirrors() +
                 fmt::format("  docker.io: {{endpoint: [\"{}\"], default_endpoint: false}}\n", hub.url()) +
                 site.own_zones());
  CHECK(node.layerd.get(asked_for("docker.io", "nexus/other", "1")).status == 404);
  CHECK(hub.seen().empty());
  const ProbeReply illegal = node.layerd.get(asked_for("docker.io", "nexus", "1"));
  INFO(illegal.status << " " << illegal.body);
  CHECK(illegal.status >= 400);
  CHECK(illegal.body.find("the alias") != std::string::npos);
  CHECK(hub.seen().empty());
}

TEST_CASE("a token's scope names the repository that alias and rewrite made", "[names]") {
  Site site;
  site.nexus.add(site.image, "group/admin-server", "1");
  site.nexus.require_bearer("robot", "secret");
  Named node(site, site.aliases() +
                       fmt::format("mirrors:\n  docker.nexus.local: {{endpoint: [\"http://{0}\"], "
                                   "default_endpoint: false, rewrite: {{\"^(.+)$\": \"group/${{1}}\"}}}}\n"
                                   "configs: {{\"{0}\": {{auth: {{username: robot, password: secret}}}}}}\n",
                                   site.nexus.address()));
  const ProbeReply reply = node.layerd.get(asked_for("docker.io", "nexus/admin-server", "1"));
  INFO(reply.status << " " << reply.body);
  CHECK(reply.status == 200);
  bool scoped = false;
  for (const auto& request : site.nexus.seen()) {
    if (!request.target.starts_with("/token")) continue;
    scoped = true;
    CHECK(request.target.find("repository%3Agroup%2Fadmin-server%3Apull") != std::string::npos);
  }
  CHECK(scoped);
}

TEST_CASE("the exact registry comes before patterns, and patterns before the star", "[names]") {
  Site site;
  FaultyUpstream wild, any;
  const Image other = make_image({{1000}, {"amd64"}, 7}), third = make_image({{1000}, {"amd64"}, 8});
  for (const char* repository : {"team/app"}) {
    site.nexus.add(site.image, repository, "1");
    wild.add(other, repository, "1");
    any.add(third, repository, "1");
  }
  const auto entry = [](const std::string& key, const std::string& url) {
    return fmt::format("  \"{}\": {{endpoint: [\"{}\"], default_endpoint: false}}\n", key, url);
  };
  Named node(site, "mirrors:\n" + entry("*", any.url()) + entry("*.example.com", wild.url()) +
                       entry("a.example.com", site.nexus.url()));
  const auto digest = [&](const char* ns) {
    return node.layerd.head(asked_for(ns, "team/app", "1")).header("docker-content-digest");
  };
  CHECK(digest("a.example.com") == site.image.top);
  CHECK(digest("b.example.com") == other.top);
  CHECK(digest("example.com") == third.top);
  CHECK(digest("b.example.com%3A5000") == third.top);
}

TEST_CASE("a name under a zone or in dns.hosts may be private, others may not", "[names]") {
  Site site;
  PrivateCa ca(site.dir / "ca");
  FaultyUpstream secure(ca.issue("registry", "IP:127.0.0.1"));
  site.dns.set("registry.cluster.local", {{"127.0.0.1"}});
  site.dns.set("registry.elsewhere.test", {{"127.0.0.1"}});
  Named node(
      site,
      fmt::format("dns: {{zones: {{cluster.local: \"{0}\", elsewhere.test: \"{0}\"}}, hosts: {{fixed.test: "
                  "127.0.0.1}}}}\n",
                  site.dns.address()));
  const auto says = [&](const std::string& host) {
    return node.layerd.get(asked_for(fmt::format("{}%3A{}", host, secure.port()), "team/app", "1")).body;
  };
  // A certificate that nobody here trusts: it was dialled.
  for (const char* host : {"registry.cluster.local", "fixed.test"}) {
    const std::string said = says(host);
    INFO(host << ": " << said);
    CHECK(said.find("not configured") == std::string::npos);
    CHECK(said.find("certificate") != std::string::npos);
  }
  node.reload(fmt::format("dns: {{zones: {{\".\": \"{}\"}}}}\n", site.dns.address()));
  const std::string said = says("registry.elsewhere.test");
  INFO(said);
  CHECK(said.find("registry.elsewhere.test resolves to 127.0.0.1 and is not configured") !=
        std::string::npos);
}

TEST_CASE("a dead DNS server of a zone costs little when another one answers", "[names]") {
  Site site;
  FakeDns dead;
  dead.set(kService, {.is_silent = true});
  Named node(site, site.aliases() + site.mirrors() +
                       site.zones(fmt::format("[\"127.0.0.1:1\", \"{}\", \"{}\"]", dead.address(),
                                              site.dns.address())));
  CHECK(node.layerd.get(asked_for("docker.io", "nexus/admin-server", "1")).status == 200);
  CHECK(dead.asked(kService) > 0);
}

TEST_CASE("a reload takes aliases, zones and fixed addresses, and leaves nothing of the old ones",
          "[names]") {
  Site site;
  FaultyUpstream second({}, 0);
  FakeDns absent;
  Named node(site, site.mirrors() + site.zones("\"" + absent.address() + "\""));
  const std::string image = asked_for("docker.nexus.local", "admin-server", "1");
  // The breaker of the endpoint opens and the name is remembered as absent: neither outlives the reload.
  for (int i = 0; i < 6; ++i) CHECK(node.layerd.get(image).status >= 500);
  node.reload(site.mirrors() + site.own_zones());
  CHECK(node.layerd.get(image).status == 200);

  CHECK(node.layerd.get(asked_for("docker.io", "nexus/new", "1")).status >= 400);
  site.nexus.add(site.image, "new", "1");
  node.reload(site.aliases() + site.mirrors() + site.own_zones());
  CHECK(node.layerd.get(asked_for("docker.io", "nexus/new", "1")).status == 200);

  // A fixed address wins over the zone, and idle connections to the old one are not used.
  const int connections = site.nexus.server().connections();
  const int asked = site.dns.asked(kService);
  site.nexus.add(site.image, "later", "1");
  node.reload(site.aliases() + site.mirrors() + fmt::format("dns: {{hosts: {{{}: 127.0.0.1}}}}\n", kService));
  CHECK(node.layerd.get(asked_for("docker.io", "nexus/later", "1")).status == 200);
  CHECK(site.nexus.server().connections() > connections);
  CHECK(site.dns.asked(kService) == asked);
}

TEST_CASE("a wrong alias changes nothing and is told with its line and the remedy", "[names]") {
  Site site;
  const std::string good = site.aliases() + site.mirrors() + site.own_zones();
  Named node(site, good);
  node.layerd.configure("aliases: [{from: \"nexus/**\", to: \"docker.nexus.local/**\"}]\n" + site.mirrors());
  const Finished check = node.layerd.command({"config", "--check"});
  INFO(check.output);
  CHECK(check.status == 2);
  CHECK(check.output.find("config.yaml:5:18: aliases[1].from: \"nexus/**\" names no registry") !=
        std::string::npos);
  CHECK(check.output.find("docker.io/nexus/**") != std::string::npos);
  node.layerd.process().send(SIGHUP);
  CHECK(eventually([&] { return node.layerd.log().find("names no registry") != std::string::npos; }));
  CHECK(node.layerd.get(asked_for("docker.io", "nexus/admin-server", "1")).status == 200);
  node.layerd.configure("aliases: [{from: docker.io/nexus/app, to: \"x.io/*\"}]\n");
  CHECK(node.layerd.command({"config", "--check"}).output.find("aliases[1].to: \"x.io/*\" has 1 wildcard") !=
        std::string::npos);
  node.layerd.configure(good);
  const Finished fine = node.layerd.command({"config", "--check"});
  INFO(fine.output);
  CHECK(fine.status == 0);
  CHECK(fine.output.find("docker.io may answer for nexus/** when layerd does not") != std::string::npos);
}
