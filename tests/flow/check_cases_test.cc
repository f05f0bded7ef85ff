// What `layerd check` must get right, case by case: each with its diagnosis, the pull's own error and the log
// line with the same code beside it.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>

#include "tests/flow/flow.h"
#include "tests/support/checked.h"
#include "tests/support/docker_registry.h"
#include "tests/support/fake_dns.h"
#include "tests/support/fake_proxy.h"
#include "tests/support/free_port.h"
#include "tests/support/nginx.h"
#include "tests/support/tls_server.h"

using namespace layerd::test;
using layerd::Json;

namespace {

constexpr const char* kImage = "registry.test/team/app:1";

struct Case {
  TempDir dir{"layerd-case"};
  std::optional<LayerdDaemon> layerd;

  ~Case() {
    if (!layerd) return;
    if (layerd->process().running()) CHECK(layerd->stop() == 0);
    CHECK(layerd->complaints() == "");
    if (std::uncaught_exceptions() > 0) WARN(layerd->log());
  }
  void start(const std::string& more) {
    layerd.emplace(DaemonSettings{LAYERD_BINARY_DIR "/layerd", dir.path(), more});
  }
  void start_at(const std::string& endpoint, const std::string& more = "") {
    start(fmt::format("mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}\n",
                      endpoint) +
          more);
  }
  std::string file(const std::string& name, const std::string& text) {
    write_text(dir / name, text);
    ::chmod((dir / name).c_str(), 0600);
    return dir / name;
  }

  // The diagnosis, the pull's and the log's.
  Checked expect(const std::string& code, const std::string& name = kImage,
                 const std::string& target = Flow::manifest("1"), const std::string& pulled_code = "") {
    const Checked walked = check(*layerd, name);
    INFO(walked.output);
    CHECK(walked.status == 1);
    CHECK(walked.code() == code);
    CHECK_FALSE(walked.cause().empty());
    CHECK_FALSE(walked.remedy().empty());
    for (const char* word :
         {"{host}", "{registry}", "{repository}", "{reference}", "{source}", "{other_scheme}"})
      CHECK((walked.remedy() + walked.cause()).find(word) == std::string::npos);
    const ProbeReply reply = layerd->get(target);
    INFO(reply.status << " " << reply.reason << " " << reply.body);
    const auto expected = pulled_code.empty() ? code : pulled_code;
    CHECK(code_in(reply) == expected);
    CHECK(eventually([&] { return layerd->log().find("diagnosis=" + expected) != std::string::npos; }));
    return walked;
  }
};

// A registry behind TLS with a certificate of one's own making.
struct SecureRegistry {
  explicit SecureRegistry(Case& at, CertificateWish wish, bool by_authority = true)
      : authority(Identity::make({.common_name = "the site's CA", .is_authority = true})),
        own(Identity::make(std::move(wish), by_authority ? &authority : nullptr)),
        registry(Certificate{at.file("own.crt", own.certificate), at.file("own.key", own.key)}) {
    ca_file = at.file("ca.crt", authority.certificate);
  }
  std::string trust(const std::string& host) const {
    return fmt::format("configs: {{\"{}:{}\": {{tls: {{ca_file: {}}}}}}}\n", host, registry.port(), ca_file);
  }
  std::string at(const std::string& host) const {
    return fmt::format("https://{}:{}", host, registry.port());
  }

  Identity authority, own;
  FaultyUpstream registry;
  std::string ca_file;
};

// "Sun, 06 Nov 1994 08:49:37 GMT", so many seconds from now.
std::string http_date(std::time_t from_now) {
  const std::time_t at = std::time(nullptr) + from_now;
  std::tm parts{};
  gmtime_r(&at, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

// Listens and never accepts: connecting to it never ends once its queue is full.
struct BlackHole {
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::vector<int> fillers;
  sockaddr_in address{};
  BlackHole() {
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::listen(listener, 0) == 0);
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
    for (int i = 0; i < 4; ++i) {
      fillers.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      ::connect(fillers.back(), reinterpret_cast<sockaddr*>(&address), length);
    }
  }
  ~BlackHole() {
    for (const int fd : fillers) ::close(fd);
    ::close(listener);
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", ntohs(address.sin_port)); }
};

}  // namespace

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

TEST_CASE("check: a registry that wants credentials and none are there", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  const bool is_bearer = GENERATE(true, false);
  is_bearer ? registry.require_bearer("robot", "s3cret") : registry.require_basic("robot", "s3cret");
  it.start_at(registry.url());
  const Checked walked = it.expect("credentials_missing");
  CHECK(walked.cause().find("no credentials are configured for " + registry.address()) != std::string::npos);
}

TEST_CASE("check: a secret without `auth` works, and one with nothing in it is named", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  registry.require_basic("name@aliyun.com", "p$!@");
  const auto path = it.file(
      "d.json", fmt::format(R"({{"auths": {{"{}": {{"username": "name@aliyun.com", "password": "p$!@"}}}}}})",
                            registry.address()));
  it.start_at(registry.url(), fmt::format("credentials: {{docker_config: [{}]}}\n", path));
  const Checked good = check(*it.layerd, kImage);
  INFO(good.output);
  CHECK(good.status == 0);
  CHECK(good.text("credentials").find(path) == 0);
  CHECK(good.output.find("p$!@") == std::string::npos);
  it.layerd->stop();
  it.file("d.json", fmt::format(R"({{"auths": {{"{}": {{"email": "x@y.z"}}}}}})", registry.address()));
  it.layerd->start();
  const Checked bad = it.expect("credentials_unusable");
  CHECK(bad.cause().find("neither `auth` nor `username` and `password`") != std::string::npos);
  CHECK(bad.cause().find(path) != std::string::npos);
}

TEST_CASE("check: a password file that is not there", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.require_basic("robot", "s3cret");
  const auto path = it.file("pw", "s3cret");
  it.start_at(registry.url(),
              fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password_file: {}}}}}}}\n",
                          registry.address(), path));
  ::unlink(path.c_str());
  const Checked walked = it.expect("credentials_unusable");
  CHECK(walked.cause().find("cannot read the password file " + path) != std::string::npos);
}

TEST_CASE("check: a password with a stray newline", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  registry.require_basic("robot", "s3cret");
  const auto config = [&](const std::string& secret) {
    return it.file("d.json", fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", registry.address(),
                                         base64("robot:" + secret)));
  };
  // At its end, as `echo | base64` leaves it: left out, and said so.
  it.start_at(registry.url(), fmt::format("credentials: {{docker_config: [{}]}}\n", config("s3cret\n")));
  const Checked good = check(*it.layerd, kImage);
  INFO(good.output);
  CHECK(good.status == 0);
  CHECK(good.text("credentials").find("the secret ended with a line break, which is left out") !=
        std::string::npos);
  // In the middle of it nobody can say what was meant: it is sent, refused and told.
  it.layerd->stop();
  config("s3\ncret");
  it.layerd->start();
  const Checked bad = it.expect("credentials_refused");
  CHECK(bad.cause().find("there is a line break in it") != std::string::npos);
  CHECK(bad.remedy().find("without that") != std::string::npos);
  CHECK(bad.output.find("cret\"") == std::string::npos);
  CHECK(bad.output.find(base64("robot:s3\ncret")) == std::string::npos);
}

TEST_CASE("check: the right account at the wrong domain", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "ns/app", "1");
  registry.require_basic("name@aliyun.com", "s3cret");
  // The personal edition: the account's own domain, and the general one that many examples name.
  std::string own = "crpi-1x2y.cn-hangzhou.personal.cr.aliyuncs.com",
              other = "registry.cn-hangzhou.aliyuncs.com";
  if (GENERATE(false, true)) std::swap(own, other);
  const auto path = it.file("config.json", fmt::format(R"({{"auths": {{"{}": {{"auth": "{}"}}}}}})", other,
                                                       base64("name@aliyun.com:s3cret")));
  // The port stands for 443, which tests cannot have.
  it.start(
      fmt::format("mirrors: {{\"{0}\": {{endpoint: [\"http://{0}:{1}\"], default_endpoint: false}}}}\n"
                  "dns: {{hosts: {{{0}: 127.0.0.1}}}}\ncredentials: {{docker_config: [{2}]}}\n",
                  own, registry.port(), path));
  const Checked walked = it.expect("credentials_other_host", own + "/ns/app:1",
                                   fmt::format("/v2/ns/app/manifests/1?ns={}", own));
  CHECK(walked.cause().find(path + " has an entry for " + other + ", but not for " + own) !=
        std::string::npos);
  CHECK(walked.text("credentials").find("but not for " + own) != std::string::npos);
}

TEST_CASE("check: no right to this repository, and no such repository", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  registry.require_bearer("robot", "s3cret");
  Fault denied;
  denied.status = 403;
  denied.body = R"({"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]})";
  Fault unknown;
  unknown.status = 404;
  unknown.headers = {{"Docker-Distribution-Api-Version", "registry/2.0"}};
  unknown.body = R"({"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]})";
  registry.fault("/v2/secret/", denied);
  registry.fault("/v2/nothing/", unknown);
  it.start_at(registry.url(),
              fmt::format("configs: {{\"{}\": {{auth: {{username: robot, password: s3cret}}}}}}\n",
                          registry.address()));
  const Checked no_right =
      it.expect("repository_denied", "registry.test/secret/app:1", Flow::manifest("1", "secret/app"));
  CHECK(no_right.text("token").find("repository:secret/app:pull") != std::string::npos);
  CHECK(no_right.cause().find("requested access to the resource is denied") != std::string::npos);
  CHECK(no_right.remedy().find("secret/app") != std::string::npos);
  it.expect("repository_unknown", "registry.test/nothing/app:1", Flow::manifest("1", "nothing/app"));
}

TEST_CASE("check: a tag that CI has not pushed yet", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  const Image image = make_image({{300}});
  registry.add(image, "team/rrr", "v1");
  Fault tags;
  tags.status = 200;
  tags.body = R"({"name":"team/rrr","tags":["v1"]})";
  registry.fault("/tags/list", tags);
  it.start_at(registry.url());
  const Checked walked =
      it.expect("tag_unknown", "registry.test/team/rrr:latest", Flow::manifest("latest", "team/rrr"));
  CHECK(walked.remedy().find("push it") == 0);
  CHECK(walked.text("tags") == "team/rrr is there, with the tags v1");
  registry.add(image, "team/rrr", "latest");
  CHECK(check(*it.layerd, "registry.test/team/rrr:latest").status == 0);
}

TEST_CASE("check: the rate limit", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  Fault limited;
  limited.status = 429;
  limited.headers = {{"Retry-After", "60"}};
  limited.body =
      R"({"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]})";
  registry.fault("/manifests/", limited);
  it.start_at(registry.url());
  const Checked walked = it.expect("rate_limited");
  CHECK(walked.cause().find("You have reached your pull rate limit") != std::string::npos);
}

TEST_CASE("check: the registry answers and its blob store is blocked", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  const Image image = make_image({{300}});
  registry.add(image, "team/app", "1");
  Fault away;
  away.status = 307;
  away.headers = {
      {"Location", fmt::format("http://127.0.0.1:{}/bucket/object?signature=s3cret", free_port())}};
  std::optional<BlackHole> hole;
  const bool is_dropped = GENERATE(false, true);
  if (is_dropped) {
    hole.emplace();
    away.headers = {{"Location", hole->url() + "/bucket/object?signature=s3cret"}};
  }
  registry.fault("/blobs/", away);
  it.start_at(registry.url(), "timeouts: {connect: 300ms}\nallow: [\"*\", \"127.0.0.1:*\"]\n");
  const Checked walked = check(*it.layerd, kImage);
  INFO(walked.output);
  CHECK(walked.status == 1);
  CHECK(walked.code() == "storage_unreachable");
  CHECK(walked.remedy().find("firewall") != std::string::npos);
  // A pull tries for longer; once is enough.
  if (!is_dropped) CHECK(code_in(it.layerd->get(Flow::blob(image.layers[0]))) == "storage_unreachable");
  CHECK(walked.cause().find("where " + registry.url() + " redirects to") != std::string::npos);
  CHECK(walked.step("manifest") != nullptr);
  CHECK(walked.output.find("s3cret") == std::string::npos);
}

TEST_CASE("check: the image is not there for this platform", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  ImageShape shape;
  shape.platforms = {"arm64", "s390x"};
  registry.add(make_image(shape), "team/app", "1");
  it.start_at(registry.url());
  const Checked walked = check(*it.layerd, kImage, {"--platform", "linux/amd64"});
  INFO(walked.output);
  CHECK(walked.status == 1);
  CHECK(walked.code() == "platform_missing");
  CHECK(walked.cause() == "the image is there for linux/arm64, linux/s390x and not for linux/amd64");
  CHECK(check(*it.layerd, kImage, {"--platform", "linux/arm64"}).status == 0);
}

TEST_CASE("check: a name that nobody configured and that is private", "[check][cases]") {
  Case it;
  FakeDns dns;
  dns.set("harbor.corp", {{"10.1.2.3"}});
  it.start(fmt::format("dns: {{zones: {{\".\": \"{}\"}}}}\n", dns.address()));
  const Checked walked =
      it.expect("not_configured", "harbor.corp/team/app:1", "/v2/team/app/manifests/1?ns=harbor.corp");
  CHECK(walked.cause().find(
            "harbor.corp resolves to 10.1.2.3 and is not configured; add configs: {harbor.corp: {}}") !=
        std::string::npos);
}

TEST_CASE("check: rules that allow no such name, and no upstream at all", "[check][cases]") {
  Case it;
  const bool is_offline = GENERATE(false, true);
  it.start(is_offline ? "offline: true\n" : "allow: [\"ghcr.io\"]\n");
  it.expect("not_configured", "quay.io/team/app:1", "/v2/team/app/manifests/1?ns=quay.io");
}

TEST_CASE("check: a portal answers in the registry's place, and a registry that is broken",
          "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  Fault broken;
  broken.status = 500;
  const bool is_portal = GENERATE(true, false);
  registry.add(make_image({{300}}), "team/app", "1");
  registry.fault("/v2/", is_portal ? html_page() : broken);
  it.start_at(registry.url());
  const Checked walked = it.expect("upstream_error");
  CHECK(walked.cause().find(is_portal ? "web page" : "500") != std::string::npos);
}

TEST_CASE("check: a runtime that does not ask layerd at all", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  it.start_at(registry.url());
  write_text(it.dir / "root/etc/containerd/config.toml", "version = 2\n");
  const Checked walked = check(*it.layerd, kImage, {}, it.dir / "root");
  INFO(walked.output);
  CHECK(walked.status == 1);
  CHECK(walked.code() == "runtime_bypass");
  CHECK(walked.cause().find("config.toml sets no config_path") != std::string::npos);
  CHECK(walked.text("runtime").find("was not asked for it") != std::string::npos);
  // It does after all.
  CHECK(it.layerd->get(Flow::manifest("1")).status == 200);
  const Checked again = check(*it.layerd, kImage, {}, it.dir / "root");
  INFO(again.output);
  CHECK(again.status == 0);
  CHECK(again.text("runtime").find("layerd was asked for it") != std::string::npos);
}

TEST_CASE("check: what layerd keeps is told when the registry is gone", "[check][cases]") {
  Case it;
  FaultyUpstream registry;
  registry.add(make_image({{300}}), "team/app", "1");
  it.start_at(registry.url());
  REQUIRE(it.layerd->get(Flow::manifest("1")).status == 200);
  registry.server().go_away();
  const Checked walked = check(*it.layerd, kImage);
  INFO(walked.output);
  CHECK(walked.code() == "connect_refused");
  CHECK(walked.text("cache").find("serves it nevertheless") != std::string::npos);
}
