// Requests through an HTTP proxy, and plain HTTP where HTTPS is spoken.
#include "tests/unit/http/client_fixture.h"

namespace layerd::test {
namespace {

struct Proxied : ClientFixture {
  Proxied() {
    auto rules = std::make_shared<net::ProxyRules>();
    rules->http = rules->https =
        std::make_shared<const net::Proxy>(*net::parse_proxy("http://bob:s3cret@proxy.test:3128"));
    static_cast<void>(rules->exceptions.add("near.test").ok());
    client->set_proxies(rules);
  }
  http::ClientRequest plain(const std::string& host, std::uint16_t port) {
    auto made = request("/v2/x?ns=a");
    made.where.host = host;
    made.where.port = port;
    made.where.tls = false;
    return made;
  }
};

const std::string kHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

TEST_CASE("without TLS the proxy is asked for the object in absolute form, with its login") {
  Proxied f;
  Asking asking;
  f.start(asking, f.plain("registry.test", 5000));
  REQUIRE(f.dialer.last.proxy);
  CHECK(f.dialer.last.proxy->str() == "http://proxy.test:3128");
  CHECK(f.upstream().take() ==
        "GET http://registry.test:5000/v2/x?ns=a HTTP/1.1\r\nHost: registry.test:5000\r\n"
        "Proxy-Authorization: Basic Ym9iOnMzY3JldA==\r\n\r\n");
  f.answer(kHello);
  CHECK(asking.body == "hello");
  CHECK(f.client->idle_connections() == 1);
}

TEST_CASE("with TLS the tunnel is the dialer's, and the registry hears nothing of the proxy") {
  Proxied f;
  Asking asking;
  f.start(asking, f.request("/v2/"));
  CHECK(f.dialer.last.proxy);
  CHECK(f.upstream().take() == "GET /v2/ HTTP/1.1\r\nHost: registry.test\r\n\r\n");
}

// rules: no-proxy
TEST_CASE("what no_proxy names is asked directly") {
  Proxied f;
  Asking asking;
  f.start(asking, f.plain("a.near.test", 80));
  CHECK_FALSE(f.dialer.last.proxy);
  CHECK(f.upstream().take() == "GET /v2/x?ns=a HTTP/1.1\r\nHost: a.near.test\r\n\r\n");
}

TEST_CASE("what the proxy says in its own name is its failure, not the registry's") {
  Proxied f;
  Asking asking;
  f.start(asking, f.plain("registry.test", 80));
  SECTION("a login") {
    f.answer("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    REQUIRE(asking.error);
    CHECK(asking.error->status == 407);
    CHECK(asking.error->message.find("407 Proxy Authentication Required to GET http://registry.test") !=
          std::string::npos);
  }
  SECTION("squid cannot find the host") {
    f.answer(
        "HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\nContent-Length: 0\r\n\r\n");
    REQUIRE(asking.error);
    CHECK(asking.error->message.find("ERR_DNS_FAIL") != std::string::npos);
  }
  CHECK(asking.error->code == Errc::upstream_unreachable);
  CHECK(asking.error->diagnosis == "proxy_failed");
  CHECK(asking.error->message.find("s3cret") == std::string::npos);
}

TEST_CASE("a registry's own error through the proxy stays the registry's") {
  Proxied f;
  Asking asking;
  f.start(asking, f.plain("registry.test", 80));
  f.answer("HTTP/1.1 503 Service Unavailable\r\nVia: 1.1 squid\r\nContent-Length: 0\r\n\r\n");
  REQUIRE(asking.response);
  CHECK(asking.response->head.status == 503);
}

TEST_CASE("TLS records where plain HTTP was expected are named as the wrong scheme") {
  ClientFixture f;
  Asking asking;
  auto request = f.request();
  request.where.tls = false;
  f.start(asking, std::move(request));
  f.answer(std::string_view("\x15\x03\x01\x00\x02\x02\x46", 7));
  REQUIRE(asking.error);
  CHECK(asking.error->diagnosis == "scheme_mismatch");
  CHECK(asking.error->code == Errc::upstream_protocol);
  CHECK(asking.error->message.find("write https://") != std::string::npos);
}

}  // namespace
}  // namespace layerd::test
