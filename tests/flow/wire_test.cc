// The answers on the wire, row by row: headers, ranges, conditions, errors, connections.
#include "tests/flow/flow.h"

using namespace layerd::test;
using std::chrono::milliseconds;

namespace {

struct Served : Flow {
  explicit Served(std::size_t size = 100 * 1000) : bytes(random_bytes(size, 3)) {
    digest = upstream.add_blob(bytes);
    image = make_image({{5000}});
    upstream.add(image, "team/app", "1");
  }
  std::string bytes, digest;
  Image image;
};

}  // namespace

TEST_CASE("/v2/ says that here is a registry and never challenges", "[wire]") {
  Flow flow;
  for (const char* path : {"/v2/", "/v2"}) {
    const ProbeReply reply = flow.layerd.get(path);
    CHECK(reply.status == 200);
    CHECK(reply.body == "{}");
    CHECK(reply.header("docker-distribution-api-version") == "registry/2.0");
    CHECK(reply.header("content-type") == "application/json");
  }
}

TEST_CASE("a manifest by tag and by digest carries type, length, digest and namespace", "[wire]") {
  Served flow;
  const std::string& text = flow.image.manifests.at(flow.image.top).second;
  for (const std::string& reference : {std::string("1"), flow.image.top}) {
    for (const char* method : {"HEAD", "GET"}) {
      ProbeRequest request{flow.layerd.port(), Flow::manifest(reference)};
      request.method = method;
      const ProbeReply reply = probe(request);
      INFO(method << " " << reference << ": " << reply.status << " " << reply.reason);
      CHECK(reply.status == 200);
      CHECK(reply.header("content-type") == "application/vnd.oci.image.manifest.v1+json");
      CHECK(reply.header("content-length") == std::to_string(text.size()));
      CHECK(reply.header("docker-content-digest") == flow.image.top);
      CHECK(reply.header("oci-namespace") == "registry.test");
      CHECK_FALSE(reply.header("layerd-source").empty());
      CHECK(reply.body == (std::string(method) == "HEAD" ? "" : text));
    }
  }
}

TEST_CASE("a blob is upstream's the first time and a hit the second", "[wire]") {
  Served flow;
  const ProbeReply first = flow.layerd.get(Flow::blob(flow.digest));
  CHECK(first.header("layerd-source") == "upstream");
  REQUIRE(eventually([&] { return flow.layerd.has_blob(flow.digest); }));
  const int asked = flow.upstream.count("GET", "");
  const ProbeReply second = flow.layerd.get(Flow::blob(flow.digest));
  CHECK(second.header("layerd-source") == "hit");
  CHECK(second.body == flow.bytes);
  CHECK(second.header("etag") == '"' + flow.digest + '"');
  CHECK(second.header("accept-ranges") == "bytes");
  CHECK(second.header("docker-content-digest") == flow.digest);
  const ProbeReply head = flow.layerd.head(Flow::blob(flow.digest));
  CHECK(head.status == 200);
  CHECK(head.header("content-length") == std::to_string(flow.bytes.size()));
  CHECK(flow.upstream.count("GET", "") == asked);
}

TEST_CASE("HEAD of a blob nobody has fetched is answered from the upstream's head", "[wire]") {
  Served flow;
  const ProbeReply head = flow.layerd.head(Flow::blob(flow.digest));
  CHECK(head.status == 200);
  CHECK(head.header("content-length") == std::to_string(flow.bytes.size()));
  CHECK(flow.layerd.head(Flow::blob("sha256:" + std::string(64, 'b'))).status == 404);
}

TEST_CASE("ranges of a finished and of an unknown blob", "[wire]") {
  Served flow;
  const bool warm = GENERATE(false, true);
  if (warm) {
    (void)flow.layerd.get(Flow::blob(flow.digest));
    REQUIRE(eventually([&] { return flow.layerd.has_blob(flow.digest); }));
  }
  const auto get = [&](const std::string& range, const std::string& if_range = "") {
    std::vector<std::pair<std::string, std::string>> headers = {{"Range", range}};
    if (!if_range.empty()) headers.emplace_back("If-Range", if_range);
    return flow.layerd.get(Flow::blob(flow.digest), headers);
  };
  const std::string size = std::to_string(flow.bytes.size());
  SECTION("from to") {
    const ProbeReply reply = get("bytes=10-19");
    CHECK(reply.status == 206);
    CHECK(reply.header("content-range") == "bytes 10-19/" + size);
    CHECK(reply.body == flow.bytes.substr(10, 10));
  }
  SECTION("open") {
    const ProbeReply reply = get("bytes=99990-");
    CHECK(reply.status == 206);
    CHECK(reply.body == flow.bytes.substr(99990));
  }
  SECTION("all of it") {
    const ProbeReply reply = get("bytes=0-");
    CHECK(reply.status == 206);
    CHECK(reply.body == flow.bytes);
  }
  SECTION("suffix") {
    const ProbeReply reply = get("bytes=-7");
    CHECK(reply.status == 206);
    CHECK(reply.body == flow.bytes.substr(flow.bytes.size() - 7));
  }
  SECTION("several") {
    const ProbeReply reply = get("bytes=0-9,50000-50009");
    CHECK(reply.status == 206);
    CHECK(reply.header("content-type").starts_with("multipart/byteranges; boundary="));
    CHECK(reply.body.find(flow.bytes.substr(0, 10)) != std::string::npos);
    CHECK(reply.body.find(flow.bytes.substr(50000, 10)) != std::string::npos);
    CHECK(reply.body.find("bytes 50000-50009/" + size) != std::string::npos);
  }
  SECTION("beyond the end") {
    const ProbeReply reply = get("bytes=" + size + "-");
    CHECK(reply.status == 416);
    CHECK(reply.header("content-range") == "bytes */" + size);
  }
  SECTION("nonsense is ignored") {
    CHECK(get("bytes=9-1").status == 200);
    CHECK(get("lines=1-2").status == 200);
  }
  SECTION("If-Range with the right mark") { CHECK(get("bytes=0-9", '"' + flow.digest + '"').status == 206); }
  SECTION("If-Range with another mark") {
    const ProbeReply reply = get("bytes=0-9", "\"other\"");
    CHECK(reply.status == 200);
    CHECK(reply.body == flow.bytes);
  }
}

TEST_CASE("manifests take ranges and conditions as well", "[wire]") {
  Served flow;
  const std::string& text = flow.image.manifests.at(flow.image.top).second;
  const ProbeReply whole = flow.layerd.get(Flow::manifest(flow.image.top), {{"Range", "bytes=0-"}});
  CHECK(whole.status == 206);
  CHECK(whole.body == text);
  const ProbeReply same =
      flow.layerd.get(Flow::manifest(flow.image.top), {{"If-None-Match", '"' + flow.image.top + '"'}});
  CHECK(same.status == 304);
  CHECK(flow.layerd.get(Flow::manifest(flow.image.top), {{"If-None-Match", "\"other\""}}).status == 200);
}

TEST_CASE("the registry comes from ns, from the path, or is docker.io", "[wire]") {
  Served flow;
  const ProbeReply by_path = flow.layerd.get("/v2/registry.test/team/app/manifests/1");
  CHECK(by_path.status == 200);
  CHECK(by_path.header("docker-content-digest") == flow.image.top);
  CHECK(flow.upstream.count("GET", "/v2/team/app/manifests/") +
            flow.upstream.count("HEAD", "/v2/team/app/manifests/") >
        0);
  CHECK(flow.layerd.get("/v2/team/app/manifests/1?x=y&ns=registry%2Etest").status == 200);
}

// rules: digest-form, names-in-the-grammar, only-reads
TEST_CASE("bad requests are refused with the registry's own error form and no traffic upstream", "[wire]") {
  Flow flow;
  const auto refused = [&](const std::string& target, int status, const std::string& code,
                           const std::string& method = "GET") {
    ProbeRequest request{flow.layerd.port(), target};
    request.method = method;
    const ProbeReply reply = probe(request);
    INFO(method << " " << target << ": " << reply.status << " " << reply.body);
    CHECK(reply.status == status);
    CHECK(reply.body.find("\"" + code + "\"") != std::string::npos);
    CHECK(reply.header("content-type") == "application/json");
  };
  refused("/v2/UPPER/manifests/1?ns=registry.test", 400, "NAME_INVALID");
  refused("/v2/a/../b/manifests/1?ns=registry.test", 400, "NAME_INVALID");
  refused("/v2/a/blobs/sha256:12?ns=registry.test", 400, "DIGEST_INVALID");
  refused("/v2/a/blobs/uploads/?ns=registry.test", 405, "UNSUPPORTED", "POST");
  refused("/v2/a/manifests/1?ns=registry.test", 405, "UNSUPPORTED", "DELETE");
  CHECK(flow.layerd.get("/v2/_catalog").status == 404);
  CHECK(flow.layerd.get("/v2/a/manifests/1?ns=%00%0d%0a").status == 400);
  CHECK(flow.upstream.seen().empty());
}

// rules: tls-hello
TEST_CASE("a TLS hello on the plain port is answered as HTTP", "[wire]") {
  Flow flow;
  ProbeConnection connection(flow.layerd.port());
  CHECK(connection.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) +
                        std::string(508, 'x')));
  CHECK(connection.read_raw(std::chrono::seconds(3)).starts_with("HTTP/1.0 400 Bad Request\r\n"));
}

// rules: pipelined
TEST_CASE("pipelined requests are answered in their order", "[wire]") {
  Served flow;
  (void)flow.layerd.get(Flow::blob(flow.digest));
  ProbeConnection connection(flow.layerd.port());
  const std::string host = " HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  CHECK(connection.send("GET " + Flow::blob(flow.digest) + host + "Range: bytes=0-4\r\n\r\n" +  //
                        "HEAD " + Flow::manifest("1") + host + "\r\n" +                         //
                        "GET /v2/" + host + "\r\n" +                                            //
                        "GET " + Flow::blob(flow.digest) + host + "Connection: close\r\n\r\n"));
  CHECK(connection.read().body == flow.bytes.substr(0, 5));
  CHECK(connection.read(true).header("docker-content-digest") == flow.image.top);
  CHECK(connection.read().body == "{}");
  const ProbeReply last = connection.read();
  CHECK(last.body == flow.bytes);
  CHECK(connection.read_raw(std::chrono::seconds(2)).empty());
}

// rules: absolute-form, expect
TEST_CASE("absolute-form targets and Expect are understood", "[wire]") {
  Served flow;
  const std::string port = std::to_string(flow.layerd.port());
  CHECK(flow.layerd.get("http://127.0.0.1:" + port + Flow::blob(flow.digest)).body == flow.bytes);
  ProbeConnection connection(flow.layerd.port());
  CHECK(connection.send(
      "GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  ProbeReply reply = connection.read();
  if (reply.status == 100) {
    CHECK(connection.send("{}"));
    reply = connection.read();
  }
  CHECK((reply.status == 200 || reply.status == 417));
}

// rules: host-rule
TEST_CASE("a foreign Host is refused, so that no web page reaches the mirror by DNS", "[wire]") {
  Served flow;
  const ProbeReply reply = flow.layerd.get(Flow::manifest("1"), {{"Host", "attacker.example"}});
  CHECK(reply.status >= 400);
  CHECK(reply.status < 500);
  CHECK(flow.upstream.seen().empty());
  CHECK(flow.layerd.get("/v2/", {{"Host", "localhost:5151"}}).status == 200);
}

// rules: via-rule
TEST_CASE("a request that has come through ourselves is answered 508", "[wire]") {
  Served flow;
  CHECK(flow.layerd.get(Flow::manifest("1")).status == 200);
  std::string via;
  for (const auto& seen : flow.upstream.seen()) via = seen.via;
  REQUIRE_FALSE(via.empty());
  CHECK(flow.layerd.get(Flow::manifest("1"), {{"Via", via}}).status == 508);
  CHECK(flow.layerd.get(Flow::manifest("1"), {{"Via", "1.1 somebody-else"}}).status == 200);
}

// rules: no-loop
TEST_CASE("an endpoint that is layerd itself makes no loop", "[wire]") {
  Flow flow;
  flow.layerd.stop();
  flow.layerd.configure(fmt::format(
      "mirrors: {{registry.test: {{endpoint: [\"{}\"], default_endpoint: false}}}}", flow.layerd.url()));
  flow.layerd.start();
  const auto start = std::chrono::steady_clock::now();
  const ProbeReply reply = flow.layerd.get(Flow::manifest("1"));
  CHECK(reply.status >= 400);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
}

// rules: head-bound
TEST_CASE("oversized, malformed and slow requests harm nobody", "[wire]") {
  Served flow;
  const auto raw = [&](const std::string& text) {
    ProbeConnection connection(flow.layerd.port());
    connection.send(text);
    return connection.read_raw(std::chrono::seconds(3));
  };
  const std::string big =
      raw("GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + std::string(200 * 1000, 'a') + "\r\n\r\n");
  CHECK((big.empty() || big.find(" 431 ") != std::string::npos || big.find(" 400 ") != std::string::npos));
  CHECK(raw("nonsense\r\n\r\n").find(" 400 ") != std::string::npos);
  CHECK(raw("GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n")
            .find(" 200 ") == std::string::npos);
  ProbeConnection slow(flow.layerd.port());
  slow.send("GET /v2/ HT");
  CHECK(flow.layerd.get(Flow::blob(flow.digest)).body == flow.bytes);
}

// rules: gone-client-closed
TEST_CASE("a hundred clients that hang up in the middle leave no open files behind", "[wire]") {
  Served flow(4 * 1024 * 1024);
  const auto open_files = [&] {
    const Finished listed = run({"ls", fmt::format("/proc/{}/fd", flow.layerd.process().pid())});
    return std::count(listed.output.begin(), listed.output.end(), '\n');
  };
  CHECK(flow.layerd.get(Flow::blob(flow.digest)).body == flow.bytes);
  const auto before = open_files();
  for (int i = 0; i < 100; ++i) {
    ProbeRequest request{flow.layerd.port(), Flow::blob(flow.digest)};
    request.hang_up_after = 1000;
    (void)probe(request);
  }
  CHECK(eventually([&] { return open_files() <= before + 4; }));
}

TEST_CASE("a slow client holds up nobody", "[wire]") {
  Served flow(6 * 1024 * 1024);
  std::thread slow([&] {
    ProbeRequest request{flow.layerd.port(), Flow::blob(flow.digest)};
    request.bytes_per_second = 64 * 1024;
    request.timeout = milliseconds(2500);
    (void)probe(request);
  });
  std::this_thread::sleep_for(milliseconds(100));
  const ProbeReply fast = flow.layerd.get(Flow::blob(flow.digest));
  CHECK(fast.body == flow.bytes);
  CHECK(fast.total < milliseconds(2000));
  slow.join();
  CHECK(flow.upstream.body_bytes(flow.digest) <= flow.bytes.size() * 102 / 100);
}
