// What `layerd check` must get right on the way to a registry: DNS, connections, certificates, clocks,
// schemes, proxies.
#include "tests/flow/check_case.h"
#include "tests/support/docker_registry.h"
#include "tests/support/fake_dns.h"
#include "tests/support/fake_proxy.h"
#include "tests/support/free_port.h"
#include "tests/support/nginx.h"

using namespace layerd::test;

TEST_CASE("check: a name that only the cluster's DNS knows", "[check][cases]") {
  Case it;
  FakeDns dns;
  it.start_at("https://nexus.platform.svc.cluster.local:5000",
              fmt::format("dns: {{zones: {{\".\": \"{}\"}}}}\n", dns.address()));
  const Checked walked = it.expect("dns_not_found");
  CHECK(walked.text("dns").find(dns.address() + " for nexus.platform.svc.cluster.local: NXDOMAIN") !=
        std::string::npos);
  CHECK(walked.remedy().find("dns: {zones: ") != std::string::npos);
}

TEST_CASE("check: every DNS server's answer is told, and which one counted", "[check][cases]") {
  Case it;
  FakeDns dead, first, second;
  dead.set("reg.corp", {.is_silent = true});
  first.set("reg.corp", {{"127.0.0.1"}});
  second.set("reg.corp", {{"127.0.0.9"}});
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  it.start_at(fmt::format("http://reg.corp:{}", registry.port()),
              fmt::format("dns: {{zones: {{corp: [\"{}\", \"{}\", \"{}\"]}}}}\n", dead.address(),
                          first.address(), second.address()));
  const Checked walked = check(*it.layerd, kImage);
  INFO(walked.output);
  CHECK(walked.status == 0);
  const auto dns = walked.text("dns");
  CHECK(dns.find("reg.corp is 127.0.0.1 (dns.zones.\"corp\")") == 0);
  CHECK(dns.find(dead.address() + " for reg.corp: no answer") != std::string::npos);
  CHECK(dns.find(first.address() + " for reg.corp: 127.0.0.1 (this one counts)") != std::string::npos);
  CHECK(dns.find(second.address() + " for reg.corp: 127.0.0.9") != std::string::npos);
  CHECK(dns.find("the servers disagree") != std::string::npos);
}

TEST_CASE("check: a server whose certificate is for other names", "[check][cases]") {
  Case it;
  SecureRegistry site(it, {.common_name = "ingress", .names = {"DNS:default.site.test", "DNS:*.apps.test"}});
  it.start_at(site.at("nexus.site.test"),
              site.trust("nexus.site.test") + "dns: {hosts: {nexus.site.test: 127.0.0.1}}\n");
  const Checked walked = it.expect("tls_name_mismatch");
  CHECK(walked.cause().find("certificate is valid for default.site.test, *.apps.test, not nexus.site.test") !=
        std::string::npos);
  CHECK(walked.text("tls").find("issued by \"the site's CA\"") != std::string::npos);
  CHECK(walked.remedy().find("server_name") != std::string::npos);
}

// rules: led-astray
TEST_CASE("check: DNS answers with somebody else's address", "[check][cases]") {
  Case it;
  FakeDns dns;
  dns.set("ghcr.example", {{"127.0.0.1"}});
  dns.set("nexus.site.test", {{"127.0.0.1"}});
  SecureRegistry other(it, {.common_name = "pages", .names = {"DNS:*.github.test", "DNS:www.site.test"}});
  const auto zone = fmt::format("dns: {{zones: {{\".\": \"{}\"}}}}\n", dns.address());
  SECTION("of quite another name") {
    it.start_at(other.at("ghcr.example"), other.trust("ghcr.example") + zone);
    const Checked walked = it.expect("dns_suspicious");
    CHECK(walked.cause().find("certificate is valid for *.github.test, www.site.test, not ghcr.example") !=
          std::string::npos);
    CHECK(walked.cause().find("(127.0.0.1:") != std::string::npos);
    CHECK(walked.remedy().find("dns: {hosts: {ghcr.example") != std::string::npos);
  }
  SECTION("a server of the same domain that has the wrong certificate is no lie of DNS") {
    it.start_at(other.at("nexus.site.test"), other.trust("nexus.site.test") + zone);
    it.expect("tls_name_mismatch");
  }
}

TEST_CASE("check: the proxy on the way out refuses, or is not there", "[check][cases]") {
  Case it;
  std::optional<FakeProxy> proxy;
  std::string url = fmt::format("http://127.0.0.1:{}", free_port());
  std::string said = "refused the connection";
  SECTION("not there") {}
  SECTION("it wants other credentials") {
    proxy.emplace(FakeProxySettings{.user_and_password = "u:s3cret"});
    url = proxy->url("u:wr0ng");
    said = "407";
  }
  SECTION("it refuses the target") {
    proxy.emplace(FakeProxySettings{.answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"});
    url = proxy->url();
    said = "403";
  }
  it.start_at("https://registry.example", fmt::format("proxy: {{https: \"{}\"}}\n", url));
  const Checked walked = it.expect("proxy_failed");
  CHECK(walked.cause().find("127.0.0.1") != std::string::npos);
  CHECK(walked.cause().find(said) != std::string::npos);
  CHECK(walked.remedy().find("no_proxy") != std::string::npos);
  CHECK(walked.text("dns").find("looks registry.example up") != std::string::npos);
  CHECK(walked.output.find("wr0ng") == std::string::npos);
}

TEST_CASE("check: a way out that needs a proxy says so in its remedy", "[check][cases]") {
  Case it;
  BlackHole hole;
  it.start_at(hole.url(), "timeouts: {connect: 300ms}\n");
  CHECK(check(*it.layerd, kImage).remedy().find("proxy") != std::string::npos);
}

TEST_CASE("check: the authority that signed the certificate is not known here", "[check][cases]") {
  Case it;
  const bool is_self_signed = GENERATE(false, true);
  SecureRegistry site(it, {.common_name = "nexus", .names = {"IP:127.0.0.1"}}, !is_self_signed);
  it.start_at(site.at("127.0.0.1"));
  const Checked walked = it.expect("tls_unknown_ca");
  CHECK(walked.cause().find(is_self_signed ? "self-signed" : "the site's CA") != std::string::npos);
  CHECK(walked.remedy().find("ca_file") != std::string::npos);
}

TEST_CASE("check: the certificate that was matched is told", "[check][cases]") {
  Case it;
  SecureRegistry site(it, {.common_name = "nexus", .names = {"IP:127.0.0.1"}});
  site.registry.add(make_image({{300}}), "team/app", "1");
  it.start_at(site.at("127.0.0.1"), site.trust("127.0.0.1"));
  // After a pull, whose session the next one resumes, as well.
  REQUIRE(it.layerd->get(Flow::manifest("1")).status == 200);
  const Checked walked = check(*it.layerd, kImage);
  INFO(walked.output);
  CHECK(walked.status == 0);
  CHECK(walked.text("tls").find("TLSv1.3, the certificate is valid for 127.0.0.1") == 0);
  CHECK(walked.text("tls").find("trusted by \"the site's CA\" of " + site.ca_file) != std::string::npos);
}

TEST_CASE("check: an expired certificate and a wrong clock are told apart", "[check][cases]") {
  Case it;
  const bool is_early = GENERATE(false, true), is_clock = GENERATE(false, true);
  SecureRegistry site(it, {.common_name = "nexus",
                           .names = {"IP:127.0.0.1"},
                           .from_days = is_early ? 5 : -30,
                           .to_days = is_early ? 30 : -5});
  // What a clock that is right would say, in the middle of the certificate's life.
  const std::time_t theirs = is_clock ? (is_early ? 10 : -10) * 86400 : 0;
  Fault dated;
  dated.headers = {{"Date", http_date(theirs)}};
  site.registry.fault("/v2/", dated);
  it.start_at(site.at("127.0.0.1"), site.trust("127.0.0.1"));
  const Checked walked = it.expect(is_early ? "tls_not_yet_valid" : "tls_expired");
  if (is_clock) {
    CHECK(walked.text("clock").find(is_early ? " behind: " : " ahead: ") != std::string::npos);
    CHECK(walked.cause().find("this machine's clock says") != std::string::npos);
    CHECK(walked.remedy().find("set this machine's clock") == 0);
  } else {
    CHECK(walked.text("clock").find("agrees") != std::string::npos);
  }
}

TEST_CASE("check: nobody listens at the port", "[check][cases]") {
  Case it;
  it.start_at(fmt::format("http://127.0.0.1:{}", free_port()));
  const Checked walked = it.expect("connect_refused");
  CHECK(walked.cause().find("refused the connection") != std::string::npos);
}

TEST_CASE("check: an address that does not answer, as of a pod that is long gone", "[check][cases]") {
  Case it;
  BlackHole hole;
  it.start_at(hole.url(), "timeouts: {connect: 300ms}\n");
  it.expect("connect_timeout");
}

TEST_CASE("check: a registry that accepts and says nothing", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  Fault silent;
  silent.head_delay = std::chrono::seconds(30);
  registry.fault("/v2/", silent);
  it.start_at(registry.url(), "timeouts: {connect: 300ms, answer: 500ms}\n");
  const Checked walked = it.expect("connect_timeout");
  CHECK(walked.cause().find("did not answer in time") != std::string::npos);
}

TEST_CASE("check: a registry that hangs up without a word", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  Fault refuse;
  refuse.refuse = true;
  registry.fault("/v2/", refuse);
  it.start_at(registry.url());
  const Checked walked = it.expect("upstream_error");
  CHECK(walked.cause().find("gave no answer: the connection was closed") != std::string::npos);
}

TEST_CASE("check: plain HTTP is spoken on the port that was asked for TLS", "[check][cases]") {
  Case it;
  std::string address, pulled = "scheme_mismatch";
  std::optional<DockerRegistry> real;
  FaultyUpstream waiting;
  SECTION("by a docker-registry, which answers in HTTP") {
    real.emplace(it.dir / "registry", RegistrySettings{it.dir / "storage"});
    address = real->address();
  }
  SECTION("by a server that waits for more, which only a check finds out about") {
    address = waiting.address();
    pulled = "connect_timeout";
  }
  it.start_at("https://" + address, "timeouts: {connect: 500ms}\n");
  const Checked walked = it.expect("scheme_mismatch", kImage, Flow::manifest("1"), pulled);
  CHECK(walked.remedy().find("http://" + address) != std::string::npos);
}

TEST_CASE("check: TLS is spoken on the port that was asked for plain HTTP", "[check][cases]") {
  Case it;
  SecureRegistry site(it, {.common_name = "nexus", .names = {"IP:127.0.0.1"}});
  std::optional<Nginx> nginx;
  std::optional<BlockingServer> alerting;
  std::string pulled = "scheme_mismatch";
  SECTION("by nginx, which says so") {
    nginx.emplace(it.dir / "nginx", Certificate{it.dir / "own.crt", it.dir / "own.key"}, site.registry.url());
    it.start_at("http://" + nginx->address());
  }
  SECTION("by a server that answers with an alert") {
    alerting.emplace([](const ServerRequest&, ServerConnection& connection) {
      connection.write(std::string("\x15\x03\x03\x00\x02\x02\x46", 7));
      connection.cut(false);
      return false;
    });
    it.start_at(fmt::format("http://127.0.0.1:{}", alerting->port()));
  }
  SECTION("by a server that hangs up, which only a check finds out about") {
    it.start_at("http://" + site.registry.address());
    pulled = "upstream_error";
  }
  const Checked walked = it.expect("scheme_mismatch", kImage, Flow::manifest("1"), pulled);
  CHECK(walked.remedy().find("https://127.0.0.1:") != std::string::npos);
}
