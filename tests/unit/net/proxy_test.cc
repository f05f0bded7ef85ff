// HTTP proxies: which requests go through one, the tunnel, and how a proxy's failures are told.
#include "proxy/net/net_dialer.h"
#include "proxy/net/proxy_rules.h"
#include "tests/support/fake_proxy.h"
#include "tests/unit/net/tls_site.h"

using namespace layerd;
using namespace layerd::test;

namespace {

ProxyPtr proxy_at(const std::string& url) {
  auto parsed = parse_proxy(url);
  REQUIRE(parsed);
  return std::make_shared<const Proxy>(std::move(*parsed));
}

struct Behind : Site {
  Result<ByteStreamPtr> dial_by(ProxyPtr proxy, const std::string& host, std::uint16_t port, bool tls = true,
                                AddressPolicy policy = AddressPolicy::any, Duration wait = 4s) {
    std::optional<Result<ByteStreamPtr>> got;
    DialRequest request;
    request.host = host;
    request.port = port;
    request.tls = tls;
    request.tls_settings = trusting();
    request.policy = policy;
    request.deadline = Deadline::in(loop.now(), wait);
    request.proxy = std::move(proxy);
    request.report = report = std::make_shared<DialReport>();
    Ticket ticket = dialer->dial(request, [&](Result<ByteStreamPtr> result) { got = std::move(result); });
    REQUIRE(until([&] { return got.has_value(); }));
    return std::move(*got);
  }
  Error failure_by(ProxyPtr proxy, const std::string& host = "far.test", std::uint16_t port = 443) {
    auto stream = dial_by(std::move(proxy), host, port);
    REQUIRE_FALSE(stream);
    UNSCOPED_INFO(stream.error().message);
    CHECK(stream.error().message.find("s3cret") == std::string::npos);
    return stream.error();
  }
};

bool covers(std::initializer_list<const char*> entries, const char* host, std::uint16_t port = 443) {
  NoProxy exceptions;
  for (const char* entry : entries) REQUIRE(exceptions.add(entry));
  return exceptions.covers(host, port);
}

}  // namespace

TEST_CASE("a proxy is read from its URL, and its credentials are never shown") {
  auto proxy = parse_proxy(" http://us%40er:p%3Ass@Proxy.Corp:3128/ ");
  REQUIRE(proxy);
  CHECK(proxy->str() == "http://proxy.corp:3128");
  CHECK(proxy->username == "us@er");
  CHECK(proxy->password == "p:ss");
  CHECK(proxy_authorization(*proxy) == "Basic dXNAZXI6cDpzcw==");
  CHECK(parse_proxy("10.0.0.2:3128")->str() == "http://10.0.0.2:3128");
  CHECK(parse_proxy("proxy")->port == 80);
  CHECK(parse_proxy("https://[fd00::1]")->str() == "https://[fd00::1]:443");
  CHECK(proxy_authorization(*parse_proxy("proxy")).empty());
  for (const char* wrong : {"", "ftp://u:s3cret@p", "http://", "http://u:s3cret@p:99999", "http://p/path",
                            "http://a b", "http://u:s3cret%zz@p", "socks5://u:s3cret@p:1080", "http://p:0"}) {
    INFO(wrong);
    auto refused = parse_proxy(wrong);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == Errc::config);
    CHECK(refused.error().message.find("s3cret") == std::string::npos);
  }
  CHECK(parse_proxy("socks5://p:1080").error().message.find("SOCKS is not spoken") != std::string::npos);
}

TEST_CASE("no_proxy is read as Go reads it") {
  CHECK(covers({"example.com"}, "example.com"));
  CHECK(covers({"example.com"}, "a.B.Example.com."));
  CHECK_FALSE(covers({"example.com"}, "badexample.com"));
  CHECK_FALSE(covers({".example.com"}, "example.com"));
  CHECK(covers({".example.com"}, "a.example.com"));
  CHECK(covers({"*.example.com"}, "a.example.com"));
  CHECK_FALSE(covers({"*.example.com"}, "example.com"));
  CHECK(covers({"example.com:5000"}, "example.com", 5000));
  CHECK_FALSE(covers({"example.com:5000"}, "example.com", 443));
  CHECK(covers({"10.0.0.0/8"}, "10.9.8.7"));
  CHECK_FALSE(covers({"10.0.0.0/8"}, "11.0.0.1"));
  CHECK_FALSE(covers({"10.0.0.0/8"}, "ten.example.com"));
  CHECK(covers({"192.168.1.0/25"}, "192.168.1.127"));
  CHECK_FALSE(covers({"192.168.1.0/25"}, "192.168.1.128"));
  CHECK(covers({"fd00::/8"}, "fd12::1"));
  CHECK(covers({"0.0.0.0/0"}, "8.8.8.8"));
  CHECK_FALSE(covers({"0.0.0.0/0"}, "2001:db8::1"));
  CHECK(covers({"10.1.2.3"}, "10.1.2.3"));
  CHECK(covers({"10.1.2.3:5000"}, "10.1.2.3", 5000));
  CHECK_FALSE(covers({"10.1.2.3:5000"}, "10.1.2.3"));
  CHECK(covers({"[2001:db8::1]:5000"}, "2001:db8::1", 5000));
  CHECK(covers({"*"}, "ghcr.io"));
  CHECK(covers({}, "localhost"));
  CHECK(covers({}, "127.0.0.9"));
  CHECK(covers({}, "::1"));
  CHECK_FALSE(covers({}, "ghcr.io"));
  for (const char* wrong : {"10.0.0.0/33", "example.com/8", "fd00::/129", "a b", "10.0.0.0/", "x:port"}) {
    INFO(wrong);
    NoProxy exceptions;
    auto refused = exceptions.add(wrong);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find(wrong) != std::string::npos);
  }
}

TEST_CASE("each scheme has its own proxy") {
  ProxyRules rules;
  rules.https = proxy_at("http://one:1");
  REQUIRE(rules.exceptions.add(".local"));
  CHECK(rules.choose(true, "ghcr.io", 443) == rules.https);
  CHECK(rules.choose(false, "ghcr.io", 80) == nullptr);
  CHECK(rules.choose(true, "nexus.local", 443) == nullptr);
  rules.http = proxy_at("http://two:2");
  CHECK(rules.choose(false, "ghcr.io", 80) == rules.http);
}

// rules: proxy-tunnel
TEST_CASE("TLS goes through a tunnel, verified on the host's own name, which nobody looks up here") {
  Behind site;
  TlsServer server(site.served({.names = {"DNS:far.test"}}), say_hello);
  FakeProxySettings settings;
  settings.routes["far.test:443"] = server.port();
  bool has_tls = false;
  SECTION("http proxy") {}
  SECTION("http proxy with a user") { settings.user_and_password = "bob:s3cret"; }
  SECTION("https proxy") {
    settings.identity = Identity::make({.names = {"IP:127.0.0.1"}}, &site.authority);
    has_tls = true;
  }
  FakeProxy proxy(settings);
  auto parsed = *parse_proxy(proxy.url(settings.user_and_password));
  parsed.tls_settings = std::make_shared<const TlsSettings>(site.trusting());
  auto stream = site.dial_by(std::make_shared<const Proxy>(parsed), "far.test", 443);
  REQUIRE(stream);
  CHECK(site.read_all(**stream) == "hello");
  CHECK(server.last_sni() == "far.test");
  REQUIRE(proxy.requests().size() == 1);
  CHECK(proxy.requests()[0].rfind("CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n", 0) == 0);
  CHECK(site.report->proxy == proxy.url());
  CHECK(site.report->proxy_tls.has_value() == has_tls);
  CHECK(site.report->tls->verdict == PeerCertificates::Verdict::trusted);
}

TEST_CASE("an IPv6 host is named in brackets to the proxy") {
  Behind site;
  TlsServer server(site.served({.names = {"IP:2001:db8::7"}}), say_hello);
  FakeProxy proxy({.routes = {{"[2001:db8::7]:443", server.port()}}});
  CHECK(site.dial_by(proxy_at(proxy.url()), "2001:db8::7", 443));
}

TEST_CASE("what a proxy refuses is told with its own status and reason") {
  Behind site;
  SECTION("a login that is missing, and one that is wrong") {
    FakeProxy proxy({.user_and_password = "bob:s3cret"});
    const Error missing = site.failure_by(proxy_at(proxy.url()));
    CHECK(missing.diagnosis == "proxy_failed");
    CHECK(missing.status == 407);
    CHECK(says(missing, "407 Proxy Authentication Required to CONNECT far.test:443"));
    CHECK(says(missing, "it wants a user name and a password"));
    const Error wrong = site.failure_by(proxy_at(proxy.url("bob:other-s3cret")));
    CHECK(says(wrong, "it refuses the user name or password"));
  }
  SECTION("its rules") {
    FakeProxy proxy({.answer = "HTTP/1.0 403 Filtered\r\nServer: x\r\n\r\n<html>"});
    const Error error = site.failure_by(proxy_at(proxy.url()));
    CHECK(error.status == 403);
    CHECK(says(error, "403 Filtered"));
    CHECK(says(error, "proxy.no_proxy"));
  }
  SECTION("a name that it does not find") {
    FakeProxy proxy({});
    const Error error = site.failure_by(proxy_at(proxy.url()));
    CHECK(error.status == 502);
    CHECK(says(error, "ERR_DNS_FAIL"));
    CHECK(says(error, "it could not reach the host itself"));
  }
  SECTION("no HTTP") {
    FakeProxy proxy({.answer = "SSH-2.0-OpenSSH\r\n"});
    const Error error = site.failure_by(proxy_at(proxy.url()));
    CHECK(error.diagnosis == "proxy_failed");
    CHECK(says(error, "does not speak HTTP"));
  }
  SECTION("nobody there") {
    const Error error = site.failure_by(proxy_at("http://127.0.0.1:1"));
    CHECK(error.diagnosis == "proxy_failed");
    CHECK(says(error, "the proxy http://127.0.0.1:1 cannot be used"));
    CHECK(says(error, "refused the connection"));
  }
  SECTION("a name of the proxy that is not there") {
    const Error error = site.failure_by(proxy_at("http://absent.test:3128"));
    CHECK(error.diagnosis == "proxy_failed");
  }
  SECTION("a certificate of an https proxy that is not trusted") {
    FakeProxy proxy({.identity = Identity::make({.names = {"IP:127.0.0.1"}})});
    const Error error = site.failure_by(proxy_at(proxy.url()));
    CHECK(error.diagnosis == "proxy_failed");
    CHECK(says(error, "self-signed"));
  }
}

TEST_CASE("a proxy that says nothing costs the deadline and is named") {
  Behind site;
  FakeProxy proxy({.is_silent = true});
  auto stream = site.dial_by(proxy_at(proxy.url()), "far.test", 443, true, AddressPolicy::any, 150ms);
  REQUIRE_FALSE(stream);
  CHECK(stream.error().diagnosis == "proxy_failed");
  CHECK(says(stream.error(), "did not answer CONNECT far.test:443 in time"));
}

// rules: private-refused
TEST_CASE("an inside address is refused behind a proxy as without one, and names are the proxy's business") {
  Behind site;
  TlsServer server(site.served({.names = {"DNS:far.test"}}), say_hello);
  FakeProxy proxy({.routes = {{"far.test:443", server.port()}}});
  for (const char* host : {"10.1.2.3", "169.254.169.254", "::ffff:127.0.0.1"}) {
    INFO(host);
    auto refused = site.dial_by(proxy_at(proxy.url()), host, 443, true, AddressPolicy::public_only);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().diagnosis == "address_not_allowed");
  }
  CHECK(proxy.requests().empty());
  CHECK(site.dial_by(proxy_at(proxy.url()), "far.test", 443, true, AddressPolicy::public_only));
}
