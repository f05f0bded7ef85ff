// The way there: what hosts are told of TLS, wrong schemes told by web servers, the limit of all
// downloads, and which failures of the way are tried again.
#include "proxy/upstream/answer.h"
#include "proxy/upstream/counted_body.h"
#include "proxy/upstream/failover.h"
#include "proxy/upstream/wire.h"
#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {

constexpr const char* kNginx =
    "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>";

struct Plain : Upstreams {
  Plain() {
    mirror("reg.example", {"http://reg.example:8443/v2"}, false);
    build();
  }
};

}  // namespace

TEST_CASE("plain HTTP at the port of HTTPS is told as that, whoever the server is") {
  for (const char* body : {kNginx, "Client sent an HTTP request to an HTTPS server.\n",
                           "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />"}) {
    Plain up;
    up.client.reply("GET http://reg.example:8443/v2/app/manifests/1?ns=reg.example",
                    status(400, {{"Content-Type", "text/html"}}, body));
    up.client.reply("GET http://reg.example:8443/v2/app/manifests/1", status(400, {}, body));
    auto answer = up.fetch(up.manifest("reg.example", "app", "1"));
    REQUIRE_FALSE(answer);
    INFO(answer.error().message);
    CHECK(answer.error().diagnosis == "scheme_mismatch");
    CHECK(answer.error().message.find("write https://") != std::string::npos);
  }
}

TEST_CASE("a HEAD that met a 400 asks by GET for the words") {
  Plain up;
  for (const char* line : {"http://reg.example:8443/v2/app/manifests/1?ns=reg.example",
                           "http://reg.example:8443/v2/app/manifests/1"}) {
    up.client.reply(std::string("HEAD ") + line, status(400));
    up.client.reply(std::string("GET ") + line, status(400, {}, kNginx));
  }
  auto request = up.manifest("reg.example", "app", "1");
  request.head_only = true;
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().diagnosis == "scheme_mismatch");
}

TEST_CASE("a web server that wants a client certificate says so in a 400") {
  CHECK(upstream::wrong_transport("https://x", 400, "400 No required SSL certificate was sent")->diagnosis ==
        "tls_client_certificate");
  CHECK(upstream::wrong_transport("https://x", 400, "<title>400 The SSL certificate error</title>")
            ->diagnosis == "tls_client_certificate");
  CHECK_FALSE(upstream::wrong_transport("https://x", 400, "NAME_INVALID"));
  CHECK_FALSE(upstream::wrong_transport("https://x", 404, kNginx));
}

TEST_CASE("failures of the way there that a moment may mend are tried again, others not") {
  const auto error = [](const char* diagnosis, int status) {
    return Error{Errc::upstream_unreachable, "x", 0, status, diagnosis, {}};
  };
  CHECK(upstream::is_worth_retrying(error("proxy_failed", 0)));
  CHECK(upstream::is_worth_retrying(error("proxy_failed", 503)));
  CHECK_FALSE(upstream::is_worth_retrying(error("proxy_failed", 407)));
  CHECK_FALSE(upstream::is_worth_retrying(error("proxy_failed", 403)));
  CHECK_FALSE(upstream::is_worth_retrying(error("scheme_mismatch", 0)));
  CHECK_FALSE(upstream::is_worth_retrying(error("tls_expired", 0)));
  CHECK(upstream::is_worth_retrying(error("connect_refused", 0)));
}

TEST_CASE("what configs and certs_dirs say of a host goes along with each dial to it") {
  Upstreams up;
  auto host = std::make_shared<registry::HostSettings>();
  host->ca_dir = "/cas";
  host->system_cas = false;
  host->tls_minor = 3;
  up.configure("reg.example:5000", host);
  up.settings.certs_dirs = {"/etc/docker/certs.d"};
  up.mirror("reg.example:5000", {"https://reg.example:5000/v2"}, false);
  up.client.reply("GET https://reg.example:5000/v2/app/blobs/" + kDigest, ok());
  auto answer = up.fetch(up.blob("reg.example:5000", "app"));
  REQUIRE(answer);
  const auto& tls = up.client.sent()[0].where.tls_settings;
  CHECK(tls.ca_dir == "/cas");
  CHECK_FALSE(tls.system_cas);
  CHECK(tls.minor_version == 3);
  CHECK(tls.certs_dirs == std::vector<std::string>{"/etc/docker/certs.d"});
  CHECK(tls.certs_host == "reg.example");
  CHECK(tls.certs_port == 5000);
}

// rules: download-limit
TEST_CASE("bodies keep to the limit of all downloads, and a change of it counts at once") {
  Upstreams up;
  up.mirror("reg.example", {"https://reg.example/v2"}, false);
  up.client.reply("GET https://reg.example/v2/app/blobs/" + kDigest, ok(std::string(1'000'000, 'x')));
  up.build();
  up.fetcher->set_download_limit(1'000'000);
  auto first = up.fetch(up.blob("reg.example", "app")), second = up.fetch(up.blob("reg.example", "app"));
  REQUIRE(first);
  REQUIRE(second);
  std::size_t total = 0;
  struct Pump {
    http::BodyReader& body;
    std::size_t& total;
    std::size_t own = 0;
    Ticket reading = {};
    void next() {
      reading = body.read(http::kMostBodyRead, [this](Result<Bytes> bytes) {
        if (!bytes || bytes->empty()) return;
        own += bytes->size();
        total += bytes->size();
        next();
      });
    }
  };
  Pump one{*first->body, total}, two{*second->body, total};
  one.next();
  two.next();
  up.loop.advance(1s);
  CHECK(total > 900'000);
  CHECK(total < 1'300'000);
  CHECK(one.own > 400'000);
  CHECK(two.own > 400'000);
  up.fetcher->set_download_limit(0);
  up.loop.run();
  CHECK(total == 2'000'000);
}

TEST_CASE("a body that is let go of while it waits for its share is not read any more") {
  Upstreams up;
  up.mirror("reg.example", {"https://reg.example/v2"}, false);
  up.client.reply("GET https://reg.example/v2/app/blobs/" + kDigest, ok(std::string(1'000'000, 'x')));
  up.build();
  up.fetcher->set_download_limit(125'000);
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE(answer);
  Ticket kept = answer->body->read(65536, [](Result<Bytes>) { FAIL("nobody is there"); });
  answer->body.reset();
  up.loop.advance(2s);
}
