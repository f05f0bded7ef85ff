// Requests, answers and redirects of one endpoint.
#include "tests/unit/upstream/fixture.h"

using namespace layerd;
using namespace layerd::test;

namespace {
const std::string kBlob = "GET https://reg.example/v2/app/blobs/" + kDigest;
const std::string kManifest = "GET https://reg.example/v2/app/manifests/1";
}  // namespace

TEST_CASE("a manifest is asked for with every type, without encoding, by name") {
  Upstreams up;
  up.client.reply(kManifest, ok("{}"));
  auto answer = up.fetch(up.manifest("reg.example", "app", "1"));
  REQUIRE(answer);
  CHECK(up.body(*answer) == "{}");
  CHECK(answer->endpoint_name == "https://reg.example");
  CHECK_FALSE(answer->authenticated);
  const auto& sent = up.client.sent().at(0);
  CHECK(sent.header("Accept").find("vnd.oci.image.index.v1+json") != std::string::npos);
  CHECK(sent.header("Accept").find("manifest.list.v2+json") != std::string::npos);
  CHECK(sent.header("Accept-Encoding") == "identity");
  CHECK(sent.header("User-Agent") == "layerd/0.1.0");
  CHECK(sent.header("Via") == "1.1 " + upstream::via_name("test"));
  CHECK(sent.where.policy == net::AddressPolicy::public_only);
  CHECK(up.metrics.total("layerd_upstream_bytes_total") == 2);
  CHECK(up.metrics.total("layerd_upstream_requests_total") == 1);
}

TEST_CASE("a mirror is told the registry, the registry itself is not") {
  Upstreams up;
  up.mirror("reg.example", {"https://mirror.example/v2"});
  up.client.reply("HEAD https://mirror.example/v2/app/manifests/1?ns=reg.example", down());
  up.client.reply("HEAD https://reg.example/v2/app/manifests/1", ok());
  auto request = up.manifest("reg.example", "app", "1");
  request.head_only = true;
  auto answer = up.fetch(request);
  REQUIRE(answer);
  CHECK(answer->endpoint == 1);
}

// rules: part-as-asked
TEST_CASE("a part must begin where it was asked to") {
  Upstreams up;
  auto request = up.blob("reg.example", "app");
  request.range = ByteRange{10, 20};
  SECTION("right") {
    up.client.reply(kBlob, status(206, {{"Content-Range", "bytes 10-19/100"}}, "0123456789"));
    auto answer = up.fetch(request);
    REQUIRE(answer);
    CHECK(up.client.sent()[0].header("Range") == "bytes=10-19");
    CHECK(answer->body_range == ByteRange{10, 20});
    CHECK(answer->total == 100u);
    CHECK(answer->ranges_supported);
  }
  SECTION("ignored") {
    up.client.reply(kBlob, ok("all of it"));
    auto answer = up.fetch(request);
    REQUIRE(answer);
    CHECK(answer->body_range == ByteRange{0, 9});
    CHECK_FALSE(answer->ranges_supported);
  }
  SECTION("elsewhere") {
    up.client.reply(kBlob, status(206, {{"Content-Range", "bytes 0-9/100"}}, "0123456789"));
  }
  SECTION("too long") {
    up.client.reply(kBlob, status(206, {{"Content-Range", "bytes 10-20/100"}}, "0123456789a"));
  }
  SECTION("two lengths") {
    up.client.reply(kBlob, status(206, {{"Content-Range", "bytes 10-19/100"}}, "012"));
  }
  SECTION("no Content-Range") { up.client.reply(kBlob, status(206, {}, "0123456789")); }
  if (up.client.sent().empty()) {
    auto answer = up.fetch(request);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::upstream_protocol);
  }
}

TEST_CASE("an open range is asked for as such, and one past the end is told") {
  Upstreams up;
  auto request = up.blob("reg.example", "app");
  request.range = ByteRange{500, upstream::kOpenEnd};
  up.client.reply(kBlob, status(416, {{"Content-Range", "bytes */100"}}));
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::range_unsatisfiable);
  CHECK(up.client.sent()[0].header("Range") == "bytes=500-");
}

// rules: html-refused, html-sniffed, announced-digest, no-encoding
TEST_CASE("what is not a registry's answer is refused by name") {
  Upstreams up;
  auto request = up.manifest("reg.example", "app", "1");
  std::string diagnosis;
  SECTION("HTML by type") {
    up.client.reply(kManifest, status(200, {{"Content-Type", "text/html; charset=utf-8"}}, "hello"));
    diagnosis = "not_a_registry";
  }
  SECTION("HTML by its first byte") {
    up.client.reply(kManifest, status(200, {{"Content-Type", "application/json"}}, "\n<html>"));
    diagnosis = "not_a_registry";
  }
  SECTION("a 404 of some web server") {
    up.client.reply(kManifest, status(404, {{"Content-Type", "text/html"}}, "<h1>404</h1>"));
    diagnosis = "not_a_registry";
  }
  SECTION("compressed") {
    up.client.reply(kManifest, status(200, {{"Content-Encoding", "gzip"}}, "xx"));
    diagnosis = "content_encoding";
  }
  SECTION("empty") {
    up.client.reply(kManifest, ok(""));
    diagnosis = "empty_manifest";
  }
  SECTION("another digest") {
    request.kind = Kind::blob;
    request.reference = kDigest;
    up.client.reply(kBlob, status(200, {{"Docker-Content-Digest", "sha256:" + std::string(64, 'b')}}, "x"));
    diagnosis = "digest_header_mismatch";
  }
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_protocol);
  CHECK(answer.error().diagnosis == diagnosis);
  CHECK(answer.error().message.find("https://reg.example") != std::string::npos);
}

// rules: ingress-without-route
TEST_CASE("the 404 of an ingress without a route is told as that, a registry's in plain text is its word") {
  const auto plain = [](std::string body, bool is_registry = false) {
    auto reply = status(404, {{"Content-Type", "text/plain; charset=utf-8"}}, std::move(body));
    if (is_registry) reply.headers.push_back({"Docker-Distribution-Api-Version", "registry/2.0"});
    return reply;
  };
  Upstreams up;
  auto request = up.manifest("reg.example", "app", "1");
  auto code = Errc::upstream_protocol;
  SECTION("Traefik") { up.client.reply(kManifest, plain("404 page not found\n")); }
  SECTION("ingress-nginx") { up.client.reply(kManifest, plain("default backend - 404")); }
  SECTION("HEAD, by the length alone") {
    request.head_only = true;
    auto reply = plain("");
    reply.headers.push_back({"Content-Length", "19"});
    up.client.reply("HEAD" + kManifest.substr(3), reply);
  }
  SECTION("a registry that says so") {
    up.client.reply(kManifest, plain("404 page not found\n", true));
    code = Errc::not_found;
  }
  SECTION("other words") {
    up.client.reply(kManifest, plain("no such manifest"));
    code = Errc::not_found;
  }
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == code);
  CHECK((answer.error().message.find("no route for this host") != std::string::npos) ==
        (code == Errc::upstream_protocol));
}

TEST_CASE("a registry's words reach the error") {
  Upstreams up;
  up.client.reply(
      kManifest, status(404, {}, R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})"));
  auto answer = up.fetch(up.manifest("reg.example", "app", "1"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::not_found);
  CHECK(answer.error().message.find("manifest unknown") != std::string::npos);
}

// rules: credentials-stay-home
TEST_CASE("credentials stay at home when a redirect leads to another host, the range goes along") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  const std::string storage = "GET https://cdn.other.net/x?signature=SECRET";
  up.client.reply(kBlob, challenge("Basic realm=\"x\""));
  up.client.reply(kBlob, redirect("https://cdn.other.net/x?signature=SECRET"));
  up.client.reply(storage, status(206, {{"Content-Range", "bytes 5-6/7"}}, "ab"));
  auto request = up.blob("reg.example", "app");
  request.range = ByteRange{5, upstream::kOpenEnd};
  auto answer = up.fetch(request);
  REQUIRE(answer);
  CHECK(answer->authenticated);
  REQUIRE(up.client.lines() == std::vector<std::string>{kBlob, kBlob, storage});
  CHECK(up.client.sent()[0].header("Authorization").empty());
  CHECK(up.client.sent()[1].header("Authorization") == "Basic bWU6cHc=");
  CHECK(up.client.sent()[2].header("Authorization").empty());
  CHECK(up.client.sent()[2].header("Range") == "bytes=5-");
  CHECK(up.metrics.total("layerd_upstream_redirects_total") == 1);
}

TEST_CASE("credentials go along a relative redirect on the same origin") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  up.client.reply(kBlob, challenge("BASIC"));
  up.client.reply(kBlob, redirect("/artifacts-downloads/x", 302));
  up.client.reply("GET https://reg.example/artifacts-downloads/x", ok());
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent().back().header("Authorization") == "Basic bWU6cHc=");
}

TEST_CASE("another port is another origin, and a way back brings no credentials") {
  Upstreams up;
  up.configure("reg.example", up.login("me", "pw"));
  up.client.reply(kBlob, challenge("Basic realm=x"));
  up.client.reply(kBlob, redirect("https://reg.example:8443/y"));
  up.client.reply("GET https://reg.example:8443/y", redirect("https://reg.example/z"));
  up.client.reply("GET https://reg.example/z", ok());
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  CHECK(up.client.sent()[2].header("Authorization").empty());
  CHECK(up.client.sent()[3].header("Authorization").empty());
}

// rules: redirects-bounded, redirects-keep-tls
TEST_CASE("redirects never leave TLS, end after five, and need a place") {
  Upstreams up;
  std::string diagnosis;
  SECTION("http") {
    up.client.reply(kBlob, redirect("http://cdn.other.net/x"));
    diagnosis = "redirect_to_http";
  }
  SECTION("a circle") {
    up.client.reply(kBlob, redirect(kBlob.substr(4)));
    diagnosis = "too_many_redirects";
  }
  SECTION("no Location") {
    up.client.reply(kBlob, status(307));
    diagnosis = "bad_redirect";
  }
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().diagnosis == diagnosis);
  CHECK(up.client.sent().size() <= 6);
}

// Red if the target's own settings or policy count for an endpoint that anybody may name.
TEST_CASE("a redirect obeys the rule of the endpoint: public, of the site, or configured itself") {
  Upstreams up;
  const auto [endpoint, target] =
      GENERATE(table<bool, bool>({{false, false}, {false, true}, {true, false}, {true, true}}));
  if (endpoint) up.configure("reg.example");
  if (target) {
    auto host = std::make_shared<registry::HostSettings>();
    host->cert_file = "/client.pem";
    host->insecure_skip_verify = true;
    up.configure("10.0.0.5", host);
  }
  up.client.reply(kBlob, redirect("https://10.0.0.5/x"));
  up.client.reply("GET https://10.0.0.5/x", ok());
  REQUIRE(up.fetch(up.blob("reg.example", "app")));
  const auto home = endpoint ? net::AddressPolicy::any : net::AddressPolicy::public_only;
  CHECK(up.client.sent()[0].where.policy == home);
  const auto& led = up.client.sent()[1].where;
  CHECK(led.policy == (endpoint && !target ? net::AddressPolicy::site : home));
  CHECK(led.tls_settings.cert_file == (endpoint && target ? "/client.pem" : ""));
  CHECK(led.tls_settings.insecure_skip_verify == (endpoint && target));
}

TEST_CASE("a signed URL that ran out is made anew once, and its query is never told") {
  Upstreams up;
  up.client.reply(kBlob, redirect("https://cdn.other.net/1?sig=SECRET"));
  up.client.reply(kBlob, redirect("https://cdn.other.net/2?sig=SECRET"));
  up.client.reply("GET https://cdn.other.net/1?sig=SECRET", status(403));
  SECTION("the second works") {
    up.client.reply("GET https://cdn.other.net/2?sig=SECRET", ok());
    CHECK(up.fetch(up.blob("reg.example", "app")));
  }
  SECTION("the second does not either") {
    up.client.reply("GET https://cdn.other.net/2?sig=SECRET", status(403));
    auto answer = up.fetch(up.blob("reg.example", "app"));
    REQUIRE_FALSE(answer);
    CHECK(answer.error().code == Errc::upstream_status);
    CHECK(answer.error().message.find("SECRET") == std::string::npos);
  }
  CHECK(up.client.count(kBlob) == 2);
}

TEST_CASE("offline asks nobody") {
  Upstreams up;
  up.settings.offline = true;
  auto answer = up.fetch(up.blob("reg.example", "app"));
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_unreachable);
  CHECK(answer.error().diagnosis == "offline");
  CHECK(up.client.sent().empty());
}

TEST_CASE("a storage or registry without HEAD is asked for the first byte by GET instead") {
  Upstreams up;
  const std::string head = "HEAD https://reg.example/v2/app/blobs/" + kDigest;
  const std::string stored = "https://store.example/x?signed";
  auto request = up.blob("reg.example", "app");
  request.head_only = true;
  std::optional<ByteCount> total = 1000;
  SECTION("a storage whose URL is signed for GET") {
    up.client.reply(head, redirect(stored));
    up.client.reply(kBlob, redirect(stored));
    up.client.reply("HEAD " + stored, status(403));
    up.client.reply("GET " + stored, status(206, {{"Content-Range", "bytes 0-0/1000"}}, "x"));
  }
  SECTION("one that ignores the range") {
    total = 9;
    up.client.reply(head, redirect(stored));
    up.client.reply(kBlob, redirect(stored));
    up.client.reply("HEAD " + stored, status(405));
    up.client.reply("GET " + stored, ok("all of it"));
  }
  SECTION("a registry that knows no HEAD of blobs") {
    up.client.reply(head, status(405));
    up.client.reply(kBlob, status(206, {{"Content-Range", "bytes 0-0/1000"}}, "x"));
  }
  SECTION("an empty blob") {
    total = 0;
    up.client.reply(head, status(501));
    up.client.reply(kBlob, status(416, {{"Content-Range", "bytes */0"}}, "no such range"));
  }
  auto answer = up.fetch(request);
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->total == total);
  CHECK(up.body(*answer).empty());
  CHECK(up.client.sent().back().header("Range") == "bytes=0-0");
}

TEST_CASE("what a storage refuses to HEAD and to GET is refused") {
  Upstreams up;
  up.client.reply("HEAD https://reg.example/v2/app/blobs/" + kDigest, redirect("https://store.example/x"));
  up.client.reply(kBlob, redirect("https://store.example/x"));
  up.client.reply("HEAD https://store.example/x", status(403));
  up.client.reply("GET https://store.example/x", status(403));
  auto request = up.blob("reg.example", "app");
  request.head_only = true;
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == Errc::upstream_status);
  CHECK(up.client.sent().size() <= 8);
}

TEST_CASE("of an error body 64 KiB are read and no more") {
  Upstreams up;
  const std::string words = R"({"errors":[{"code":"DENIED","message":"the words"}],"more":")";
  const std::size_t size = GENERATE(60u << 10, 200u << 10);
  up.client.reply(kManifest, status(500, {}, words + std::string(size, 'x') + "\"}"));
  auto request = up.manifest("reg.example", "app", "1");
  request.deadline = Deadline::in(up.loop.now(), 1s);
  auto answer = up.fetch(request);
  REQUIRE_FALSE(answer);
  CHECK((answer.error().message.find("the words") != std::string::npos) == (size < (64u << 10)));
  CHECK(answer.error().message.size() < 1000);
}
